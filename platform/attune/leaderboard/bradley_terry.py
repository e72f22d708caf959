"""Davidson's extension of Bradley-Terry for ties, fitted on counts, with rater bootstrap.

Davidson (1970), "On extending the Bradley-Terry model to accommodate ties in paired
comparison experiments", JASA 65: with strengths s_i = exp(theta_i) and a tie parameter nu,

    P(i beats j) = s_i / D,   P(tie) = nu * sqrt(s_i * s_j) / D,
    D = s_i + s_j + nu * sqrt(s_i * s_j).

The log-likelihood is concave in (theta, log nu), so Newton's method finds its maximum.

Departure: each theta has a normal prior of mean 0 and standard deviation 3 logits (about 520
points), and log nu one of mean 0 and standard deviation 3. A prior this wide weighs less than
half a rating; it keeps a checkpoint that never lost, or that met nobody, at a finite score,
and it fixes the mean of theta at 0. Without any tie nu is 0, and the model is plain
Bradley-Terry.

Both-bad is no tie: it never reaches this module.

Worked by hand: i beat j 3 times and lost once, nothing else was asked. The likelihood alone
gives theta_i - theta_j = log(3/1) = 1.0986, thus 400/ln 10 * 1.0986 = 190.85 points apart and,
around a mean of 1000, scores of 1095.4 and 904.6. A third checkpoint k that split 2 against 2
with each of them draws both towards itself: with the symmetry theta_k = 0, theta_j = -theta_i
the maximum is where 3 + 2 = 4 * logistic(2t) + 4 * logistic(t), t = 0.3430, or 59.6 points
above and below 1000.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POINTS_PER_LOGIT = 400 / math.log(10)
MEAN_SCORE = 1000.0
PRIOR_SD_LOGITS = 3.0
MAX_STEP_LOGITS = 1.5
TOLERANCE_LOGITS = 1e-9
MAX_STEPS = 200

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Meetings:
    """Which checkpoints met, and how it went with each rater.

    first, second: indices of the two checkpoints, [M]. counts: first wins, second wins and
    ties of each rater at each meeting, [R, M, 3].
    """

    n_checkpoints: int
    first: Integers
    second: Integers
    counts: Floats

    def __post_init__(self) -> None:
        n_meetings = len(self.first)
        if self.second.shape != (n_meetings,) or self.counts.shape[1:] != (n_meetings, 3):
            raise ValueError(
                f"expected counts [R, {n_meetings}, 3], got {self.counts.shape} and second "
                f"checkpoints {self.second.shape}"
            )
        if np.any(self.first == self.second):
            raise ValueError("a checkpoint cannot meet itself")

    @property
    def n_raters(self) -> int:
        """Raters with a row of counts."""
        return len(self.counts)


@dataclass(frozen=True)
class Fit:
    """theta: strength in logits, mean 0, [B, C]. log_nu: tie parameter, [B]; -inf: no ties."""

    theta: Floats
    log_nu: Floats

    @property
    def scores(self) -> Floats:
        """Elo-scaled strengths around 1000, [B, C]."""
        return MEAN_SCORE + POINTS_PER_LOGIT * self.theta


def fit_davidson(meetings: Meetings, counts: Floats | None = None) -> Fit:
    """The most likely strengths for each of B sets of counts [B, M, 3] (default: all, B = 1)."""
    totals = meetings.counts.sum(axis=0)[None] if counts is None else counts
    n_sets, n_checkpoints = len(totals), meetings.n_checkpoints
    has_ties = bool(totals[..., 2].any())
    # One row per meeting: +1 for the first checkpoint, -1 for the second, [M, C].
    contrast = np.zeros((len(meetings.first), n_checkpoints))
    contrast[np.arange(len(meetings.first)), meetings.first] = 1.0
    contrast[np.arange(len(meetings.first)), meetings.second] = -1.0
    products = (contrast[:, :, None] * contrast[:, None, :]).reshape(-1, n_checkpoints**2)

    theta = np.zeros((n_sets, n_checkpoints))
    log_nu = np.zeros(n_sets) if has_ties else np.full(n_sets, -np.inf)
    n = totals.sum(axis=2)
    for _ in range(MAX_STEPS):
        p_first, p_second, p_tie = _probabilities(theta @ contrast.T, log_nu[:, None])
        # Half the difference of wins is the statistic that belongs to theta_i - theta_j.
        surplus = (totals[..., 0] - totals[..., 1] - n * (p_first - p_second)) / 2
        spread = n * (p_first + p_second - (p_first - p_second) ** 2) / 4
        gradient = surplus @ contrast - theta / PRIOR_SD_LOGITS**2
        hessian = (spread @ products).reshape(n_sets, n_checkpoints, n_checkpoints)
        hessian = hessian + np.eye(n_checkpoints) / PRIOR_SD_LOGITS**2
        if has_ties:
            tie_surplus = (totals[..., 2] - n * p_tie).sum(axis=1) - log_nu / PRIOR_SD_LOGITS**2
            tie_spread = (n * p_tie * (1 - p_tie)).sum(axis=1) + 1 / PRIOR_SD_LOGITS**2
            cross = -(n * p_tie * (p_first - p_second) / 2) @ contrast
            gradient = np.concatenate([gradient, tie_surplus[:, None]], axis=1)
            hessian = _bordered(hessian, cross, tie_spread)
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        # Far from the maximum a full Newton step may overshoot; its length is bounded.
        longest = np.abs(step).max(axis=1, keepdims=True)
        step *= np.minimum(1.0, MAX_STEP_LOGITS / np.maximum(longest, MAX_STEP_LOGITS))
        theta = theta + step[:, :n_checkpoints]
        if has_ties:
            log_nu = log_nu + step[:, -1]
        if longest.max() < TOLERANCE_LOGITS:
            return Fit(theta=theta - theta.mean(axis=1, keepdims=True), log_nu=log_nu)
    raise ArithmeticError(f"the fit of {n_checkpoints} checkpoints did not settle: {longest.max()}")


def _probabilities(difference: Floats, log_nu: Floats) -> tuple[Floats, Floats, Floats]:
    """First wins, second wins, tie, for theta_i - theta_j [B, M]."""
    half = difference / 2
    top = np.maximum(np.abs(half), log_nu)
    first, second, tie = np.exp(half - top), np.exp(-half - top), np.exp(log_nu - top)
    total = first + second + tie
    return first / total, second / total, tie / total


def _bordered(hessian: Floats, cross: Floats, corner: Floats) -> Floats:
    """[B, C + 1, C + 1]: the hessian with the row and column of log nu."""
    n_sets, width, _ = hessian.shape
    bordered = np.empty((n_sets, width + 1, width + 1))
    bordered[:, :width, :width] = hessian
    bordered[:, :width, width] = cross
    bordered[:, width, :width] = cross
    bordered[:, width, width] = corner
    return bordered


def bootstrap_raters(meetings: Meetings, *, n_draws: int, rng: np.random.Generator) -> Floats:
    """Scores with the raters resampled, all of a rater's answers together, [n_draws, C]."""
    weights = resample(meetings.n_raters, n_draws=n_draws, rng=rng)
    drawn = weights @ meetings.counts.reshape(meetings.n_raters, -1)
    return fit_davidson(meetings, drawn.reshape(n_draws, -1, 3)).scores


