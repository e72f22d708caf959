"""Linear probes: what a straight line through embeddings can tell of a clip's attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generator.errors import RequestError
from generator.shares import Share

PROBED = ("lead", "style", "tone", "drums", "density", "mode", "tempo")
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
MOST_ITERATIONS = 150


@dataclass(frozen=True)
class Split:
    """Which clips a probe learns from, chooses its penalty by, and is measured on."""

    train: slice
    choose: slice
    test: slice

    @classmethod
    def of(cls, n_clips: int) -> Split:
        """Returns 60, 10 and 30 of each hundred clips in their order."""
        if n_clips < 20:
            raise RequestError(f"a probe needs at least 20 clips, got {n_clips}")
        first, second = round(0.6 * n_clips), round(0.7 * n_clips)
        return cls(slice(0, first), slice(first, second), slice(second, n_clips))


def code_histograms(
    codes: Sequence[NDArray[np.integer]], codebook_size: int
) -> NDArray[np.float32]:
    """Returns how often each clip has each code, as roots of shares, [clips, K * V].

    Roots (Hellinger) make linear probes of counts as good as they get.
    """
    rows = [
        np.concatenate([np.bincount(row, minlength=codebook_size) / len(row) for row in clip])
        for clip in codes
    ]
    return np.sqrt(np.stack(rows)).astype(np.float32)


def fit_logistic(features: Tensor, labels: Tensor, n_classes: int, penalty: float) -> Tensor:
    """Returns weights [D + 1, classes] of multinomial logistic regression, the last row the bias.

    The mean cross-entropy plus `penalty` times the squared weights is minimised by L-BFGS.
    """
    weights = torch.zeros(features.shape[1] + 1, n_classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weights], max_iter=MOST_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        scores = features @ weights[:-1] + weights[-1]
        loss = F.cross_entropy(scores, labels) + penalty * weights[:-1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach()


def probe(vectors: NDArray[np.float32], labels: Sequence[str], split: Split) -> Share:
    """Returns how many test clips a linear probe of vectors [clips, D] labels right.

    The penalty is the one that does best on the clips to choose by.
    """
    classes = sorted(set(labels))
    wanted = torch.tensor([classes.index(label) for label in labels])
    rows = torch.from_numpy(np.asarray(vectors, dtype=np.float32))
    mean, std = rows[split.train].mean(0), rows[split.train].std()
    features = (rows - mean) / (std + 1e-8)
    # One scale for all columns and a mean square of 1 a row, so that penalties compare.
    features = features / features[split.train].square().sum(1).mean().sqrt() * 10.0
    best: tuple[int, Tensor] | None = None
    for penalty in PENALTIES:
        weights = fit_logistic(features[split.train], wanted[split.train], len(classes), penalty)
        right = _right(features[split.choose], wanted[split.choose], weights)
        if best is None or right > best[0]:
            best = right, weights
    assert best is not None
    test = wanted[split.test]
    return Share(_right(features[split.test], test, best[1]), len(test))


def _right(features: Tensor, labels: Tensor, weights: Tensor) -> int:
    scores = features @ weights[:-1] + weights[-1]
    return int((scores.argmax(1) == labels).sum())
