"""Whether stated probabilities come true: reliability bins, calibration error, temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from generator.shares import Share

Floats = NDArray[np.float64]

N_BINS = 5
TEMPERATURES = (0.1, 10.0)


@dataclass(frozen=True)
class DecidedRatings:
    """Ratings that favour one clip of a pair, beside what a model says of the pair.

    margin: log-odds of the chosen clip, [N]. chosen, rejected: ratings for either clip, [N].
    """

    margin: Floats
    chosen: Floats
    rejected: Floats

    def __post_init__(self) -> None:
        if not (self.margin.shape == self.chosen.shape == self.rejected.shape):
            raise ValueError(
                f"expected a count for each margin, got {self.margin.shape}, "
                f"{self.chosen.shape} and {self.rejected.shape}"
            )

    @property
    def n(self) -> float:
        """How many ratings there are."""
        return float((self.chosen + self.rejected).sum())

    def at(self, temperature: float) -> DecidedRatings:
        """Returns the same ratings beside margins divided by a temperature."""
        return DecidedRatings(self.margin / temperature, self.chosen, self.rejected)


@dataclass(frozen=True)
class Bin:
    """Ratings of pairs whose likelier clip was given a probability from low to high."""

    low: float
    high: float
    n: float
    predicted: float
    """Mean probability given to the likelier clip."""
    observed: float
    """Share of the ratings that favoured it."""
    observed_low: float
    observed_high: float
    """Wilson's interval at 95%."""


def reliability_bins(ratings: DecidedRatings, n_bins: int = N_BINS) -> tuple[Bin, ...]:
    """Returns the bins of equal width from one half to 1 that hold any rating.

    A pair has two clips whose probabilities add up to 1: the likelier one stands for both.
    """
    edges = np.linspace(0.5, 1.0, n_bins + 1)
    confidence = 1.0 / (1.0 + np.exp(-np.abs(ratings.margin)))
    as_said = np.where(ratings.margin >= 0, ratings.chosen, ratings.rejected)
    # A coin's confidence favours neither clip: half its ratings count as they were foreseen.
    as_said = np.where(ratings.margin == 0, (ratings.chosen + ratings.rejected) / 2, as_said)
    n = ratings.chosen + ratings.rejected
    place = np.clip(np.digitize(confidence, edges) - 1, 0, n_bins - 1)
    bins = []
    for index in range(n_bins):
        inside = place == index
        total = float(n[inside].sum())
        if total == 0:
            continue
        right = float(as_said[inside].sum())
        low, high = Share(right, round(total)).interval
        bins.append(
            Bin(
                low=float(edges[index]),
                high=float(edges[index + 1]),
                n=total,
                predicted=float((confidence * n)[inside].sum() / total),
                observed=right / total,
                observed_low=low,
                observed_high=high,
            )
        )
    return tuple(bins)


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Returns the mean gap of predicted and observed shares, bins weighed by their ratings.

    Guo et al. 2017, eq. 3, arXiv:1706.04599.
    """
    total = sum(b.n for b in bins)
    if not total:
        raise ValueError("a calibration error needs at least one rating")
    return sum(b.n * abs(b.predicted - b.observed) for b in bins) / total


def log_loss(ratings: DecidedRatings) -> float:
    """Returns the mean negative log-likelihood of the ratings, in nats; a coin's is log 2."""
    won = np.logaddexp(0.0, -ratings.margin) * ratings.chosen
    lost = np.logaddexp(0.0, ratings.margin) * ratings.rejected
    return float((won + lost).sum() / ratings.n)


def fit_temperature(ratings: DecidedRatings) -> float:
    """Returns the divisor of all margins at which the log-loss is least (Guo et al. 2017)."""
    bounds = (math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    found = minimize_scalar(
        lambda log_t: log_loss(ratings.at(math.exp(log_t))), bounds=bounds, method="bounded"
    )
    return math.exp(float(found.x))


def helpful_temperature(ratings: DecidedRatings) -> float:
    """Returns the fitted temperature where it makes the calibration error smaller, else 1."""
    temperature = fit_temperature(ratings)
    before = expected_calibration_error(reliability_bins(ratings))
    after = expected_calibration_error(reliability_bins(ratings.at(temperature)))
    return temperature if after < before else 1.0
