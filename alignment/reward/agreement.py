"""How often raters agree with themselves: what a reward model's accuracy is held against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from math import comb
from typing import Any

from alignment.reward.config import RewardConfig
from alignment.runs import Preference
from generator.shares import Share


class Source(StrEnum):
    """Where a self-agreement comes from."""

    CONFIG = "config"
    REPEATS = "repeats"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class SelfAgreement:
    """The share of repeat pairs that their rater answered alike; None where nobody knows."""

    source: Source
    share: Share | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the agreement as a mapping that JSON can hold."""
        return {"source": self.source.value, **(self.share.to_json() if self.share else {})}


def self_agreement(config: RewardConfig, rows: Iterable[Preference]) -> SelfAgreement:
    """Returns the agreement that the config states, else that of rows one person rated twice.

    Of n ratings of one rater every two are compared, all four choices told apart.
    """
    if config.self_agreement_n:
        n = config.self_agreement_n
        return SelfAgreement(Source.CONFIG, Share(config.self_agreement * n, n))
    alike, n = 0, 0
    for row in rows:
        if len(row.raters) != 1 or row.counts.total < 2:
            continue
        counts = row.counts
        said = (counts.chosen, counts.rejected, counts.tie, counts.both_bad)
        alike += sum(comb(count, 2) for count in said)
        n += comb(counts.total, 2)
    if not n:
        return SelfAgreement(Source.UNKNOWN)
    return SelfAgreement(Source.REPEATS, Share(alike, n))
