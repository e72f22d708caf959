"""Clips of a checkpoint with what every taste thinks of them, made once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from alignment.gate import level_dbfs
from alignment.simulation.tastes import Taste, spectral_centroid_hz, taste_score
from generator.checkpoints import chain_hash
from generator.requests import ClipRequest
from generator.synthesis import Generator, load_generator

BATCH_CLIPS = 32
INDEX_FILE = "clips.jsonl"


@dataclass(frozen=True)
class Order:
    """A clip to be made: a prompt and a seed."""

    prompt: str
    seed: int

    @property
    def key(self) -> str:
        """A name for the clip's files."""
        return hashlib.sha256(f"{self.seed}:{self.prompt}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class MeasuredClip:
    """A clip that was made: its codes' file, header, and figures of its audio."""

    prompt: str
    seed: int
    codes: str
    """Path of the codes [K, T], relative to the store."""
    header: tuple[int, ...]
    scores: dict[str, float]
    """By the name of a taste."""
    level_dbfs: float
    centroid_hz: float

    def score(self, taste: Taste) -> float:
        """Returns how much a taste likes the clip."""
        return self.scores[taste]


class ClipStore:
    """Clips of one checkpoint in a folder; what was made before is not made again."""

    def __init__(self, root: Path, chain: Sequence[Path], duration_s: float) -> None:
        self.root = root
        self.folder = root / f"{chain_hash(list(chain))[:16]}-{duration_s:g}s"
        self.chain = tuple(chain)
        self.duration_s = duration_s
        self._found: dict[str, MeasuredClip] = {}
        index = self.folder / INDEX_FILE
        if index.is_file():
            for line in index.read_text().splitlines():
                clip = _read(json.loads(line))
                self._found[Order(clip.prompt, clip.seed).key] = clip

    @cached_property
    def generator(self) -> Generator:
        """The checkpoint, loaded when the first clip is missing."""
        return load_generator(self.chain[0], self.chain[1:])

    def make(self, orders: Sequence[Order]) -> list[MeasuredClip]:
        """Returns a clip for each order."""
        missing = list({o.key: o for o in orders if o.key not in self._found}.values())
        for start in range(0, len(missing), BATCH_CLIPS):
            self._make(missing[start : start + BATCH_CLIPS])
        return [self._found[order.key] for order in orders]

    def _make(self, orders: Sequence[Order]) -> None:
        requests = [ClipRequest(order.prompt, self.duration_s, order.seed) for order in orders]
        made = self.generator.generate(requests, self.generator.settings({}))
        (self.folder / "codes").mkdir(parents=True, exist_ok=True)
        with (self.folder / INDEX_FILE).open("a") as index:
            for order, clip in zip(orders, made, strict=True):
                place = self.folder / "codes" / f"{order.key}.npy"
                np.save(place, clip.codes)
                rate_hz, waveform = clip.sample_rate_hz, clip.waveform
                measured = MeasuredClip(
                    prompt=order.prompt,
                    seed=order.seed,
                    codes=str(place.relative_to(self.root)),
                    header=clip.header,
                    scores={taste.value: taste_score(taste, waveform, rate_hz) for taste in Taste},
                    level_dbfs=level_dbfs(waveform),
                    centroid_hz=spectral_centroid_hz(waveform, rate_hz),
                )
                index.write(json.dumps(asdict(measured)) + "\n")
                self._found[order.key] = measured


def _read(row: dict[str, Any]) -> MeasuredClip:
    return MeasuredClip(**{**row, "header": tuple(row["header"])})
