"""The reward models of a run: the one it learns from and the one that only watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from alignment.errors import RunFolderError
from alignment.reward.features import codes_of_waveform
from alignment.reward.model import REWARD_FILE, load_reward
from alignment.reward.sources import codec_hash, speaks_starter
from alignment.rl.config import RlConfig
from alignment.rl.rewards import Codes, Reward, ensemble_reward
from alignment.runs import RunFolder
from generator.checkpoints import CARD_FILE, content_hash
from generator.codec.model import load_codec
from generator.command import STARTER
from generator.errors import GeneratorError
from generator.families import load_parts
from generator.files import read_json


@dataclass(frozen=True)
class Rewards:
    """What a run learns from, and what watches it."""

    reward: Reward
    judge: Reward
    is_judge_unseen: bool
    """False where there is no judge of its own and the reward watches itself."""


def run_rewards(
    run: RunFolder, config: RlConfig, reward: Reward | None, judge: Reward | None, device: str
) -> Rewards:
    """Returns the rewards given, or else those of the reward models that the run names."""
    if reward is None:
        if run.reward_model is None:
            raise RunFolderError(f"method {run.method} needs a reward_model, run.json names none")
        if run.judge_model is not None and is_same(run.judge_model, run.reward_model):
            raise RunFolderError(
                f"judge_model {run.judge_model} is the reward_model itself; it has to be another"
            )
        reward = model_reward(run.reward_model, run.base, config.reward_penalty, device)
    if judge is None and run.judge_model is not None:
        judge = model_reward(run.judge_model, run.base, 0.0, device)
    return Rewards(reward, judge or reward, is_judge_unseen=judge is not None)


def model_reward(folder: Path, base: Path, penalty: float, device: str = "cpu") -> Reward:
    """Returns the reward of a reward model for codes of a full checkpoint.

    RunFolderError where the model learned from codes of another codec.
    """
    try:
        model = load_reward(folder, device)
        learned_from = read_json(folder / REWARD_FILE).get("codec_sha256")
        codec_folder, read = code_reader(base)
    except GeneratorError as exc:
        raise RunFolderError(f"the reward model cannot be used: {exc}") from exc
    found = codec_hash(codec_folder)
    if learned_from != found:
        raise RunFolderError(
            f"the reward model {folder} learned from codes of the codec "
            f"{str(learned_from)[:12]}..., that of {codec_folder} is {found[:12]}..."
        )
    of_codes = ensemble_reward(model, penalty)
    return of_codes if read is None else lambda clips: of_codes([read(clip) for clip in clips])


def code_reader(base: Path) -> tuple[Path, Callable[[Codes], Codes] | None]:
    """Returns whose codec reward models read a checkpoint's clips by, and what codes them anew.

    None for clips that have that codec's codes already.
    """
    if speaks_starter(base):
        return base, None
    codec = load_codec(STARTER)
    theirs = load_parts(base).codec

    @torch.inference_mode()
    def read(clip: Codes) -> Codes:
        waveform = theirs.decode(torch.from_numpy(clip).long()[None])[0].numpy()
        return codes_of_waveform(codec, waveform, theirs.config.sample_rate_hz)

    return STARTER, read


def is_same(folder: Path, other: Path) -> bool:
    """Returns whether two folders hold one checkpoint."""
    cards = [(place / CARD_FILE).is_file() for place in (folder, other)]
    return folder.resolve() == other.resolve() or (
        all(cards) and content_hash(folder) == content_hash(other)
    )
