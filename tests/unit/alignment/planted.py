"""Pairs sampled from a tiny core, labelled by a planted taste, and run folders made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignment.runs import Preference, Split
from generator.checkpoints import content_hash, save_core, write_card
from generator.codec.model import Codec, save_codec
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.lm.starter import StarterCore
from generator.text.header import HEADER_VOCABULARY, SLOTS
from tests.tiny import TINY_CODEC, TINY_CORE, tiny_core, write_tiny_checkpoint

N_FRAMES = 25
FEW_CODES = 16
"""With so few codes a taste shows in a few hundred short clips."""


def write_small_checkpoint(folder: Path, *, codec_seed: int = 0) -> Path:
    """Writes a tiny full checkpoint whose codebooks have FEW_CODES codes; returns its folder."""
    write_tiny_checkpoint(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(codec_seed)
        save_codec(Codec(replace(TINY_CODEC, codebook_size=FEW_CODES)).eval(), folder)
    save_core(tiny_core(config=replace(TINY_CORE, codebook_size=FEW_CODES)), folder)
    write_card(folder, name="small", kind="full", licence="Apache-2.0")
    return folder


def random_headers(n: int, seed: int) -> Tensor:
    """Returns headers [n, 10] with every slot open or given, at random."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        mapping = {
            name: values[rng.integers(len(values))]
            for name, values in SLOTS.items()
            if rng.random() < 0.5
        }
        rows.append(HEADER_VOCABULARY.encode(mapping))
    return torch.tensor(rows)


def sample(core: StarterCore, headers: Tensor, seed: int, n_frames: int = N_FRAMES) -> Tensor:
    """Returns unguided codes [B, K, T] of headers [B, 10], seeds counted up from `seed`."""
    seconds = torch.tensor([[0.0, n_frames / core.frame_rate_hz]] * len(headers))
    seeds = list(range(seed, seed + len(headers)))
    settings = SamplingSettings(guidance=1.0, temperature=1.0)
    return sample_codes(core, headers, seconds, n_frames, settings, seeds)


def lowness(codes: Tensor, codebook_size: int) -> Tensor:
    """Returns the share of codes in the lower half, [B]: the planted taste likes it high."""
    return (codes < codebook_size // 2).float().mean(dim=(1, 2))


@dataclass(frozen=True)
class Sampled:
    """Pairs of clips of the same header."""

    headers: Tensor
    first: Tensor
    second: Tensor


def sample_pairs(core: StarterCore, n_pairs: int, seed: int = 0) -> Sampled:
    """Returns n_pairs pairs of clips of N_FRAMES frames."""
    headers = random_headers(n_pairs, seed)
    return Sampled(headers, sample(core, headers, seed), sample(core, headers, seed + 10**6))


def write_preferences(
    folder: Path, pairs: Sampled, first_is_chosen: Sequence[bool], n_held_out: int = 0
) -> list[Preference]:
    """Writes the pairs' codes and returns the preferences; the last ones are held out."""
    folder.mkdir(parents=True, exist_ok=True)
    preferences = []
    for row, first_wins in enumerate(first_is_chosen):
        paths = [folder / f"{row}-{side}.npy" for side in "ab"]
        for path, codes in zip(paths, (pairs.first[row], pairs.second[row]), strict=True):
            np.save(path, codes.numpy().astype(np.int16))
        chosen, rejected = paths if first_wins else reversed(paths)
        is_held_out = row >= len(first_is_chosen) - n_held_out
        preferences.append(
            Preference(
                pair=str(row),
                header=tuple(pairs.headers[row].tolist()),
                chosen=chosen,
                rejected=rejected,
                split=Split.HELD_OUT if is_held_out else Split.TRAIN,
            )
        )
    return preferences


def write_run(
    folder: Path,
    *,
    base: Path,
    preferences: Sequence[Preference],
    config: Mapping[str, Any],
    adapters: Sequence[Path] = (),
    name: str = "tiny-aligned",
    method: str = "dpo",
    **more: str,
) -> Path:
    """Writes a run folder as a worker would; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    codes_root = preferences[0].chosen.parent
    rows = [
        {
            "pair": row.pair,
            "prompt": "any",
            "header": list(row.header),
            "duration_s": N_FRAMES / 25,
            "chosen": row.chosen.name,
            "rejected": row.rejected.name,
            "chosen_sha256": sha256(row.chosen.read_bytes()).hexdigest(),
            "rejected_sha256": sha256(row.rejected.read_bytes()).hexdigest(),
            "weight": row.weight,
            "split": row.split.value,
            "outcome": row.outcome.value,
            "counts": asdict(row.counts),
            "raters": list(row.raters),
        }
        for row in preferences
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "preferences.jsonl").write_text(content)
    run = {
        "base": str(base),
        "adapters": [str(adapter) for adapter in adapters],
        "preferences": "preferences.jsonl",
        "codes_root": str(codes_root),
        "method": method,
        "config": dict(config),
        **more,
        "name": name,
        "parent": "tiny-0",
        "parent_hash": content_hash([base, *adapters][-1]),
        "dataset_sha256": sha256(content.encode()).hexdigest(),
    }
    (folder / "run.json").write_text(json.dumps(run))
    return folder
