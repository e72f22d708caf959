"""Types that several requests and answers share."""

from typing import Annotated, Any

from ninja import Schema
from pydantic import ConfigDict, Field, FiniteFloat, field_validator

Seed = Annotated[int, Field(ge=0, lt=2**53, description="Kept below 2^53, so JSON keeps it exact.")]
DurationS = Annotated[FiniteFloat, Field(ge=1, le=30)]
PromptText = Annotated[str, Field(min_length=1, max_length=500)]
MelodyName = Annotated[str, Field(description="A recording whose tune is followed, by its name.")]
Limit = Annotated[int, Field(ge=1, le=500)]
Offset = Annotated[int, Field(ge=0, le=1_000_000_000)]
Counts = dict[str, int]
Json = dict[str, Any]


class Request(Schema):
    """A body whose unknown fields are refused, so that a misspelt one is not lost in silence."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*")
    @classmethod
    def check_text(cls, value: Any) -> Any:
        """Refuses the one character that PostgreSQL cannot store."""
        if isinstance(value, str) and "\0" in value:
            raise ValueError("a text may not hold the character NUL")
        return value


class Sampling(Request):
    """How tokens are drawn; what is left out keeps the checkpoint's default."""

    guidance: Annotated[FiniteFloat, Field(ge=0, le=20)] | None = None
    temperature: Annotated[FiniteFloat, Field(ge=0.05, le=5)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    top_p: Annotated[FiniteFloat, Field(ge=0.01, le=1)] | None = None

    def as_settings(self) -> Json:
        """The settings that were given."""
        return self.model_dump(exclude_none=True)


class Refusal(Schema):
    """Why a request was not carried out."""

    detail: str
