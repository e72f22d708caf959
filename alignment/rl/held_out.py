"""How a policy does on prompts it was not trained on, beside its parent and the parent's best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch.nn.utils.rnn import pad_sequence

from alignment.face import IGNORED_LABEL
from alignment.rl.prompts import PromptRow
from alignment.rl.rewards import Reward, score_clips
from alignment.rl.rollouts import Rollout, Rollouts, rollout_seed
from generator.measures import Estimate
from generator.shares import NORMAL_QUANTILE

SELECTION, REPORT = 1, 2
"""Which clips are drawn: those a checkpoint is chosen by, or others for what is reported of it."""
MEASURED = 2**31
"""Seeds of measurements are of steps beyond any that trains."""


@dataclass(frozen=True)
class HeldOutClips:
    """Clips of held-out prompts, as many of each, and what reward and judge say of them."""

    clips: tuple[Rollout, ...]
    """Prompt by prompt."""
    rewards: NDArray[np.float64]
    """By prompt and clip, [P, N]; so are the judgements."""
    judgements: NDArray[np.float64]
    diversity: float
    """Share of places in which two clips of one prompt have different codes, 0 to 1."""

    def first(self, n_clips: int) -> HeldOutClips:
        """Returns the first n_clips clips of each prompt."""
        n_prompts, n_all = self.rewards.shape
        kept = [
            clip for place in range(n_prompts) for clip in self.clips[place * n_all :][:n_clips]
        ]
        return HeldOutClips(
            clips=tuple(kept),
            rewards=self.rewards[:, :n_clips],
            judgements=self.judgements[:, :n_clips],
            diversity=diversity([clip.codes for clip in kept], n_clips),
        )

    def best(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns reward and judgement [P] of each prompt's clip with the highest reward."""
        chosen = self.rewards.argmax(axis=1)[:, None]
        return (
            np.take_along_axis(self.rewards, chosen, axis=1)[:, 0],
            np.take_along_axis(self.judgements, chosen, axis=1)[:, 0],
        )


class HeldOutPrompts:
    """Held-out prompts with the two rewards that clips of them are measured by."""

    def __init__(
        self,
        rollouts: Rollouts,
        rows: Sequence[PromptRow],
        *,
        reward: Reward,
        judge: Reward,
        seed: int,
    ) -> None:
        self.rollouts = rollouts
        self.rows = rows
        self._reward = reward
        self._judge = judge
        self._seed = seed

    def measure(self, n_clips: int, purpose: int) -> HeldOutClips:
        """Returns n_clips clips a prompt of whatever the rollouts follow, measured.

        The seeds are the same at every call, so that checkpoints are compared on equal chances.
        """
        rows = [row for row in self.rows for _ in range(n_clips)]
        seeds = [
            rollout_seed(self._seed, MEASURED + purpose, (prompt << 16) + clip)
            for prompt in range(len(self.rows))
            for clip in range(n_clips)
        ]
        clips = self.rollouts.sample(rows, seeds)
        codes = [clip.codes for clip in clips]
        shape = (len(self.rows), n_clips)
        return HeldOutClips(
            clips=tuple(clips),
            rewards=score_clips(self._reward, codes).reshape(shape),
            judgements=score_clips(self._judge, codes).reshape(shape),
            diversity=diversity(codes, n_clips),
        )


def diversity(codes: Sequence[NDArray[np.int16]], n_clips: int) -> float:
    """Returns by how much clips of one prompt differ, 0 to 1; codes: n_clips a prompt, in order."""
    shares = [
        float((one != other).mean())
        for first in range(0, len(codes), n_clips)
        for one, other in combinations(codes[first : first + n_clips], 2)
    ]
    return float(np.mean(shares)) if shares else float("nan")


@torch.no_grad()
def divergence_per_code(policy: PeftModel, rollouts: Rollouts, clips: Sequence[Rollout]) -> float:
    """Returns the mean log-ratio of policy to parent, in nats a code, on the policy's own clips.

    That is an estimate of their Kullback-Leibler divergence.
    """
    face = policy.get_base_model()
    vocabulary = rollouts.vocabulary
    device = next(policy.parameters()).device
    rows = [
        torch.tensor([*rollouts.prompt_ids(clip.row), *rollouts.completion_ids(clip)])
        for clip in clips
    ]
    was_training = policy.training
    policy.eval()
    total, n_codes = 0.0, 0
    with policy.disable_adapter():
        for start in range(0, len(rows), 32):
            ids = pad_sequence(
                rows[start : start + 32], batch_first=True, padding_value=float(vocabulary.pad)
            ).to(device)
            is_code = vocabulary.is_code(ids)
            labels = ids.masked_fill(~is_code, IGNORED_LABEL)
            scored = face(input_ids=ids, labels=labels, fused_lm_head=True)
            parent = float(scored.log_probs.double().sum())
            own = sum(float(clip.log_probs.double().sum()) for clip in clips[start : start + 32])
            total += own - parent
            n_codes += int(is_code.sum())
    policy.train(was_training)
    return total / n_codes


def told(estimate: Estimate) -> dict[str, Any]:
    """Returns an estimate with its interval at 95%, as JSON can hold it."""
    reach = NORMAL_QUANTILE * estimate.standard_error
    known = bool(np.isfinite(reach))
    return {
        "mean": estimate.mean,
        "low": estimate.mean - reach if known else None,
        "high": estimate.mean + reach if known else None,
        "n": estimate.n,
    }


def compared(before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, Any]:
    """Returns how rewards [P, N] changed: means of both, and of the gain with its interval.

    Prompts are what was drawn at random, so that n counts them; a gain is paired by prompt.
    """
    gains = after.mean(axis=1) - before.mean(axis=1)
    return {
        "before": told(Estimate.of(before.mean(axis=1).tolist())),
        "after": told(Estimate.of(after.mean(axis=1).tolist())),
        "gain": told(Estimate.of(gains.tolist())),
        "n_clips": int(after.size),
    }
