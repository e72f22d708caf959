"""Intervals that resample raters, and what stands in for them when raters are few.

A rater's answers resemble each other. Resampling single ratings pretends that they do not,
and promises too much; resampling raters keeps each rater's answers together. With fewer than
8 raters resampled raters are too few to vary (two who agree would give an interval of width
0), so the wider of both intervals is reported, and with one rater the ratings' alone. The wider
one is reported for many raters too where all resampled raters give the same share, as they do
when nobody ever chose the other side: that they all agree does not make them certain.
"""

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from attune.leaderboard.bradley_terry import (
    Floats,
    Meetings,
    bootstrap_raters,
    bootstrap_ratings,
    resample,
)
from attune.leaderboard.choices import IntervalMethod
from attune.ratings.wilson import wilson_interval

N_DRAWS = 1000
LEVEL = 0.95
FEW_RATERS = 8


@dataclass(frozen=True)
class Interval:
    """A 95% interval and how it was made."""

    low: float
    high: float
    method: IntervalMethod


def interval_method(n_raters: int) -> IntervalMethod:
    """What to resample for so many raters."""
    if n_raters < 2:
        return IntervalMethod.RATINGS
    return IntervalMethod.WIDER if n_raters < FEW_RATERS else IntervalMethod.RATERS


def win_rate_interval(wins: Floats, losses: Floats, *, rng: np.random.Generator) -> Interval:
    """The interval of the pooled share of wins, from each rater's wins and losses, [R]."""
    decided = wins + losses
    wins, losses = wins[decided > 0], losses[decided > 0]
    n_wins, n_decided = round(float(wins.sum())), round(float((wins + losses).sum()))
    method = interval_method(len(wins))
    wilson = wilson_interval(n_wins, n_decided)
    match method:
        case IntervalMethod.RATINGS:
            low, high = wilson
        case IntervalMethod.RATERS | IntervalMethod.WIDER:
            weights = resample(len(wins), n_draws=N_DRAWS, rng=rng)
            drawn_wins, drawn_losses = weights @ wins, weights @ losses
            low, high = central_interval(drawn_wins / (drawn_wins + drawn_losses))
        case _:
            assert_never(method)
    if method is IntervalMethod.RATERS and low == high:
        method = IntervalMethod.WIDER
    if method is IntervalMethod.WIDER:
        low, high = min(low, wilson[0]), max(high, wilson[1])
    return Interval(float(low), float(high), method)


def draw_scores(
    meetings: Meetings, *, rng: np.random.Generator
) -> tuple[list[Floats], IntervalMethod]:
    """Bootstrap scores, each [B, C]: one sample, or both kinds when raters are few."""
    method = interval_method(meetings.n_raters)
    match method:
        case IntervalMethod.RATERS:
            samples = [bootstrap_raters(meetings, n_draws=N_DRAWS, rng=rng)]
        case IntervalMethod.RATINGS:
            samples = [bootstrap_ratings(meetings, n_draws=N_DRAWS, rng=rng)]
        case IntervalMethod.WIDER:
            samples = [
                bootstrap_raters(meetings, n_draws=N_DRAWS, rng=rng),
                bootstrap_ratings(meetings, n_draws=N_DRAWS, rng=rng),
            ]
        case _:
            assert_never(method)
    return samples, method


def central_interval(draws: Floats) -> tuple[float, float]:
    """The central 95% of the draws."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
