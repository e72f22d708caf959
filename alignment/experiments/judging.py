"""How fresh clips of a candidate stand against its base's on prompts that nobody trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignment.experiments.clips import MeasuredClip
from alignment.simulation.bootstrap import PairedScore, win_rate_over_prompts
from alignment.simulation.tastes import Taste


@dataclass(frozen=True)
class Judgement:
    """A candidate against its base, by the taste itself and without noise."""

    win_rate: float
    low: float
    high: float
    """95%, by resampling prompts."""
    n_pairs: int
    n_prompts: int
    diversity: float
    """How much clips of one prompt differ in their codes, as a share of the base's."""
    centroid_octaves: float
    level_db: float
    """Mean shifts of the spectral centroid and of the level, candidate minus base."""

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as plain values."""
        return asdict(self)


def judge(
    candidate: Sequence[MeasuredClip],
    base: Sequence[MeasuredClip],
    taste: Taste,
    root: Path,
    rng: np.random.Generator,
) -> Judgement:
    """Returns how the candidate's clips do against the base's, pair by pair."""
    pairs = list(zip(candidate, base, strict=True))
    scores = [
        PairedScore(prompt=new.prompt, base=old.score(taste), aligned=new.score(taste))
        for new, old in pairs
    ]
    interval = win_rate_over_prompts(scores, rng)
    octaves = [math.log2(new.centroid_hz / old.centroid_hz) for new, old in pairs]
    return Judgement(
        win_rate=interval.figure,
        low=interval.low,
        high=interval.high,
        n_pairs=interval.n,
        n_prompts=interval.n_groups,
        diversity=code_spread(candidate, root) / code_spread(base, root),
        centroid_octaves=float(np.mean(octaves)),
        level_db=float(np.mean([new.level_dbfs - old.level_dbfs for new, old in pairs])),
    )


def code_spread(clips: Sequence[MeasuredClip], root: Path) -> float:
    """Returns the mean share of places in which two clips of one prompt have different codes."""
    by_prompt: dict[str, list[np.ndarray]] = {}
    for clip in clips:
        by_prompt.setdefault(clip.prompt, []).append(np.load(root / clip.codes))
    shares = [
        float((one != other).mean())
        for codes in by_prompt.values()
        for index, one in enumerate(codes)
        for other in codes[index + 1 :]
    ]
    return float(np.mean(shares))
