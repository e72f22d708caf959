"""Win rates of paired scores with intervals that resample prompts."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

N_RESAMPLES = 4000
TAIL = 0.025
Z_95 = 1.959963984540054


@dataclass(frozen=True)
class PairedScore:
    """One pair of one prompt: the base's score and the aligned checkpoint's."""

    prompt: str
    base: float
    aligned: float

    @property
    def win(self) -> float:
        """1 where the aligned clip scores higher, 0 where lower, half where equal."""
        if self.aligned == self.base:
            return 0.5
        return 1.0 if self.aligned > self.base else 0.0


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% interval, the number of pairs and of independent groups."""

    figure: float
    low: float
    high: float
    n: int
    n_groups: int


def win_rate_over_prompts(scores: Sequence[PairedScore], rng: np.random.Generator) -> Interval:
    """Returns the share of pairs the aligned checkpoint wins, equal pairs counting half.

    The interval is a percentile bootstrap over prompts: pairs of one prompt are not
    independent, so prompts are drawn whole. Where all prompts agree every draw is the same;
    then the interval is the wider Wilson interval of as many answers as there are prompts.
    """
    if not scores:
        raise ValueError("expected at least 1 pair, got 0")
    wins_of_prompt: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        wins_of_prompt[score.prompt].append(score.win)
    totals = np.array([sum(wins) for wins in wins_of_prompt.values()])
    counts = np.array([len(wins) for wins in wins_of_prompt.values()])
    drawn = rng.integers(0, len(totals), size=(N_RESAMPLES, len(totals)))
    rates = totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = (float(bound) for bound in np.quantile(rates, [TAIL, 1.0 - TAIL]))
    figure = float(totals.sum() / counts.sum())
    if low == high:
        low, high = wilson_interval(figure, len(totals))
    return Interval(
        figure=figure,
        low=low,
        high=high,
        n=len(scores),
        n_groups=len(totals),
    )


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """Returns the 95% score interval of a share of n (Wilson 1927, JASA 22)."""
    z2 = Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)
