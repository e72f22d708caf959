"""What a candidate's clips are measured by before it may enter rotation: figures, no verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from alignment.errors import AlignmentError
from generator.synthesis import GeneratedClip, Generator

SILENT_DBFS = -50.0
"""A clip whose root mean square is below this is silent."""
FULL_SCALE = 32766.5 / 32767
"""What a 16-bit file holds at its limits."""


def finite_share(clips: Sequence[GeneratedClip]) -> float:
    """Returns the share of clips in which every sample is a finite number."""
    return _share([bool(np.isfinite(clip.waveform).all()) for clip in clips])


def silence_share(clips: Sequence[GeneratedClip]) -> float:
    """Returns the share of clips that cannot be heard; those without samples count too."""
    return _share([level_dbfs(clip.waveform) < SILENT_DBFS for clip in clips])


def level_dbfs(waveform: NDArray[np.float32]) -> float:
    """Returns the root mean square in decibels below full scale, -inf for nothing."""
    if not waveform.size:
        return -np.inf
    power = float(np.square(np.nan_to_num(waveform, posinf=0.0, neginf=0.0)).mean())
    return 10.0 * float(np.log10(power)) if power > 0 else -np.inf


def clipping_share(clips: Sequence[GeneratedClip]) -> float:
    """Returns the share of all samples at or beyond full scale."""
    n_samples = sum(clip.waveform.size for clip in clips)
    if not n_samples:
        raise AlignmentError(f"clipping needs samples, got {len(clips)} clips without any")
    return sum(int((np.abs(clip.waveform) >= FULL_SCALE).sum()) for clip in clips) / n_samples


def duration_error_s(clips: Sequence[GeneratedClip], requested_s: Sequence[float]) -> float:
    """Returns the largest difference between a clip's length and what was asked for."""
    if not clips or len(clips) != len(requested_s):
        raise AlignmentError(
            f"expected a requested length for each clip, got {len(requested_s)} for {len(clips)}"
        )
    return max(
        abs(clip.waveform.shape[-1] / clip.sample_rate_hz - seconds)
        for clip, seconds in zip(clips, requested_s, strict=True)
    )


def bad_weights(generator: Generator) -> list[str]:
    """Returns the names of a generator's weights that hold NaN or infinities."""
    modules = {"core": generator.core, "codec": generator.codec}
    return [
        f"{part}.{name}"
        for part, module in modules.items()
        for name, weight in module.state_dict().items()
        if weight.is_floating_point() and not bool(weight.isfinite().all())
    ]


def regenerated_share(clips: Sequence[GeneratedClip], again: Sequence[GeneratedClip]) -> float:
    """Returns the share of clips whose codes came out the same a second time."""
    if len(clips) != len(again):
        raise AlignmentError(f"expected {len(clips)} clips made again, got {len(again)}")
    pairs = zip(clips, again, strict=True)
    return _share([np.array_equal(one.codes, other.codes) for one, other in pairs])


def code_diversity(clips_by_prompt: Mapping[str, Sequence[GeneratedClip]]) -> float:
    """Returns how much clips of one prompt differ, 0 to 1, averaged over pairs of clips.

    Two clips differ by the share of places (codebook and frame) in which their codes do.
    """
    shares = [
        float((one.codes[:, :n] != other.codes[:, :n]).mean())
        for clips in clips_by_prompt.values()
        for one, other in combinations(clips, 2)
        if (n := min(one.codes.shape[1], other.codes.shape[1]))
    ]
    if not shares:
        raise AlignmentError("diversity needs a prompt with at least two clips")
    return float(np.mean(shares))


def relative_diversity(
    candidate: Mapping[str, Sequence[GeneratedClip]], base: Mapping[str, Sequence[GeneratedClip]]
) -> float:
    """Returns the candidate's diversity as a share of its base's, on the same prompts."""
    if set(candidate) != set(base):
        raise AlignmentError(
            f"candidate and base answer the same prompts, got {len(candidate)} and {len(base)}, "
            f"{len(set(candidate) & set(base))} of them shared"
        )
    reference = code_diversity(base)
    if reference == 0.0:
        raise AlignmentError("the base's clips of one prompt do not differ at all")
    return code_diversity(candidate) / reference


def _share(found: Sequence[bool]) -> float:
    if not found:
        raise AlignmentError("a share needs at least one clip")
    return sum(found) / len(found)
