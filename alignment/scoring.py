"""How a policy and its parent score preferences: agreement, and likelihood of chosen clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor

from alignment.collation import PreferenceCollator
from alignment.face import IGNORED_LABEL, FlatAudioLM
from alignment.runs import Preference

BATCH_PAIRS = 16


@dataclass(frozen=True)
class PreferenceScores:
    """Mean log-probabilities per code of chosen and rejected clips, [N] each."""

    chosen: Tensor
    rejected: Tensor


@dataclass(frozen=True)
class Agreement:
    """How often a policy favours the chosen clip more than its parent does."""

    accuracy: float
    """A tie counts half."""
    low: float
    high: float
    """Wilson's interval at 95%."""
    n: int
    chosen_nll: float
    """Mean negative log-likelihood per code of chosen clips, in nats."""
    parent_chosen_nll: float

    @property
    def nll_increase(self) -> float:
        """The share by which chosen clips became less likely; negative if they became likelier."""
        return self.chosen_nll / self.parent_chosen_nll - 1.0


@torch.no_grad()
def score_preferences(
    model: FlatAudioLM | PeftModel, preferences: Sequence[Preference], collator: PreferenceCollator
) -> PreferenceScores:
    """Returns what a model thinks of both clips of every preference, in float32.

    A trainer with mixed precision wraps the outermost model, which is therefore not called.
    """
    face = model.get_base_model() if isinstance(model, PeftModel) else model
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    chosen, rejected = [], []
    for start in range(0, len(preferences), BATCH_PAIRS):
        batch = collator.collate(preferences[start : start + BATCH_PAIRS])
        ids, mask = batch["input_ids"].to(device), batch["completion_mask"].to(device)
        labels = ids.masked_fill(mask == 0, IGNORED_LABEL)
        summed = face(input_ids=ids, labels=labels, fused_lm_head=True).log_probs.sum(1)
        means = (summed / mask.sum(1)).cpu()
        first, second = means.chunk(2)
        chosen.append(first)
        rejected.append(second)
    model.train(was_training)
    return PreferenceScores(torch.cat(chosen), torch.cat(rejected))


def parent_scores(
    policy: PeftModel, preferences: Sequence[Preference], collator: PreferenceCollator
) -> PreferenceScores:
    """Returns what the policy's parent thinks: the policy with its adapter switched off."""
    with policy.disable_adapter():
        return score_preferences(policy, preferences, collator)


def measure_agreement(policy: PreferenceScores, parent: PreferenceScores) -> Agreement:
    """Returns the agreement of scores of the same preferences by policy and parent."""
    margins = (policy.chosen - parent.chosen) - (policy.rejected - parent.rejected)
    wins = float((margins > 0).sum() + 0.5 * (margins == 0).sum())
    low, high = wilson_interval(wins, len(margins))
    return Agreement(
        accuracy=wins / len(margins),
        low=low,
        high=high,
        n=len(margins),
        chosen_nll=float(-policy.chosen.mean()),
        parent_chosen_nll=float(-parent.chosen.mean()),
    )


def wilson_interval(wins: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Returns the interval of a share of n trials (Wilson 1927, doi:10.2307/2276774)."""
    if n < 1:
        raise ValueError(f"an interval needs at least 1 trial, got {n}")
    share = wins / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)
