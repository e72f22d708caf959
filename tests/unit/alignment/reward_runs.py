"""Run folders for reward models: pairs of drawn clips, rated by whoever is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from generator.representation.encoder import EncoderConfig, RepresentationEncoder, save_encoder
from tests.tiny import randomise
from tests.unit.alignment.planted import FEW_CODES, write_small_checkpoint

N_FRAMES = 50
TINY_ENCODER = EncoderConfig(codebook_size=FEW_CODES, width=16, n_layers=2, n_heads=2)

Codes = NDArray[np.int16]
Judge = Callable[[Codes, Codes, np.random.Generator], Mapping[str, Any]]
"""Returns what a row says of its first and second clip; `swap` has the second be the chosen."""


def tiny_encoder(seed: int = 0) -> RepresentationEncoder:
    """Returns a random encoder in evaluation mode, every part of it in use."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = RepresentationEncoder(TINY_ENCODER)
        randomise(encoder)
    return encoder.eval()


def draw_clip(rng: np.random.Generator, n_frames: int = N_FRAMES) -> Codes:
    """Returns codes [2, T] of which a share, the clip's own, lies in the lower half."""
    is_low = rng.random((2, n_frames)) < rng.uniform(0.2, 0.8)
    half = FEW_CODES // 2
    return (rng.integers(0, half, (2, n_frames)) + half * ~is_low).astype(np.int16)


def lowness(codes: Codes) -> float:
    """Returns the share of codes in the lower half: the planted taste likes it high."""
    return float((codes < FEW_CODES // 2).mean())


def likes_low(first: Codes, second: Codes, rng: np.random.Generator) -> Mapping[str, Any]:
    """A rater of the planted taste who never errs."""
    return {"swap": lowness(second) > lowness(first)}


def coin(first: Codes, second: Codes, rng: np.random.Generator) -> Mapping[str, Any]:
    """A rater without any taste."""
    return {"swap": bool(rng.random() < 0.5)}


@dataclass
class Pairs:
    """How the rows of a run are drawn."""

    n_train: int = 160
    n_held_out: int = 80
    n_prompts: int = 16
    n_raters: int = 8
    judge: Judge = likes_low
    seed: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)


def write_reward_run(folder: Path, pairs: Pairs | None = None) -> Path:
    """Writes a checkpoint, an encoder, clips and a run folder over them; returns the latter.

    Held-out rows have prompts and raters of their own.
    """
    asked = pairs or Pairs()
    rng = np.random.default_rng(asked.seed)
    codes_root = folder / "codes"
    codes_root.mkdir(parents=True)
    write_small_checkpoint(folder / "base")
    save_encoder(tiny_encoder(), folder / "encoder")
    rows = []
    for number in range(asked.n_train + asked.n_held_out):
        is_held_out = number >= asked.n_train
        first, second = draw_clip(rng), draw_clip(rng)
        said = dict(asked.judge(first, second, rng))
        files = []
        for side, codes in zip("ab", (first, second), strict=True):
            path = codes_root / f"{number}-{side}.npy"
            np.save(path, codes)
            files.append(path)
        chosen, rejected = reversed(files) if said.pop("swap", False) else files
        rater = int(rng.integers(asked.n_raters)) + (asked.n_raters if is_held_out else 0)
        half = "held out" if is_held_out else "training"
        rows.append(
            {
                "pair": str(number),
                "prompt": f"{half} prompt {rng.integers(asked.n_prompts)}",
                "header": [0],
                "chosen": chosen.name,
                "rejected": rejected.name,
                "split": "held_out" if is_held_out else "train",
                "raters": [rater],
                **said,
            }
        )
    return write_rows(folder, rows, asked.config)


def write_rows(folder: Path, rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> Path:
    """Writes run.json and preferences.jsonl of a folder that has the rest; returns its run."""
    run = folder / "run"
    run.mkdir(exist_ok=True)
    content = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
    (run / "preferences.jsonl").write_text(content)
    stored = {
        "base": str(folder / "base"),
        "preferences": "preferences.jsonl",
        "codes_root": str(folder / "codes"),
        "method": "reward",
        "config": {"encoder": str(folder / "encoder"), **config},
        "name": "tiny-reward",
        "dataset_sha256": sha256(content.encode()).hexdigest(),
    }
    (run / "run.json").write_text(json.dumps(stored))
    return run


def read_rows(run: Path) -> list[dict[str, Any]]:
    """Returns the rows of a run folder."""
    return [json.loads(line) for line in (run / "preferences.jsonl").read_text().splitlines()]
