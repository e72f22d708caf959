"""Whether what a rater says was heard is enough, and possible at all."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from attune.ratings.choices import Side
from attune.ratings.errors import ListeningError

Segment = tuple[float, float]

EDGE_TOLERANCE_S = 0.1
CLOCK_TOLERANCE_S = 1.0


@dataclass(frozen=True)
class Heard:
    """How long one pair was listened to, and since when that was possible."""

    since: datetime
    heard_s: float


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
            _too_fast(total_s, elapsed_s),
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
                _("side %(side)s was heard for %(found)s s: %(needed)s s are needed")
                % {"side": side.value, "found": f"{found_s:.1f}", "needed": f"{needed_s:.1f}"},
                side=side.value,
                heard_s=found_s,
                needed_s=needed_s,
            )
    return accepted


def check_pace(earlier: Iterable[Heard], this: Heard, *, now: datetime) -> None:
    """Raise ListeningError if pairs were heard at the same time as one another.

    The next pair is handed out while one is being rated, so each pair's own clock leaves room
    for the other. Therefore all listening since any of the earlier pairs was handed out must fit
    the time since then.
    """
    total_s = this.heard_s
    for pair in earlier:  # newest first
        total_s += pair.heard_s
        elapsed_s = (now - min(pair.since, this.since)).total_seconds()
        if total_s > elapsed_s + CLOCK_TOLERANCE_S:
            raise ListeningError(_too_fast(total_s, elapsed_s), heard_s=total_s, needed_s=None)


def _too_fast(total_s: float, elapsed_s: float) -> str:
    return _("%(total)s s of listening in %(elapsed)s s: only one side plays at a time") % {
        "total": f"{total_s:.1f}",
        "elapsed": f"{elapsed_s:.1f}",
    }


def _check_segment(side: Side, start_s: float, end_s: float, duration_s: float) -> None:
    is_number = math.isfinite(start_s) and math.isfinite(end_s)
    if not is_number or not 0 <= start_s <= end_s <= duration_s + EDGE_TOLERANCE_S:
        raise ListeningError(
            _(
                "side %(side)s cannot be heard from %(start)s to %(end)s s: "
                "expected a stretch within 0 to %(length)s s"
            )
            % {"side": side.value, "start": start_s, "end": end_s, "length": f"{duration_s:.2f}"},
            side=side.value,
        )
