"""Settings of runs that learn from a reward model, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field

from alignment.config import Precision, TrainingConfig
from alignment.settings import member_of, number, whole


@dataclass(frozen=True, kw_only=True)
class RlConfig(TrainingConfig):
    """What GRPO and RLOO have in common; the defaults suit the starter checkpoint."""

    n_steps: int = whole(60, 1, 10**5)
    batch_prompts: int = whole(8, 1, 1024)
    """Prompts whose clips are scored at once; a step takes accumulation_steps times as many."""
    group_size: int = whole(8, 2, 256)
    """Clips of each prompt in a step: a clip is judged against the others of its group."""
    reward_penalty: float = number(0.5, 0.0, 10.0)
    """What a clip loses for each unit by which the members of the reward model disagree."""
    judge_steps: int = whole(10, 1, 10**6)
    """Steps between two measurements on held-out prompts."""
    judge_patience: int = whole(3, 1, 10**3)
    """The run ends after this many measurements in a row without a new best."""
    held_out_clips: int = whole(2, 1, 64)
    """Clips of each held-out prompt in a measurement."""
    best_of: int = whole(8, 2, 64)
    """Clips of each held-out prompt of which the parent's best is reported beside."""
    precision: Precision = field(default=Precision.FLOAT32, metadata=member_of(Precision))
    """The sampler computes in float32; a trainer in bfloat16 scores the same clips a little
    differently."""

    @property
    def step_prompts(self) -> int:
        """The number of prompts a step learns from, in each process."""
        return self.batch_prompts * self.accumulation_steps


@dataclass(frozen=True, kw_only=True)
class GrpoConfig(RlConfig):
    """Group relative policy optimisation (Shao et al. 2024, arXiv:2402.03300)."""

    beta: float = number(0.04, 0.0, 100.0)
    """Weight of the divergence from the parent, per code, beside advantages of deviation 1."""


@dataclass(frozen=True, kw_only=True)
class RlooConfig(RlConfig):
    """REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024, arXiv:2402.14740)."""

    beta: float = number(0.01, 0.0, 100.0)
    """What a clip's reward loses for each nat of divergence from the parent, summed over the
    clip. A clip has hundreds of codes, so that equal numbers mean far more here than in GRPO."""
