"""What a round will cost: measured on former rounds of this site, else by a formula.

The formula's constants are assumptions about the starter on two CPU cores; they say
whether a round takes minutes or days, not how many minutes.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

SECONDS_PER_CLIP_SECOND = 0.012
"""Training time of one second of one clip in one epoch, by a starter of 53 MB on two cores."""
REFERENCE_WEIGHTS_MB = 53.0
LIBRARIES_MB = 900.0
"""What torch, transformers and TRL take before any weights are loaded."""
MB_PER_WEIGHTS_MB = 3.0
"""Weights are stored in 16 bits and trained on in 32; beside them lie a merged copy's parts."""
MB_PER_CLIP_SECOND = 4.0
"""Activations of one second of one clip of a batch, by the reference weights."""
FREE_MARGIN_MB = 100.0
SHOWN_FORMER_ROUNDS = 5


class Source(StrEnum):
    """Where an estimate comes from."""

    MEASURED = "measured on former rounds"
    FORMULA = "formula"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Work:
    """What there is to do in a round that goes through pairs of clips."""

    n_train: int
    """Pairs."""
    n_epochs: int
    batch_pairs: int
    clip_duration_s: float
    n_drawn: int = 0
    """Clips made beforehand for each pair."""

    @property
    def clip_seconds(self) -> float:
        """Seconds of audio gone through: two clips a preference, each epoch anew.

        To draw a clip takes about as long as to learn from it once.
        """
        return (2 * self.n_epochs + self.n_drawn) * self.n_train * self.clip_duration_s

    @property
    def batch_seconds(self) -> float:
        """Seconds of audio that are in memory at once."""
        return 2 * min(self.batch_pairs, max(self.n_train, 1)) * self.clip_duration_s


@dataclass(frozen=True)
class FormerRound:
    """What a round on this site took."""

    work: Work
    wall_s: float
    peak_memory_mb: float | None


@dataclass(frozen=True)
class Estimate:
    """Expected time, memory and disk space; None where nothing is known."""

    time_s: float | None
    memory_mb: float | None
    disk_mb: float
    time_source: Source
    memory_source: Source
    n_former: int


def estimate_round(
    work: Work, *, weights_mb: float, former: Sequence[FormerRound], has_formula: bool
) -> Estimate:
    """The estimate of a round on a base whose stored weights take `weights_mb`.

    Time grows with the audio gone through and memory with the batch. From former rounds the
    middle one of the last five is taken.
    """
    timed = [one for one in former if one.work.clip_seconds > 0][:SHOWN_FORMER_ROUNDS]
    scale = weights_mb / REFERENCE_WEIGHTS_MB
    time_s: float | None = None
    time_source = Source.UNKNOWN
    if timed:
        rate = statistics.median(one.wall_s / one.work.clip_seconds for one in timed)
        time_s, time_source = rate * work.clip_seconds, Source.MEASURED
    elif has_formula:
        time_s = SECONDS_PER_CLIP_SECOND * scale * work.clip_seconds
        time_source = Source.FORMULA

    weighed = [one for one in timed if one.peak_memory_mb is not None]
    activations_mb = MB_PER_CLIP_SECOND * scale * work.batch_seconds
    memory_mb: float | None = None
    memory_source = Source.UNKNOWN
    if weighed:
        fixed_mb = statistics.median(
            (one.peak_memory_mb or 0.0) - MB_PER_CLIP_SECOND * scale * one.work.batch_seconds
            for one in weighed
        )
        memory_mb, memory_source = max(fixed_mb, 0.0) + activations_mb, Source.MEASURED
    elif has_formula:
        memory_mb = LIBRARIES_MB + MB_PER_WEIGHTS_MB * weights_mb + activations_mb
        memory_source = Source.FORMULA
    return Estimate(
        time_s=time_s,
        memory_mb=memory_mb,
        disk_mb=disk_megabytes(weights_mb),
        time_source=time_source,
        memory_source=memory_source,
        n_former=len(timed),
    )


def disk_megabytes(weights_mb: float) -> float:
    """What three saves of an adapter with its optimizer, the result and samples take at most."""
    return weights_mb + FREE_MARGIN_MB


def work_of(
    counts: Mapping[str, int],
    config: Mapping[str, object],
    *,
    defaults: Mapping[str, float],
    clip_duration_s: float,
    has_reward_model: bool = False,
) -> Work:
    """The work of a round by its counts and its settings; what is not set has its default.

    A round that makes clips of its own goes through those: its preferences only measure. Two of
    them take as long as a pair. One that imitates goes through its share of the best clips alone.
    """

    def setting(name: str) -> int:
        value = config.get(name, defaults.get(name, 1))
        return int(value) if isinstance(value, int | float) else 1

    if "group_size" in defaults:
        clips_at_once = setting("batch_prompts") * setting("group_size")
        clips_a_step = clips_at_once * setting("accumulation_steps")
        return Work(
            n_train=setting("n_steps") * clips_a_step // 2,
            n_epochs=1,
            batch_pairs=max(1, clips_at_once // 2),
            clip_duration_s=clip_duration_s,
        )
    batch_clips = config.get("batch_clips", defaults.get("batch_clips"))
    pairs = setting("batch_pairs")
    if "batch_pairs" not in config and isinstance(batch_clips, int | float):
        pairs = max(1, int(batch_clips) // 2)
    best_share = config.get("best_share", defaults.get("best_share", 1.0))
    share = best_share if isinstance(best_share, int | float) else 1.0
    return Work(
        n_train=math.ceil(share * counts.get("train", 0)),
        n_epochs=setting("n_epochs"),
        batch_pairs=pairs,
        clip_duration_s=clip_duration_s,
        n_drawn=setting("n_drawn") if has_reward_model and "n_drawn" in defaults else 0,
    )
