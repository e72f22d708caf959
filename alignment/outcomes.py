"""What became of a pair: its outcome, and the ratings behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self, assert_never


class Outcome(StrEnum):
    """What a pair's ratings say once all of them are counted."""

    CHOSEN = "chosen"
    TIE = "tie"
    BOTH_BAD = "both_bad"


@dataclass(frozen=True)
class Counts:
    """How many ratings said what, seen from the row's chosen clip."""

    chosen: int = 0
    rejected: int = 0
    tie: int = 0
    both_bad: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"the count {name} is a whole number from 0 on, got {value!r}")
        if not self.total:
            raise ValueError("a pair has at least one rating, got none")

    @classmethod
    def of_one(cls, outcome: Outcome) -> Self:
        """Returns the counts of one rating that says the outcome."""
        match outcome:
            case Outcome.CHOSEN:
                return cls(chosen=1)
            case Outcome.TIE:
                return cls(tie=1)
            case Outcome.BOTH_BAD:
                return cls(both_bad=1)
            case _:
                assert_never(outcome)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Returns the counts of a JSON object; absent ones are 0."""
        allowed = [count.name for count in fields(cls)]
        if unknown := sorted(set(mapping) - set(allowed)):
            raise ValueError(f"unknown counts {unknown}; allowed are {allowed}")
        return cls(**mapping)

    @property
    def total(self) -> int:
        """All ratings."""
        return self.chosen + self.rejected + self.tie + self.both_bad

    @property
    def decided(self) -> int:
        """The ratings that favour one of the two clips."""
        return self.chosen + self.rejected

    @property
    def win_share(self) -> float:
        """The share of decided ratings that favour the chosen clip; one half where none is."""
        return self.chosen / self.decided if self.decided else 0.5
