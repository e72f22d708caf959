"""Distances between sets of embeddings: how alike two sets are, and what lies nearest to what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generator.errors import RequestError

BLOCK_ROWS = 1024


@dataclass(frozen=True)
class Moments:
    """Mean [D] and covariance [D, D] of `n` embeddings."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    n: int


@dataclass(frozen=True)
class Neighbours:
    """The nearest reference of each query: its row and its cosine distance, 0 to 2, [queries]."""

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]


def check_embeddings(name: str, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns embeddings [N, D] in float64; raises RequestError where they are not finite."""
    if embeddings.ndim != 2 or not len(embeddings):
        raise RequestError(f"{name} have shape [N, D], N at least 1, got {embeddings.shape}")
    if not np.isfinite(embeddings).all():
        raise RequestError(f"{name} of shape {embeddings.shape} are not all finite")
    return embeddings.astype(np.float64)


def moments(embeddings: NDArray[np.floating]) -> Moments:
    """Returns mean and covariance of at least two embeddings [N, D]."""
    rows = check_embeddings("embeddings", embeddings)
    if len(rows) < 2:
        raise RequestError("a covariance needs at least 2 embeddings, got 1")
    return Moments(rows.mean(0), np.atleast_2d(np.cov(rows, rowvar=False)), len(rows))


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the square root of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root


def frechet_distance(one: Moments, other: Moments) -> float:
    """Returns the squared Frechet distance of two Gaussians, Dowson and Landau 1982.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2). With few embeddings for their width it
    is too large: compare only distances of equal counts.
    """
    if one.mean.shape != other.mean.shape:
        raise RequestError(f"widths differ: {one.mean.shape[0]} and {other.mean.shape[0]}")
    difference = one.mean - other.mean
    root = _root(one.covariance)
    cross = _root(root @ other.covariance @ root)
    traces = np.trace(one.covariance) + np.trace(other.covariance) - 2.0 * np.trace(cross)
    return max(0.0, float(difference @ difference + traces))


def _unit(rows: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = rows - centre
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: NDArray[np.float64] = centred / np.maximum(norms, 1e-12)
    return unit


def nearest_neighbours(
    queries: NDArray[np.floating], references: NDArray[np.floating]
) -> Neighbours:
    """Returns the reference nearest to each query by the cosine, both less the references' mean.

    queries: [N, D]; references: [M, D].
    """
    asked = check_embeddings("queries", queries)
    known = check_embeddings("references", references)
    if asked.shape[1] != known.shape[1]:
        raise RequestError(f"widths differ: {asked.shape[1]} and {known.shape[1]}")
    centre = known.mean(0) if len(known) > 1 else np.zeros(known.shape[1])
    asked, known = _unit(asked, centre), _unit(known, centre)
    rows, distances = [], []
    for start in range(0, len(asked), BLOCK_ROWS):
        cosines = asked[start : start + BLOCK_ROWS] @ known.T
        nearest = cosines.argmax(1)
        rows.append(nearest)
        distances.append(1.0 - cosines[np.arange(len(nearest)), nearest])
    return Neighbours(np.concatenate(rows), np.concatenate(distances))


def copied_share(
    clips: NDArray[np.floating],
    training: NDArray[np.floating],
    held_out: NDArray[np.floating],
    quantile: float = 0.01,
) -> float:
    """Returns the share of clips that lie nearer to a training clip than held-out clips do.

    Nearer than all but `quantile` of the held-out clips: about `quantile` of clips that copy
    nothing are counted.
    """
    usual = np.quantile(nearest_neighbours(held_out, training).distances, quantile)
    return float((nearest_neighbours(clips, training).distances < usual).mean())


def spread(embeddings: NDArray[np.floating]) -> float:
    """Returns the mean squared distance of embeddings [N, D] to their mean."""
    return float(np.trace(moments(embeddings).covariance))
