"""One head: the weights of a linear score that explain the ratings of pairs best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from alignment.losses import OutcomeLogProbs, davidson, rao_kupper
from alignment.reward.config import TieModel

Floats = NDArray[np.float64]

PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
USUAL_PENALTY = 3e-3
MOST_ITERATIONS = 100
FIRST_TIE_SHARE = 0.25


@dataclass(frozen=True)
class RatedPairs:
    """Features of chosen less those of rejected clips, and what the ratings said.

    differences: [N, F]. counts: ratings for chosen, rejected and neither clip, [N, 3].
    """

    differences: Floats
    counts: Floats

    def __post_init__(self) -> None:
        if self.counts.shape != (len(self.differences), 3):
            raise ValueError(
                f"expected counts [{len(self.differences)}, 3], got {self.counts.shape}"
            )

    def __len__(self) -> int:
        return len(self.differences)

    def at(self, rows: NDArray[np.bool_]) -> RatedPairs:
        """Returns some of the pairs."""
        return RatedPairs(self.differences[rows], self.counts[rows])

    def weighed(self, weights: Floats) -> RatedPairs:
        """Returns the pairs with their ratings counted `weights` times, [N]."""
        return RatedPairs(self.differences, self.counts * weights[:, None])

    @property
    def has_ties(self) -> bool:
        """Whether any rating favours neither clip."""
        return bool(self.counts[:, 2].any())


@dataclass(frozen=True)
class Head:
    """Weights [F] of a score, and how often equally good clips tie, None without ties."""

    weights: Floats
    tie_share: float | None = None


def outcome_nll(
    margins: Tensor, counts: Tensor, tie_model: TieModel | None, tie_share: Tensor
) -> Tensor:
    """Returns the negative log-likelihood per rating, in nats.

    margins: scores of chosen less rejected clips, [N]; counts: [N, 3] as in RatedPairs. Without
    a tie model it is Bradley and Terry's (1952, doi:10.2307/2334029), and ties do not count.
    """
    if tie_model is None:
        decided = counts[:, :2]
        each = torch.stack([F.logsigmoid(margins), F.logsigmoid(-margins)], dim=1)
        return -(each * decided).sum() / decided.sum()
    outcomes = _likelihood(tie_model)(margins, tie_share)
    each = torch.stack([outcomes.win, outcomes.defeat, outcomes.tie], dim=1)
    return -(each * counts).sum() / counts.sum()


def _likelihood(tie_model: TieModel) -> Callable[[Tensor, Tensor], OutcomeLogProbs]:
    match tie_model:
        case TieModel.DAVIDSON:
            return davidson
        case TieModel.RAO_KUPPER:
            return rao_kupper
        case _:
            assert_never(tie_model)


def fit_head(pairs: RatedPairs, penalty: float, tie_model: TieModel) -> Head:
    """Returns the head at which likelihood and `penalty` times the squared weights are least.

    Minimised by L-BFGS from zero weights, so that equal pairs give an equal head.
    """
    if not pairs.counts[:, :2].any():
        raise ValueError(f"a head needs a decided rating, got {len(pairs)} pairs without one")
    used = tie_model if pairs.has_ties else None
    differences = torch.from_numpy(pairs.differences)
    counts = torch.from_numpy(pairs.counts)
    weights = torch.zeros(differences.shape[1], dtype=torch.float64, requires_grad=True)
    first = torch.tensor(FIRST_TIE_SHARE, dtype=torch.float64)
    tie_logit = torch.logit(first).requires_grad_(used is not None)
    optimiser = torch.optim.LBFGS(
        [weights, tie_logit] if used else [weights],
        max_iter=MOST_ITERATIONS,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        nll = outcome_nll(differences @ weights, counts, used, torch.sigmoid(tie_logit))
        loss = nll + penalty * weights.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    tie_share = float(torch.sigmoid(tie_logit.detach())) if used else None
    return Head(weights.detach().numpy(), tie_share)


@dataclass(frozen=True)
class CrossFit:
    """What cross-validation found: the penalty, its loss, and margins of pairs not learned from."""

    penalty: float
    nll: float
    """Per rating, in nats."""
    margins: Floats
    """[N]; those of a pair come from the head that never saw its prompt."""


def cross_fit(
    pairs: RatedPairs, folds: NDArray[np.int64], penalties: tuple[float, ...], tie_model: TieModel
) -> CrossFit:
    """Returns the penalty whose heads explain the other folds' ratings best, ties included."""
    best: CrossFit | None = None
    for penalty in penalties:
        margins, total = np.zeros(len(pairs)), 0.0
        for fold in np.unique(folds):
            inside = folds == fold
            head = fit_head(pairs.at(~inside), penalty, tie_model)
            margins[inside] = pairs.differences[inside] @ head.weights
            total += _summed_nll(margins[inside], pairs.counts[inside], head, tie_model)
        nll = total / float(pairs.counts.sum())
        if best is None or nll < best.nll:
            best = CrossFit(penalty, nll, margins)
    if best is None:
        raise ValueError("cross-validation needs a penalty to try, got none")
    return best


def _summed_nll(margins: Floats, counts: Floats, head: Head, tie_model: TieModel) -> float:
    """Returns the negative log-likelihood of ratings; without a tie share ties do not count."""
    used = tie_model if head.tie_share is not None else None
    n = float(counts.sum() if used else counts[:, :2].sum())
    if not n:
        return 0.0
    share = torch.tensor(head.tie_share or 0.0, dtype=torch.float64)
    found = outcome_nll(torch.from_numpy(margins), torch.from_numpy(counts), used, share)
    return n * float(found)
