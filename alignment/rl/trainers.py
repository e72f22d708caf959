"""Stock GRPO and RLOO trainers that draw their clips with our sampler.

GRPO offers a hook for rollouts. RLOO does not, so its two methods that turn prompts into
completions are replaced; rewards, advantages and losses are TRL's own in both.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never

import datasets
from datasets import Dataset
from transformers import PrinterCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.rloo_trainer import RLOOTrainer

from alignment.arguments import lora_config, shared_arguments
from alignment.collation import structural_tokenizer
from alignment.face import FlatAudioLM
from alignment.rl.config import GrpoConfig, RlooConfig
from alignment.rl.prompts import PromptRow, prompt_order
from alignment.rl.rewards import Reward, score_clips
from alignment.rl.rollouts import ON_POLICY, Rollout, Rollouts, rollout_seed

RlTrainer = GRPOTrainer | RLOOTrainer

LOGGED = {
    "reward": "reward_mean",
    "reward_std": "reward_std",
    "kl": "kl",
    "entropy": "entropy",
    "frac_reward_zero_std": "equal_groups",
}
"""What both trainers call their figures, and how a progress line does."""


def rl_figures(logs: Mapping[str, float]) -> dict[str, float]:
    """Returns the figures among what a trainer logged; kl and entropy are means per code."""
    return {told: logs[name] for name, told in LOGGED.items() if name in logs}


class PolicyRollouts:
    """The clips of a step: of the prompts a trainer names by number, with seeds of their own."""

    def __init__(
        self, rollouts: Rollouts, rows: Sequence[PromptRow], reward: Reward, seed: int
    ) -> None:
        self.rollouts = rollouts
        self.rows = rows
        self.seed = seed
        self._reward = reward

    def draw(self, numbers: Sequence[str], trainer: Any) -> list[Rollout]:
        """Returns a clip of the policy as it is now for each number of a row."""
        self.rollouts.follow(trainer.accelerator.unwrap_model(trainer.model))
        first = trainer.accelerator.process_index * len(numbers)
        seeds = [
            rollout_seed(self.seed, trainer.state.global_step, first + place)
            for place in range(len(numbers))
        ]
        return self.rollouts.sample([self.rows[int(number)] for number in numbers], seeds)

    def __call__(self, prompts: Sequence[str], trainer: Any) -> dict[str, list[Any]]:
        """Returns what GRPO asks of a rollout; only drawn ids count in its loss."""
        drawn = self.draw(prompts, trainer)
        return {
            "prompt_ids": [self.rollouts.prompt_ids(clip.row) for clip in drawn],
            "completion_ids": [self.rollouts.completion_ids(clip) for clip in drawn],
            "logprobs": [self.rollouts.completion_log_probs(clip) for clip in drawn],
            "env_mask": [self.rollouts.completion_mask(clip) for clip in drawn],
        }

    def reward(self, completion_ids: Sequence[Sequence[int]], **_: object) -> list[float]:
        """Returns the rewards of completions."""
        clips = [self.rollouts.clip_codes(ids) for ids in completion_ids]
        values: list[float] = score_clips(self._reward, clips).tolist()
        return values


class SampledRlooTrainer(RLOOTrainer):
    """TRL's RLOO trainer with completions of our sampler."""

    def __init__(self, *, policy_rollouts: PolicyRollouts, **arguments: Any) -> None:
        self._policy_rollouts = policy_rollouts
        self._numbers: list[str] = []
        super().__init__(**arguments)

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """Returns the flat ids of prompts that are named by number."""
        self._numbers = prompts
        chosen = self._policy_rollouts
        return (
            [chosen.rollouts.prompt_ids(chosen.rows[int(number)]) for number in prompts],
            None,
            {},
        )

    def _generate_single_turn(self, *_: Any, **__: Any) -> list[list[int]]:
        """Returns the completions of the prompts that were tokenised last."""
        drawn = self._policy_rollouts.draw(self._numbers, self)
        return [self._policy_rollouts.rollouts.completion_ids(clip) for clip in drawn]


def prompt_dataset(n_prompts: int, config: GrpoConfig | RlooConfig, n_ranks: int) -> Dataset:
    """Returns the prompts of a whole run, by number, in the order in which it takes them.

    One pass without repetition: a trainer that resumes by skipping rows then goes on with the
    prompts that the killed one would have taken.
    """
    n_turns = config.n_steps * config.step_prompts * n_ranks
    order = prompt_order(n_prompts, n_turns, config.seed)
    return Dataset.from_dict({"prompt": [str(number) for number in order]})


def rollout_arguments(
    config: GrpoConfig | RlooConfig, folder: Path, *, longest_completion: int, device: str
) -> dict[str, Any]:
    """Returns the arguments that both trainers have; nothing is cut and nothing is dropped.

    longest_completion: in ids; the stock limit of 512 is shorter than some clips.
    """
    return {
        **shared_arguments(config, folder, device),
        "max_completion_length": longest_completion,
        "num_generations": config.group_size,
        "per_device_train_batch_size": config.batch_prompts * config.group_size,
        "num_iterations": 1,
        "beta": config.beta,
        "temperature": ON_POLICY.temperature,
        "top_k": ON_POLICY.top_k,
        "top_p": ON_POLICY.top_p,
        "disable_dropout": True,
        "mask_truncated_completions": False,
        "shuffle_dataset": False,
        "max_steps": config.n_steps,
        "lr_scheduler_type": "constant_with_warmup",
    }


def build_trainer(
    model: FlatAudioLM,
    rollouts: Rollouts,
    rows: Sequence[PromptRow],
    reward: Reward,
    config: GrpoConfig | RlooConfig,
    *,
    folder: Path,
    device: str = "cpu",
    n_ranks: int = 1,
) -> RlTrainer:
    """Returns a stock trainer of a new adapter on a model, for prompts in a fixed order."""
    datasets.disable_progress_bars()
    frames = max(row.n_frames(model.core.frame_rate_hz) for row in rows)
    pattern = model.vocabulary.pattern
    shared = rollout_arguments(
        config,
        folder,
        longest_completion=pattern.n_steps(frames) * pattern.n_codebooks + 1,
        device=device,
    )
    source = PolicyRollouts(rollouts, rows, reward, config.seed)
    arguments: dict[str, Any] = {
        "model": model,
        "reward_funcs": [source.reward],
        "train_dataset": prompt_dataset(len(rows), config, n_ranks),
        "processing_class": structural_tokenizer(model.vocabulary),
        "peft_config": lora_config(config),
    }
    trainer: RlTrainer
    match config:
        case GrpoConfig():
            # Every clip counts by the mean over its own codes, as in the paper's eq. 3.
            grpo = GRPOConfig(loss_type="grpo", scale_rewards="group", **shared)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
                trainer = GRPOTrainer(args=grpo, rollout_func=source, **arguments)
        case RlooConfig():
            rloo = RLOOConfig(normalize_advantages=False, **shared)
            trainer = SampledRlooTrainer(policy_rollouts=source, args=rloo, **arguments)
        case _:
            assert_never(config)
    trainer.remove_callback(PrinterCallback)
    return trainer
