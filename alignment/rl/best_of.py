"""The best of N clips by a reward: what no training has to beat, and a fallback without any.

Best-of-N moves the distribution by at most ln N - (N - 1) / N nats a clip (Beirami et al. 2024,
arXiv:2401.01879), 1.2 for eight, and asks for N times the sampling.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.rl.rewards import Reward
    from generator.lm.sampling import SamplingSettings
    from generator.synthesis import GeneratedClip, Generator

N_CLIPS = 8
NAME = "best-of"
CLIPS_FILE = "clips.jsonl"


@dataclass(frozen=True)
class Wish:
    """What clips are to be made of."""

    prompt: str
    duration_s: float


@dataclass(frozen=True)
class BestClip:
    """Of several clips of one prompt the one that the reward likes best."""

    wish: Wish
    clip: GeneratedClip
    reward: float
    rewards: tuple[float, ...]
    """Of all the clips, in the order of their seeds."""


def most_nats(n_clips: int) -> float:
    """Returns the most by which best-of-N departs from its model, in nats a clip."""
    return math.log(n_clips) - (n_clips - 1) / n_clips


def best_clips(
    generator: Generator,
    reward: Reward,
    wishes: Sequence[Wish],
    *,
    n_clips: int = N_CLIPS,
    first_seed: int = 0,
    settings: SamplingSettings | None = None,
) -> list[BestClip]:
    """Returns the best of n_clips clips for each wish, drawn as the checkpoint usually draws."""
    from alignment.rl.rewards import score_clips
    from generator.requests import ClipRequest

    found = []
    for number, wish in enumerate(wishes):
        first = first_seed + number * n_clips
        requests = [
            ClipRequest(wish.prompt, wish.duration_s, seed)
            for seed in range(first, first + n_clips)
        ]
        clips = generator.generate(requests, settings or generator.sampling)
        rewards = score_clips(reward, [clip.codes for clip in clips])
        best = int(rewards.argmax())
        found.append(
            BestClip(wish, clips[best], float(rewards[best]), tuple(float(r) for r in rewards))
        )
    return found


def read_wishes(path: Path) -> list[Wish]:
    """Returns the wishes of a file of JSON lines with prompt and duration_s."""
    from alignment.errors import RunFolderError

    wishes = []
    try:
        for line in path.read_text().splitlines():
            if line.strip():
                row = json.loads(line)
                wishes.append(Wish(str(row["prompt"]), float(row["duration_s"])))
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise RunFolderError(f"{path} line {len(wishes) + 1} is no prompt: {exc}") from exc
    if not wishes:
        raise RunFolderError(f"{path} holds no prompts")
    return wishes


def write_best(folder: Path, number: int, best: BestClip) -> dict[str, Any]:
    """Writes audio and codes of a clip and returns its line in the list of clips."""
    import numpy as np

    from generator.audio import write_wav

    folder.mkdir(parents=True, exist_ok=True)
    wav, codes = f"best-{number}.wav", f"best-{number}.npy"
    write_wav(folder / wav, best.clip.waveform, best.clip.sample_rate_hz)
    np.save(folder / codes, best.clip.codes)
    return {
        "prompt": best.wish.prompt,
        "duration_s": best.clip.duration_s,
        "header": list(best.clip.header),
        "seed": best.clip.seed,
        "reward": best.reward,
        "rewards": list(best.rewards),
        "wav": wav,
        "codes": codes,
    }


def add_command(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `best-of` to a command line; nothing heavy is imported for it."""
    command = subparsers.add_parser(NAME, help="make clips and keep the best by a reward model")
    command.add_argument("base", type=Path, help="folder of a full checkpoint")
    command.add_argument("reward_model", type=Path, help="folder of a reward model")
    command.add_argument("prompts", type=Path, help="JSON lines with prompt and duration_s")
    command.add_argument("out", type=Path, help="folder for the clips")
    command.add_argument("--adapter", type=Path, action="append", default=[], dest="adapters")
    command.add_argument("--n", type=int, default=N_CLIPS, help="clips a prompt")
    command.add_argument("--penalty", type=float, default=0.5, help="for each unit of disagreement")
    command.add_argument("--seed", type=int, default=0, help="the first seed")
    command.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    command.add_argument("--threads", type=int, default=1, help="threads of the matrix products")


def run_command(options: argparse.Namespace) -> dict[str, Any]:
    """Writes the best clips and returns how much better they are than a clip taken at random."""
    import torch

    from alignment.errors import RunFolderError
    from alignment.rl.held_out import told
    from alignment.rl.models import model_reward
    from generator.measures import Estimate
    from generator.synthesis import load_generator

    if options.n < 1:
        raise RunFolderError(f"--n is at least 1, got {options.n}")
    wishes = read_wishes(options.prompts)
    torch.set_num_threads(options.threads)
    generator = load_generator(options.base, options.adapters, options.device)
    reward = model_reward(options.reward_model, options.base, options.penalty, options.device)
    found = best_clips(generator, reward, wishes, n_clips=options.n, first_seed=options.seed)
    lines = [write_best(options.out, number, best) for number, best in enumerate(found)]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    (options.out / CLIPS_FILE).write_text(content)
    gains = [best.reward - sum(best.rewards) / len(best.rewards) for best in found]
    return {
        "n_prompts": len(wishes),
        "n_clips": options.n,
        "reward": told(Estimate.of([best.reward for best in found])),
        "gain": told(Estimate.of(gains)),
        "most_nats": most_nats(options.n),
    }
