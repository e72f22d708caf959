"""Losses of rated pairs: from two clips' log-ratios and what raters said to one number a pair.

A clip's log-ratio is the logarithm of how much likelier the policy finds it than the reference
model does. All of these are means per code, except for sigmoid, whose log-ratios are sums of
codes in units of a usual clip, so that longer clips count more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.config import PairLoss


@dataclass(frozen=True)
class LogRatios:
    """Of both clips of each pair, [B] each."""

    chosen: Tensor
    rejected: Tensor


@dataclass(frozen=True)
class PairTargets:
    """What the ratings of each pair say, [B] each; the three shares sum to 1."""

    win: Tensor
    """The share that favours the chosen clip."""
    defeat: Tensor
    """The share that favours the rejected clip."""
    tie: Tensor
    weight: Tensor
    """How much the pair counts."""
    imitated: Tensor
    """1 where the chosen clip was preferred and may be imitated, else 0."""


@dataclass(frozen=True)
class OutcomeLogProbs:
    """Log-probabilities of the three outcomes of a pair, [B] each."""

    win: Tensor
    defeat: Tensor
    tie: Tensor


@dataclass(frozen=True)
class PairLosses:
    """The loss of a batch of pairs and of what it is made."""

    total: Tensor
    """Mean over pairs, weights and the likelihood term included."""
    preference: Tensor
    """Of each pair, weighted, [B]."""
    likelihood: Tensor
    """Weighted negative log-likelihood per code of the imitated clips, [B]."""


def pair_losses(
    kind: PairLoss,
    ratios: LogRatios,
    targets: PairTargets,
    chosen_nll: Tensor,
    *,
    beta: float,
    sft_weight: float,
    label_smoothing: float,
    tie_share: float,
) -> PairLosses:
    """Returns the losses of pairs; chosen_nll: of the chosen clips, mean per code, [B].

    A pair whose ratings disagree counts by the share of each: cross-entropy with soft labels.
    """
    reward = beta * (ratios.chosen - ratios.rejected)
    match kind:
        case PairLoss.SIGMOID_NORM | PairLoss.SIGMOID | PairLoss.ROBUST:
            won, lost = logistic(reward, label_smoothing), logistic(-reward, label_smoothing)
            disagreement = targets.win * won + targets.defeat * lost
        case PairLoss.IPO:
            disagreement = targets.win * squared(reward) + targets.defeat * squared(-reward)
        case PairLoss.APO_ZERO:
            chosen, rejected = beta * ratios.chosen, beta * ratios.rejected
            won, lost = anchored(chosen, rejected), anchored(rejected, chosen)
            disagreement = targets.win * won + targets.defeat * lost
        case PairLoss.RAO_KUPPER:
            disagreement = cross_entropy(rao_kupper(reward, tie_share), targets)
        case PairLoss.DAVIDSON:
            disagreement = cross_entropy(davidson(reward, tie_share), targets)
        case _:
            assert_never(kind)
    preference = targets.weight * disagreement
    likelihood = targets.weight * targets.imitated * chosen_nll
    return PairLosses(
        total=(preference + sft_weight * likelihood).mean(),
        preference=preference,
        likelihood=likelihood,
    )


def logistic(reward: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Returns DPO's loss of reward differences (Rafailov et al. 2023, eq. 7, arXiv:2305.18290).

    With label smoothing it is robust DPO (Chowdhury et al. 2024, eq. 8, arXiv:2403.00409),
    which on average over such wrong labels is the loss of the right ones.
    """
    kept = (1 - label_smoothing) * -F.logsigmoid(reward)
    flipped = label_smoothing * -F.logsigmoid(-reward)
    return (kept - flipped) / (1 - 2 * label_smoothing)


def squared(reward: Tensor) -> Tensor:
    """Returns IPO's loss of reward differences (Azar et al. 2023, eq. 17, arXiv:2310.12036).

    The paper's is divided by beta squared, which here would drown the likelihood term or drown
    in it as beta changes.
    """
    return (reward - 0.5) ** 2


def anchored(better: Tensor, worse: Tensor) -> Tensor:
    """Returns the loss that lifts one reward and lowers the other, each against zero.

    APO-zero, D'Oosterlinck et al. 2024, eq. 7, arXiv:2408.06266.
    """
    return 1 - torch.sigmoid(better) + torch.sigmoid(worse)


def rao_kupper(reward: Tensor, tie_share: float | Tensor) -> OutcomeLogProbs:
    """Returns the outcomes of reward differences where clips closer than a threshold tie.

    Rao and Kupper 1967, doi:10.1080/01621459.1967.10482901, in DPO by Chen et al. 2024,
    arXiv:2409.17431. The threshold makes equally good clips tie at tie_share.
    """
    share = torch.as_tensor(tie_share, dtype=reward.dtype, device=reward.device)
    log_nu = torch.log1p(share) - torch.log1p(-share)
    win = F.logsigmoid(reward - log_nu)
    defeat = F.logsigmoid(-reward - log_nu)
    return OutcomeLogProbs(win, defeat, tie=torch.log(torch.expm1(2 * log_nu)) + win + defeat)


def davidson(reward: Tensor, tie_share: float | Tensor) -> OutcomeLogProbs:
    """Returns the outcomes of reward differences where a tie is as likely as the clips' mean.

    Davidson 1970, doi:10.1080/01621459.1970.10481082, in DPO by Chen et al. 2024,
    arXiv:2409.17431. Equally good clips tie at tie_share.
    """
    share = torch.as_tensor(tie_share, dtype=reward.dtype, device=reward.device)
    tie = (math.log(2) + torch.logit(share)).expand_as(reward)
    logarithms = torch.stack([reward / 2, -reward / 2, tie]).log_softmax(0)
    return OutcomeLogProbs(win=logarithms[0], defeat=logarithms[1], tie=logarithms[2])


def cross_entropy(outcomes: OutcomeLogProbs, targets: PairTargets) -> Tensor:
    """Returns the cross-entropy of predicted outcomes with the ratings' shares, [B]."""
    return -(
        targets.win * outcomes.win + targets.defeat * outcomes.defeat + targets.tie * outcomes.tie
    )
