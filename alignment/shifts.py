"""How a candidate's clips sound beside its base's: paired differences, with intervals.

Two clips are a pair when they answer one prompt from one seed. Levels are measured of what the
checkpoints made, before anything is brought to the level of playback.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from alignment.errors import AlignmentError
from alignment.gate import level_dbfs
from generator.measures import ClipMeasures, measure_clip
from generator.synthesis import GeneratedClip

LEVEL_FLOOR_DBFS = -90.0
"""A clip that is quieter counts as this: the step of a 16-bit file."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class HeardClip:
    """What is measured of one clip; a clip of two channels as their mean."""

    level_dbfs: float
    centroid_hz: float
    beats_per_minute: float
    onsets_per_s: float


@dataclass(frozen=True)
class Shift:
    """The mean change of one measure from base to candidate, in `unit`.

    low and high are its 95% interval over prompts, None with fewer than two; the change of a
    prompt is the mean over its pairs.
    """

    name: str
    unit: str
    base: float
    candidate: float
    mean: float
    low: float | None
    high: float | None
    n_pairs: int
    n_prompts: int

    def to_json(self) -> dict[str, Any]:
        """Returns the shift as it is stored and shown."""
        return asdict(self)


LEVEL = "level"
MEASURES: Mapping[str, tuple[str, Callable[[HeardClip], float]]] = {
    LEVEL: ("dB", lambda clip: clip.level_dbfs),
    "spectral centroid": ("Hz", lambda clip: clip.centroid_hz),
    "tempo": ("beats per minute", lambda clip: clip.beats_per_minute),
    "onset density": ("onsets per second", lambda clip: clip.onsets_per_s),
}


def hear_clip(clip: GeneratedClip) -> HeardClip:
    """Returns the measures of a clip of at least a second."""
    mono = clip.waveform if clip.waveform.ndim == 1 else clip.waveform.mean(axis=0)
    measures: ClipMeasures = measure_clip(np.nan_to_num(mono), clip.sample_rate_hz)
    return HeardClip(
        level_dbfs=max(level_dbfs(clip.waveform), LEVEL_FLOOR_DBFS),
        centroid_hz=measures.centroid_hz,
        beats_per_minute=measures.beats_per_minute,
        onsets_per_s=measures.onsets_per_s,
    )


def measure_shifts(
    candidate: Mapping[str, Sequence[GeneratedClip]], base: Mapping[str, Sequence[GeneratedClip]]
) -> dict[str, Shift]:
    """Returns the shift of every measure by its name; clips by prompt, paired by place."""
    check_pairs(candidate, base)
    heard = {
        prompt: [
            (hear_clip(one), hear_clip(other))
            for one, other in zip(candidate[prompt], base[prompt], strict=True)
        ]
        for prompt in candidate
    }
    return {
        name: paired_shift(
            name,
            unit,
            [[(measure(one), measure(other)) for one, other in pairs] for pairs in heard.values()],
        )
        for name, (unit, measure) in MEASURES.items()
    }


def check_pairs(
    candidate: Mapping[str, Sequence[GeneratedClip]], base: Mapping[str, Sequence[GeneratedClip]]
) -> None:
    """Raises AlignmentError unless every clip has its counterpart of the same seed."""
    if not candidate or set(candidate) != set(base):
        raise AlignmentError(
            f"candidate and base answer the same prompts, got {len(candidate)} and {len(base)}, "
            f"{len(set(candidate) & set(base))} of them shared"
        )
    for prompt in candidate:
        seeds = [[clip.seed for clip in clips] for clips in (candidate[prompt], base[prompt])]
        if seeds[0] != seeds[1]:
            raise AlignmentError(f"clips of {prompt!r} have other seeds: {seeds[0]}, {seeds[1]}")


def paired_shift(
    name: str, unit: str, pairs_by_prompt: Sequence[Sequence[tuple[float, float]]]
) -> Shift:
    """Returns the shift of (candidate, base) values of each prompt's pairs.

    The interval is Student's over the prompts' means, for prompts are what others will differ in.
    """
    candidate, base = (
        np.array([np.mean([pair[side] for pair in pairs]) for pairs in pairs_by_prompt])
        for side in (0, 1)
    )
    changes = candidate - base
    n = len(changes)
    low = high = None
    if n > 1:
        half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * changes.std(ddof=1) / math.sqrt(n)
        low, high = float(changes.mean() - half), float(changes.mean() + half)
    return Shift(
        name=name,
        unit=unit,
        base=float(base.mean()),
        candidate=float(candidate.mean()),
        mean=float(changes.mean()),
        low=low,
        high=high,
        n_pairs=sum(len(pairs) for pairs in pairs_by_prompt),
        n_prompts=n,
    )
