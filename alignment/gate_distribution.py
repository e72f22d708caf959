"""How far a candidate's clips lie from its base's, in units of how far the base lies from itself.

Embeddings come by prompt, [P, n, D], with the same prompts on both sides and equal counts, so
that what is compared are checkpoints and neither prompts nor numbers of clips.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignment.errors import AlignmentError
from generator.representation.distance import frechet_distance, moments

N_SPLITS = 100
BAND_QUANTILES = (0.05, 0.5, 0.95)
N_RESAMPLES = 2000
CONFIDENCE = 0.95

Embeddings = NDArray[np.floating]


@dataclass(frozen=True)
class Band:
    """Squared Frechet distances of the base to itself: 5%, 50% and 95% of those measured.

    Each is measured between two sets of n_clips clips of the base that share no clip, drawn
    prompt by prompt from its clips of all seeds.
    """

    low: float
    median: float
    high: float
    n_clips: int
    n_reseeds: int
    n_splits: int

    def to_json(self) -> dict[str, Any]:
        """Returns the band as it is stored and shown."""
        return asdict(self)


@dataclass(frozen=True)
class Distance:
    """How far a candidate lies from its base's clips of other seeds, beside the base's band."""

    distance: float
    band: Band

    @property
    def ratio(self) -> float:
        """The distance as a multiple of the band's upper end; 1 and less is within the band."""
        return self.distance / self.band.high


@dataclass(frozen=True)
class Spread:
    """The spread of clips of one prompt, candidate over base, with its 95% interval."""

    ratio: float
    low: float
    high: float


def embedded_distance(candidate: Embeddings, base: Embeddings) -> float:
    """Returns the squared Frechet distance of two sets of embeddings [P, n, D]."""
    one, other = (moments(side.reshape(-1, side.shape[-1])) for side in (candidate, base))
    return frechet_distance(one, other)


def measure_distance(
    candidate: Embeddings, base: Embeddings, rng: np.random.Generator, n_splits: int = N_SPLITS
) -> Distance:
    """Returns the distance of a candidate [P, n, D] from its base [R, P, n, D].

    base[0] has the candidate's seeds and is compared with nothing: clips of equal seeds resemble
    each other, which would make every candidate look nearer than a reseeded base.
    """
    n_sets, _, n, _ = base.shape
    if n_sets < 2:
        raise AlignmentError("a band needs clips of the base from at least two sets of seeds")
    if candidate.shape != base.shape[1:]:
        raise AlignmentError(
            f"expected as many clips as of the base, {base.shape[1:]}, got {candidate.shape}"
        )
    pool = np.concatenate(list(base), axis=1)  # [P, R * n, D]
    distances = []
    for _ in range(n_splits):
        order = np.argsort(rng.random(pool.shape[:2]), axis=1)[..., None]
        one, other = (
            np.take_along_axis(pool, part, axis=1) for part in (order[:, :n], order[:, n : 2 * n])
        )
        distances.append(embedded_distance(one, other))
    low, median, high = (float(value) for value in np.quantile(distances, BAND_QUANTILES))
    if high <= 0.0:
        raise AlignmentError("the base's clips do not differ from seed to seed")
    band = Band(low, median, high, candidate.shape[0] * n, n_sets - 1, n_splits)
    found = float(np.mean([embedded_distance(candidate, reseeded) for reseeded in base[1:]]))
    return Distance(found, band)


def prompt_spreads(embeddings: Embeddings) -> NDArray[np.float64]:
    """Returns the mean squared distance of each prompt's clips [P, n, D] to their mean, [P]."""
    n = embeddings.shape[1]
    if n < 2:
        raise AlignmentError("a spread needs a prompt with at least two clips")
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=1, keepdims=True)
    spreads: NDArray[np.float64] = (centred**2).sum(axis=(1, 2)) / (n - 1)
    return spreads


def relative_spread(candidate: Embeddings, base: Embeddings, rng: np.random.Generator) -> Spread:
    """Returns the candidate's spread within prompts as a share of its base's, both [P, n, D].

    The interval resamples prompts.
    """
    one, other = prompt_spreads(candidate), prompt_spreads(base)
    if not other.sum():
        raise AlignmentError("the base's clips of one prompt do not differ at all")
    drawn = rng.integers(len(one), size=(N_RESAMPLES, len(one)))
    sums = np.maximum(other[drawn].sum(axis=1), np.finfo(float).tiny)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(one[drawn].sum(axis=1) / sums, [tail, 1 - tail])
    return Spread(float(one.sum() / other.sum()), float(low), float(high))