def bootstrap_ratings(meetings: Meetings, *, n_draws: int, rng: np.random.Generator) -> Floats:
    """Scores with single ratings resampled as if each came from another rater, [n_draws, C]."""
    totals = meetings.counts.sum(axis=0)
    n = round(float(totals.sum()))
    drawn = rng.multinomial(n, (totals / n).ravel(), size=n_draws).astype(np.float64)
    return fit_davidson(meetings, drawn.reshape(n_draws, -1, 3)).scores


def resample(n_units: int, *, n_draws: int, rng: np.random.Generator) -> Floats:
    """How often each unit is drawn when as many are drawn with replacement, [n_draws, n_units]."""
    shares = np.full(n_units, 1 / n_units)
    return rng.multinomial(n_units, shares, size=n_draws).astype(np.float64)


def indistinguishable_groups(samples: Sequence[Floats], *, level: float = 0.95) -> list[list[int]]:
    """Groups of checkpoints, best first, whose members cannot be told apart.

    samples: bootstrap scores, each [B, C]. Two are told apart when in every sample the central
    interval of their difference leaves out 0. A checkpoint may be in several groups, and is in
    one at least.
    """
    order = [int(index) for index in np.argsort(-samples[0].mean(axis=0), kind="stable")]
    ends: list[int] = []
    for start in range(len(order)):
        end = start
        while end + 1 < len(order) and not any(
            _are_told_apart(samples, order[member], order[end + 1], level)
            for member in range(start, end + 1)
        ):
            end += 1
        ends.append(end)
    return [
        [order[member] for member in range(start, end + 1)]
        for start, end in enumerate(ends)
        if start == 0 or end > ends[start - 1]
    ]


def _are_told_apart(samples: Sequence[Floats], one: int, other: int, level: float) -> bool:
    tails = [(1 - level) / 2, (1 + level) / 2]
    bounds = [np.quantile(draws[:, one] - draws[:, other], tails) for draws in samples]
    return all(low > 0 or high < 0 for low, high in bounds)
