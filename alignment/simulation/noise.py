"""How often a simulated rater errs: Bradley-Terry choices at a stated agreement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from alignment.errors import AlignmentError

LEAST_AGREEMENT = 0.5
MOST_SCALE = 1e6


class CalibrationError(AlignmentError):
    """The stated agreement cannot be reached on the pairs that were heard."""


def check_agreement(agreement: float) -> float:
    """Returns the agreement, a share from 0.5 (coin flips) to 1 (never errs)."""
    if not LEAST_AGREEMENT <= agreement <= 1.0:
        raise CalibrationError(f"agreement is 0.5 to 1, got {agreement}")
    return agreement


def mean_agreement(scale: float, differences: NDArray[np.float64]) -> float:
    """Returns the expected share of choices in the taste's favour; an equal pair counts half."""
    return float(expit(scale * np.abs(differences)).mean())


def calibrate_scale(differences: Sequence[float], agreement: float) -> float:
    """Returns the scale at which the mean agreement over these score differences is as stated.

    0 gives coin flips; infinity a rater who never errs. Raises CalibrationError where even
    that rater would agree less often, because too many differences are zero.
    """
    check_agreement(agreement)
    if agreement == LEAST_AGREEMENT:
        return 0.0
    sizes = np.abs(np.asarray(differences, dtype=np.float64))
    if len(sizes) == 0:
        raise CalibrationError("no pair was heard yet, so there is nothing to calibrate on")
    reachable = float(np.where(sizes > 0.0, 1.0, 0.5).mean())
    if agreement > reachable:
        raise CalibrationError(
            f"an agreement of {agreement:.2f} cannot be reached: "
            f"{int((sizes == 0).sum())} of {len(sizes)} pairs have equal scores, "
            f"{reachable:.2f} is the most"
        )
    if agreement == reachable:
        return math.inf
    typical = float(sizes[sizes > 0.0].mean())
    unit = brentq(lambda x: mean_agreement(x, sizes / typical) - agreement, 0.0, MOST_SCALE)
    return float(unit) / typical


def probability_of_a(score_a: float, score_b: float, scale: float) -> float:
    """Returns the probability that A is chosen.

    Bradley and Terry 1952: the logistic of the scaled score difference.
    """
    if score_a == score_b or scale == 0.0:
        return 0.5
    if math.isinf(scale):
        return 1.0 if score_a > score_b else 0.0
    return float(expit(scale * (score_a - score_b)))


def chooses_a(score_a: float, score_b: float, scale: float, rng: np.random.Generator) -> bool:
    """Returns whether this rater picks A, drawn from their own rng."""
    return bool(rng.random() < probability_of_a(score_a, score_b, scale))


@dataclass(frozen=True)
class TieNoise:
    """A rater who errs and ties: Rao and Kupper 1967, JASA 62, with a scale and a threshold.

    The clip with the score difference d in its favour is chosen with probability
    1 / (1 + threshold * exp(-scale * d)); what remains of both sides is the tie's.
    """

    scale: float
    threshold: float

    def probabilities(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns how likely first, second and tie are, [N, 3], for score differences [N]."""
        shift = math.log(self.threshold)
        scaled = _scaled(differences, self.scale)
        first, second = expit(scaled - shift), expit(-scaled - shift)
        return np.stack([first, second, np.maximum(1.0 - first - second, 0.0)], axis=1)


def _scaled(differences: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    if math.isinf(scale):
        return np.where(differences == 0.0, 0.0, np.sign(differences) * math.inf)
    return scale * differences


def calibrate_ties(differences: Sequence[float], agreement: float, tie_share: float) -> TieNoise:
    """Returns the noise at which decided answers agree and ties occur as often as stated.

    CalibrationError where no scale does both. With a tie share of 0 this is Bradley and Terry.
    """
    if not 0.0 <= tie_share < 1.0:
        raise CalibrationError(f"a tie share is 0 to below 1, got {tie_share}")
    if tie_share == 0.0:
        return TieNoise(calibrate_scale(differences, agreement), 1.0)
    check_agreement(agreement)
    sizes = np.abs(np.asarray(differences, dtype=np.float64))
    if not len(sizes) or not sizes.any():
        raise CalibrationError("no pair has different scores, so there is nothing to calibrate on")
    typical = float(sizes[sizes > 0.0].mean())

    def at(unit: float) -> TieNoise:
        def excess(shift: float) -> float:
            noise = TieNoise(unit, math.exp(shift))
            return float(noise.probabilities(sizes / typical)[:, 2].mean()) - tie_share

        return TieNoise(unit, math.exp(brentq(excess, 0.0, 200.0)))

    def decided_agreement(unit: float) -> float:
        first, second, _ = at(unit).probabilities(sizes / typical).sum(axis=0)
        return float(first / (first + second))

    most = 50.0
    if agreement == LEAST_AGREEMENT:
        return at(0.0)
    if decided_agreement(most) < agreement:
        raise CalibrationError(
            f"an agreement of {agreement:.2f} with {tie_share:.2f} ties cannot be reached, "
            f"{decided_agreement(most):.2f} is the most"
        )
    found = at(brentq(lambda unit: decided_agreement(unit) - agreement, 0.0, most))
    return TieNoise(found.scale / typical, found.threshold)
