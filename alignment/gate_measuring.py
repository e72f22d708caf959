"""What the gate finds in a candidate's clips beside its base's: one figure for each check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignment.errors import AlignmentError
from alignment.gate import (
    clipping_share,
    duration_error_s,
    finite_share,
    regenerated_share,
    relative_diversity,
    silence_share,
)
from alignment.gate_adherence import prompt_gaps, relative_adherence
from alignment.gate_distribution import Distance, measure_distance, relative_spread
from alignment.gate_embedding import ClipEmbedder
from alignment.scoring import wilson_interval
from alignment.shifts import LEVEL, Shift, measure_shifts
from generator.errors import GeneratorError
from generator.families import AnyCore
from generator.synthesis import GeneratedClip

ClipsByPrompt = Mapping[str, Sequence[GeneratedClip]]
EmbedderSource = Callable[[], ClipEmbedder]
NOTHING_HELD_OUT = (
    "no preference was held out of training; the next round holds some out where its preferences "
    "are on two prompts or more"
)


@dataclass(frozen=True)
class Figure:
    """What was measured for one check, and what stands behind it; None with an error inside."""

    value: float | None
    details: Mapping[str, Any]


@dataclass(frozen=True)
class GateClips:
    """Clips by prompt: the candidate's, and sets of its base's, the first of the same seeds.

    `anchor` are sets like `base` of the full checkpoint from which all began; it is `base` itself
    where that is the anchor.
    """

    candidate: ClipsByPrompt
    base: Sequence[ClipsByPrompt]
    anchor: Sequence[ClipsByPrompt]
    once: Sequence[GeneratedClip]
    """Clips of the candidate ..."""
    again: Sequence[GeneratedClip]
    """... and the same requests answered by the candidate loaded anew."""

    @property
    def is_base_anchor(self) -> bool:
        """Whether the candidate was trained on the anchor itself."""
        return self.anchor is self.base

    @property
    def of_candidate(self) -> list[GeneratedClip]:
        """All clips of the candidate."""
        return [clip for clips in self.candidate.values() for clip in clips]

    @property
    def counts(self) -> dict[str, int]:
        """How many clips and prompts a figure stands on."""
        return {"n_clips": len(self.of_candidate), "n_prompts": len(self.candidate)}


def measure_clips(
    clips: GateClips,
    *,
    duration_s: float,
    find_embedder: EmbedderSource,
    anchor: AnyCore,
    rng: np.random.Generator,
) -> dict[str, Figure]:
    """Returns the figures by the names of their checks; clips were asked to last duration_s.

    anchor: the core whose clips `clips.anchor` are.
    """
    made, shown = clips.of_candidate, {**clips.counts, "duration_s": duration_s}
    found = {
        "integrity": _figure(
            lambda: regenerated_share(clips.once, clips.again), {"n_regenerated": len(clips.once)}
        ),
        "finite": _figure(lambda: finite_share(made), shown),
        "silence": _figure(lambda: silence_share(made), shown),
        "clipping": _figure(lambda: clipping_share(made), shown),
        "duration": _figure(lambda: duration_error_s(made, [duration_s] * len(made)), shown),
        "diversity": _figure(lambda: relative_diversity(clips.candidate, clips.base[0]), shown),
    }
    shifts = _shifts(clips.candidate, clips.base)
    since_anchor = shifts if clips.is_base_anchor else _shifts(clips.candidate, clips.anchor)
    found["loudness_shift"] = _loudness_figure(shifts, shown)
    found["anchor_loudness"] = _loudness_figure(since_anchor, shown)
    found |= _embedding_figures(clips, shifts, shown, find_embedder=find_embedder, rng=rng)
    found["prompt_adherence"] = _adherence_figure(clips, shown, anchor, rng)
    return found


def held_out_figures(summary: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Figure]:
    """Returns what a round's summary tells of its held-out preferences, by the name of the check.

    counts: those of the round, which tell whether raters were held out as well as prompts.
    """
    held_out = summary.get("held_out") or {}
    shown = {
        **held_out,
        "n_raters_held_out": counts.get("raters_held_out", 0),
        "n_by_new_raters": counts.get("held_out_by_new_raters", 0),
    }
    if not held_out.get("n"):
        missing = Figure(None, {**shown, "error": NOTHING_HELD_OUT})
        return {"held_out_accuracy": missing, "chosen_nll": missing}
    _, least = wilson_interval(0, held_out["n"])
    raters = (
        f"{shown['n_by_new_raters']} of them by raters held out too"
        if shown["n_raters_held_out"]
        else "their raters were trained on, too few to hold some out"
    )
    remark = (
        f"accuracy {held_out['accuracy']:.3f}, {held_out['low']:.3f} to {held_out['high']:.3f}, "
        f"of {held_out['n']} preferences on prompts held out; {raters}"
    )
    return {
        "held_out_accuracy": Figure(held_out["high"], {**shown, "least": least, "remark": remark}),
        "chosen_nll": Figure(held_out["nll_increase"], shown),
    }


def _figure(measure: Callable[[], float], details: Mapping[str, Any]) -> Figure:
    """Returns a figure with its details; None with the reason where it cannot be measured."""
    try:
        return Figure(measure(), details)
    except (AlignmentError, GeneratorError) as exc:
        return Figure(None, {**details, "error": str(exc)})


def _shifts(candidate: ClipsByPrompt, base: Sequence[ClipsByPrompt]) -> dict[str, Shift] | str:
    """Returns the shifts by name, or why there are none."""
    try:
        return measure_shifts(candidate, base[0])
    except (AlignmentError, GeneratorError) as exc:
        return str(exc)


def _loudness_figure(shifts: dict[str, Shift] | str, shown: Mapping[str, Any]) -> Figure:
    if isinstance(shifts, str):
        return Figure(None, {**shown, "error": shifts})
    level = shifts[LEVEL]
    remark = f"{level.mean:+.2f} dB"
    if level.low is not None and level.high is not None:
        remark += f", {level.low:+.2f} to {level.high:+.2f}"
    return Figure(abs(level.mean), {**shown, "shift": level.to_json(), "remark": remark})


def _adherence_figure(
    clips: GateClips, shown: Mapping[str, Any], anchor: AnyCore, rng: np.random.Generator
) -> Figure:
    try:
        of_candidate = prompt_gaps(anchor, clips.candidate)
        found = relative_adherence(of_candidate, prompt_gaps(anchor, clips.anchor[0]), rng)
    except (AlignmentError, GeneratorError) as exc:
        return Figure(None, {**shown, "error": str(exc)})
    remark = (
        f"{found.ratio:.3f}, {found.low:.3f} to {found.high:.3f}: clips are {found.candidate:.3f} "
        f"nats a code likelier under their prompt than under others, the anchor's {found.base:.3f}"
    )
    return Figure(found.high, {**shown, "adherence": asdict(found), "remark": remark})


def _embedding_figures(
    clips: GateClips,
    shifts: dict[str, Shift] | str,
    shown: Mapping[str, Any],
    *,
    find_embedder: EmbedderSource,
    rng: np.random.Generator,
) -> dict[str, Figure]:
    """Returns the figures that need the representation encoder."""
    details = dict(shown)
    if not isinstance(shifts, str):
        details["shifts"] = [shift.to_json() for shift in shifts.values()]
    try:
        embedder = find_embedder()
        candidate = _embeddings(embedder, clips.candidate)
        base = np.stack([_embeddings(embedder, one) for one in clips.base])
        distance = measure_distance(candidate, base, rng)
        spread = relative_spread(candidate, base[0], rng)
        if clips.is_base_anchor:
            drift = distance
        else:
            anchor = np.stack([_embeddings(embedder, one) for one in clips.anchor])
            drift = measure_distance(candidate, anchor, rng)
    except (AlignmentError, GeneratorError) as exc:
        missing = Figure(None, {**details, "error": str(exc)})
        names = ("distribution", "anchor_distribution", "embedding_diversity")
        return dict.fromkeys(names, missing)
    remark = f"spread {spread.ratio:.3f}, {spread.low:.3f} to {spread.high:.3f}"
    return {
        "distribution": _distance_figure(distance, {**details, "reads": embedder.reads}),
        "anchor_distribution": _distance_figure(drift, {**shown, "reads": embedder.reads}),
        "embedding_diversity": Figure(
            spread.high, {**shown, "spread": asdict(spread), "remark": remark}
        ),
    }


def _distance_figure(found: Distance, details: Mapping[str, Any]) -> Figure:
    band = found.band
    remark = (
        f"distance {found.distance:.3g}; what it is compared with is {band.low:.3g} to "
        f"{band.high:.3g} from itself, {band.n_clips} clips a side"
    )
    told = {"distance": found.distance, "band": band.to_json(), "remark": remark}
    return Figure(found.ratio, {**details, **told})


def _embeddings(embedder: ClipEmbedder, clips: ClipsByPrompt) -> NDArray[np.float32]:
    """Returns embeddings [P, n, D] of clips, as many of each prompt."""
    counts = {len(of_prompt) for of_prompt in clips.values()}
    if len(counts) != 1:
        raise AlignmentError(f"expected as many clips of each prompt, got {sorted(counts)}")
    flat = [clip for of_prompt in clips.values() for clip in of_prompt]
    return embedder.embed(flat).reshape(len(clips), counts.pop(), -1)
