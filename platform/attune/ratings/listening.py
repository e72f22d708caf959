"""Whether what a rater says was heard is enough, and possible at all."""

import math
from collections.abc import Iterable, Mapping, Sequence

from attune.ratings.choices import Side
from attune.ratings.errors import ListeningError

Segment = tuple[float, float]

EDGE_TOLERANCE_S = 0.1
CLOCK_TOLERANCE_S = 1.0


def merge_segments(segments: Iterable[Segment]) -> list[Segment]:
    """The same stretches without overlaps, in order; empty ones are dropped."""
    merged: list[Segment] = []
    for start_s, end_s in sorted(segments):
        if end_s <= start_s:
            continue
        if merged and start_s <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_s))
        else:
            merged.append((start_s, end_s))
    return merged


def check_listening(
    heard: Mapping[Side, Sequence[Segment]],
    durations_s: Mapping[Side, float],
    *,
    minimum_s: float,
    elapsed_s: float,
) -> dict[Side, list[Segment]]:
    """What was heard of each side, merged. Raises ListeningError if it cannot be accepted.

    Segments lie within their clip; each side was heard for `minimum_s`, or whole if shorter;
    and all listening together, repeats included, fits the time since the pair was handed out.
    """
    for side, segments in heard.items():
        for start_s, end_s in segments:
            _check_segment(side, start_s, end_s, durations_s[side])
    total_s = sum(end_s - start_s for segments in heard.values() for start_s, end_s in segments)
    if total_s > elapsed_s + CLOCK_TOLERANCE_S:
        raise ListeningError(
            f"{total_s:.1f} s of listening in {elapsed_s:.1f} s: only one side plays at a time",
            heard_s=total_s,
            needed_s=None,
        )
    accepted: dict[Side, list[Segment]] = {}
    for side in Side:
        duration_s = durations_s[side]
        merged = merge_segments(heard.get(side, ()))
        accepted[side] = [(start_s, min(end_s, duration_s)) for start_s, end_s in merged]
        needed_s = min(minimum_s, duration_s)
        found_s = sum(end_s - start_s for start_s, end_s in accepted[side])
        if found_s + EDGE_TOLERANCE_S < needed_s:
            raise ListeningError(
                f"side {side.value} was heard for {found_s:.1f} s: {needed_s:.1f} s are needed",
                side=side.value,
                heard_s=found_s,
                needed_s=needed_s,
            )
    return accepted


def _check_segment(side: Side, start_s: float, end_s: float, duration_s: float) -> None:
    is_number = math.isfinite(start_s) and math.isfinite(end_s)
    if not is_number or not 0 <= start_s <= end_s <= duration_s + EDGE_TOLERANCE_S:
        raise ListeningError(
            f"side {side.value} cannot be heard from {start_s} to {end_s} s: "
            f"expected a stretch within 0 to {duration_s:.2f} s",
            side=side.value,
        )
