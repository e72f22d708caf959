"""`python -m alignment score --reward FOLDER CLIPS...`: what a reward model thinks of files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from generator.codec.model import Codec

NAME = "score"
CODES_SUFFIX = ".npy"


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    score = commands.add_parser(
        NAME,
        help="score clips by a reward model",
        description="Writes a JSON line a clip: mean and std of the ensemble in logits, and "
        "`lower`, the mean less --penalty times the std.",
    )
    score.add_argument("--reward", type=Path, required=True, help="folder of the reward model")
    score.add_argument(
        "clips", type=Path, nargs="+", help=".npy files of codes [K, T], or audio files"
    )
    score.add_argument("--penalty", type=float, default=1.0, help="default: 1")
    score.add_argument("--codec", type=Path, help="folder whose codec reads audio (the starter's)")
    score.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    score.add_argument("--threads", type=int, default=1)


def run_scoring(options: argparse.Namespace) -> list[str]:
    """Returns a line a clip, in the order asked for; GeneratorError where one cannot be read."""
    import torch

    from alignment.reward.features import codes_of_recording
    from alignment.reward.model import load_reward
    from generator.codec.coding import open_codes

    torch.set_num_threads(options.threads)
    model = load_reward(options.reward, options.device)
    codec: Codec | None = None
    codes: list[NDArray[np.integer]] = []
    for path in options.clips:
        if path.suffix == CODES_SUFFIX:
            codes.append(open_codes(path))
            continue
        codec = codec or _fitting_codec(options)
        codes.append(codes_of_recording(codec, path))
    scores = model.score(codes)
    lower = scores.lower(options.penalty)
    return [
        json.dumps(
            {
                "clip": str(path),
                "mean": round(float(scores.mean[row]), 4),
                "std": round(float(scores.std[row]), 4),
                "lower": round(float(lower[row]), 4),
            }
        )
        for row, path in enumerate(options.clips)
    ]


def _fitting_codec(options: argparse.Namespace) -> Codec:
    """Returns the codec whose codes the reward model learned from."""
    from alignment.reward.model import REWARD_FILE
    from alignment.reward.sources import codec_hash
    from generator.codec.model import load_codec
    from generator.command import STARTER
    from generator.errors import RequestError
    from generator.files import read_json

    folder = options.codec or STARTER
    wanted = read_json(options.reward / REWARD_FILE).get("codec_sha256")
    codec = load_codec(folder)
    if wanted != codec_hash(folder):
        raise RequestError(
            f"{options.reward} learned from codes of the codec {str(wanted)[:12]}..., that of "
            f"{folder} is {codec_hash(folder)[:12]}...: name the right one by --codec"
        )
    return codec
