"""What a study asks of people's ratings before a canary is promoted or rolled back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from attune.ratings.errors import RatingError

LEAST_ALPHA, MOST_ALPHA = 0.0001, 0.5
MOST_RATINGS = 1_000_000


class PeopleGateError(RatingError, ValueError):
    """A setting of the gate of people that cannot be one."""


@dataclass(frozen=True)
class PeopleGate:
    """How the ratings of a canary against its parent decide about it.

    alpha: how often a canary that is no better may ever be promoted, or one that is no worse
    rolled back. minimum_ratings: decided ratings before anything is done. automatic: whether
    the site acts, or only says what it would do.
    """

    automatic: bool = True
    alpha: float = 0.05
    minimum_ratings: int = 30

    def __post_init__(self) -> None:
        if not LEAST_ALPHA <= self.alpha <= MOST_ALPHA:
            raise PeopleGateError(f"alpha is {LEAST_ALPHA} to {MOST_ALPHA}, got {self.alpha:g}")
        if not 0 <= self.minimum_ratings <= MOST_RATINGS:
            raise PeopleGateError(
                f"minimum_ratings is 0 to {MOST_RATINGS}, got {self.minimum_ratings}"
            )


PEOPLE_SETTINGS = tuple(field.name for field in fields(PeopleGate))


def people_gate_of(gate: Mapping[str, object]) -> PeopleGate:
    """The settings a study's gate gives, the others as they are by default.

    automatic may be written as 1 or 0, as the API does.
    """
    default = PeopleGate()
    automatic = gate.get("automatic", default.automatic)
    if automatic not in (0, 1):
        raise PeopleGateError(f"gate setting automatic is true or false, got {automatic!r}")
    minimum = _number(gate, "minimum_ratings", default.minimum_ratings)
    if minimum != int(minimum):
        raise PeopleGateError(f"minimum_ratings is a whole number, got {minimum:g}")
    return PeopleGate(
        automatic=bool(automatic),
        alpha=_number(gate, "alpha", default.alpha),
        minimum_ratings=int(minimum),
    )


def _number(gate: Mapping[str, object], name: str, default: float) -> float:
    value = gate.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PeopleGateError(f"gate setting {name} must be a number, got {value!r}")
    return float(value)
