"""A share of counted cases with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from generator.errors import RequestError

NORMAL_QUANTILE = 1.96


@dataclass(frozen=True)
class Share:
    """`right` of `n`, with Wilson's 95% interval (Wilson 1927). An undecided case counts half."""

    right: float
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.n:
            raise RequestError(f"a share counts 0 to n, got {self.right} of {self.n}")

    @property
    def share(self) -> float:
        """The share, 0 where there is nothing to count."""
        return self.right / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and the upper end."""
        if not self.n:
            return (0.0, 1.0)
        square = NORMAL_QUANTILE**2
        middle = (self.right + square / 2) / (self.n + square)
        spread = self.right * (self.n - self.right) / self.n + square / 4
        reach = NORMAL_QUANTILE * spread**0.5 / (self.n + square)
        return (max(0.0, middle - reach), min(1.0, middle + reach))

    def to_json(self) -> dict[str, Any]:
        """Returns the share as a mapping that JSON can hold."""
        low, high = self.interval
        return {
            "share": round(self.share, 3),
            "interval": [round(low, 3), round(high, 3)],
            "n": self.n,
        }
