"""Report of how well clips show the attributes they were asked for, and of their faults.

The subcommand `evaluate` reports on real clips, on a codec's reconstruction of them, and on what a
checkpoint makes of their captions; the real clips say how far the measures themselves can see.
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from generator.audio import write_wav
from generator.codec.evaluation import codebook_use, evaluate_reconstruction
from generator.codec.model import Codec, load_codec
from generator.corpus.attributes import FRAMES_PER_BEAT_OF_TEMPO, LEADS
from generator.corpus.rendering import SAMPLE_RATE_HZ
from generator.corpus.storage import Corpus, load_corpus
from generator.errors import RequestError
from generator.files import write_json
from generator.measures import ClipMeasures, Estimate, measure_clip
from generator.melody import chroma_cosine, chromagram
from generator.requests import ClipRequest
from generator.timbre import LeadProbe, fit_lead_probe

MIN_GROUP = 2
REQUESTS_PER_CALL = 16
PROBE_CLIPS = 1500

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Axis:
    """Two ends of an attribute, and the measure that is higher at the second."""

    low: str
    high: str
    measure: str


AXES: Mapping[str, Axis] = MappingProxyType(
    {
        "tempo": Axis("slow", "fast", "beats_per_minute"),
        "tone": Axis("mellow", "bright", "centroid_hz"),
        "mode": Axis("minor", "major", "major_score"),
        "density": Axis("sparse", "dense", "onsets_per_s"),
        "drums": Axis("none", "driving", "kick_db"),
    }
)


@dataclass(frozen=True)
class Separation:
    """Chance that a clip of the high end measures above one of the low end (AUC)."""

    auc: float
    standard_error: float
    n_low: int
    n_high: int


@dataclass(frozen=True)
class ControlReport:
    """Separation per attribute, None where too few clips ask for an end; and shares."""

    n: int
    separations: dict[str, Separation | None]
    tempo_class: Estimate | None
    lead: Estimate | None
    """Share of clips in which a probe hears the lead asked for, None without a probe."""
    beat: Estimate | None
    in_scale: Estimate
    silent: Estimate
    clipped: Estimate
    duration_error_s: Estimate


def separation(low: Sequence[float], high: Sequence[float]) -> Separation | None:
    """Returns the AUC of two groups, ties counted half; None if a group has fewer than two.

    The standard error is Hanley and McNeil 1982, table II.
    """
    if min(len(low), len(high)) < MIN_GROUP:
        return None
    difference = np.asarray(high)[:, None] - np.asarray(low)[None]
    auc = float((difference > 0).mean() + 0.5 * (difference == 0).mean())
    both_high = auc / (2 - auc)
    both_low = 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc)
        + (len(high) - 1) * (both_high - auc**2)
        + (len(low) - 1) * (both_low - auc**2)
    ) / (len(low) * len(high))
    return Separation(auc, sqrt(max(variance, 0.0)), len(low), len(high))


def tempo_class(frames_per_beat: int) -> str:
    """Returns slow, medium or fast."""
    for tempo, choices in FRAMES_PER_BEAT_OF_TEMPO.items():
        if frames_per_beat in choices:
            return tempo
    raise RequestError(
        f"frames_per_beat must be one of {dict(FRAMES_PER_BEAT_OF_TEMPO)}, got {frames_per_beat}"
    )


def control_report(
    asked: Sequence[Mapping[str, Any]],
    measures: Sequence[ClipMeasures],
    durations_s: Sequence[float],
    heard_leads: Sequence[str] | None = None,
) -> ControlReport:
    """Returns the report of clips and of what each was asked for; open attributes are absent.

    heard_leads: the lead that a probe hears in each clip.
    """
    if not len(asked) == len(measures) == len(durations_s):
        raise RequestError(
            f"expected as many requests and durations as clips, got {len(asked)} and "
            f"{len(durations_s)} for {len(measures)}"
        )
    rows = list(zip(asked, measures, strict=True))
    separations = {
        name: separation(
            [getattr(m, axis.measure) for a, m in rows if a.get(name) == axis.low],
            [getattr(m, axis.measure) for a, m in rows if a.get(name) == axis.high],
        )
        for name, axis in AXES.items()
    }
    classes = [float(tempo_class(m.frames_per_beat) == a["tempo"]) for a, m in rows if "tempo" in a]
    beats = [
        float(m.frames_per_beat == a["frames_per_beat"]) for a, m in rows if "frames_per_beat" in a
    ]
    heard = zip(asked, heard_leads or [], strict=bool(heard_leads))
    leads = [float(lead == a["lead"]) for a, lead in heard if "lead" in a]
    errors = [abs(m.sounding_s - d) for m, d in zip(measures, durations_s, strict=True)]
    return ControlReport(
        n=len(measures),
        separations=separations,
        tempo_class=Estimate.of(classes) if classes else None,
        lead=Estimate.of(leads) if leads else None,
        beat=Estimate.of(beats) if beats else None,
        in_scale=Estimate.of([m.in_scale_share for m in measures]),
        silent=Estimate.of([m.silent_share for m in measures]),
        clipped=Estimate.of([m.clipped_share for m in measures]),
        duration_error_s=Estimate.of(errors),
    )


def evaluate_real(
    corpus: Corpus, sample_rate_hz: int, probe: LeadProbe | None = None
) -> ControlReport:
    """Returns the report of the corpus's own clips, every attribute counted as asked for."""
    measures = [measure_clip(corpus.waveform(clip), sample_rate_hz) for clip in corpus]
    leads = [probe.hear(corpus.waveform(clip)) for clip in corpus] if probe else None
    asked = [clip.attributes.to_json() for clip in corpus]
    return control_report(asked, measures, [clip.duration_s for clip in corpus], leads)


def evaluate_codec(codec: Codec, corpus: Corpus, depths: Sequence[int]) -> dict[str, Any]:
    """Returns reconstruction and control per number of codebooks, and the codebooks' use."""
    waveforms = [torch.from_numpy(corpus.waveform(clip)) for clip in corpus]
    codes = [codec.encode(waveform[None])[0] for waveform in waveforms]
    asked = [clip.attributes.to_json() for clip in corpus]
    durations_s = [clip.duration_s for clip in corpus]
    rate = codec.config.sample_rate_hz
    report: dict[str, Any] = {
        "codebooks": codebook_use(torch.cat(codes, 1), codec.config.codebook_size)
    }
    for depth in depths:
        measures = [measure_clip(codec.decode(c[None, :depth])[0].numpy(), rate) for c in codes]
        report[f"decoded_from_{depth}"] = {
            "reconstruction": evaluate_reconstruction(codec, waveforms, depth),
            "control": control_report(asked, measures, durations_s),
        }
    return report


def evaluate_checkpoint(
    folder: Path, corpus: Corpus, seed: int, probe: LeadProbe | None = None
) -> ControlReport:
    """Returns the report of clips generated from one caption of each clip of the corpus.

    Only what a caption mentions counts as asked for.
    """
    from generator.lm.sampling import SamplingSettings
    from generator.requests import ClipRequest
    from generator.synthesis import load_generator

    generator = load_generator(folder)
    requests, asked = [], []
    for index, clip in enumerate(corpus):
        caption = clip.captions[index % len(clip.captions)]
        values = clip.attributes.to_json()
        asked.append({name: values[name] for name in caption.mentioned})
        requests.append(ClipRequest(caption.text, clip.duration_s, seed + index))
    waveforms: list[NDArray[np.float32]] = []
    for start in range(0, len(requests), REQUESTS_PER_CALL):
        clips = generator.generate(requests[start : start + REQUESTS_PER_CALL], SamplingSettings())
        waveforms += [clip.waveform for clip in clips]
        log.info("clips generated: %d of %d", len(waveforms), len(requests))
    rate = generator.codec.config.sample_rate_hz
    measures = [measure_clip(waveform, rate) for waveform in waveforms]
    leads = [probe.hear(waveform) for waveform in waveforms] if probe else None
    return control_report(asked, measures, [request.duration_s for request in requests], leads)


@dataclass(frozen=True)
class MelodyReport:
    """Chroma cosine of clips to the recordings they were to follow, and to one another's."""

    own: Estimate
    shuffled: Estimate


def evaluate_melody(folder: Path, corpus: Corpus, seed: int) -> MelodyReport:
    """Returns how well clips follow the corpus's own recordings, with a prompt that tells a lead.

    The lead asked for is another than the recording's.
    """
    from generator.lm.sampling import SamplingSettings
    from generator.synthesis import load_generator

    generator = load_generator(folder)
    rate, frames_hz = generator.codec.config.sample_rate_hz, generator.core.frame_rate_hz
    references, requests = [], []
    with TemporaryDirectory() as recordings:
        for index, clip in enumerate(corpus):
            path = Path(recordings) / f"{index}.wav"
            waveform = corpus.waveform(clip)
            write_wav(path, waveform, SAMPLE_RATE_HZ)
            lead = LEADS[(LEADS.index(clip.attributes.lead) + 1 + index % 3) % len(LEADS)]
            requests.append(ClipRequest(lead, clip.duration_s, seed + index, path))
            references.append(chromagram(torch.from_numpy(waveform), SAMPLE_RATE_HZ, frames_hz))
        clips = generator.generate(requests, SamplingSettings())
    made = [chromagram(torch.from_numpy(clip.waveform), rate, frames_hz) for clip in clips]
    others = references[1:] + references[:1]
    return MelodyReport(
        own=Estimate.of([chroma_cosine(a, b) for a, b in zip(made, references, strict=True)]),
        shuffled=Estimate.of([chroma_cosine(a, b) for a, b in zip(made, others, strict=True)]),
    )


def _as_json(value: Any) -> Any:
    """Returns reports as mappings, lists and numbers; NaN becomes null."""
    if hasattr(value, "__dataclass_fields__"):
        return _as_json(asdict(value))
    if isinstance(value, Mapping):
        return {name: _as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(part) for part in value]
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value


def run_evaluation(parsed: argparse.Namespace) -> None:
    """Writes the reports that were asked for to a JSON file and to the log."""
    torch.set_num_threads(1)
    corpus = load_corpus(parsed.corpus)
    if parsed.clips:
        corpus = Corpus(corpus.clips[: parsed.clips], corpus.audio)
    probe = fit_lead_probe(load_corpus(parsed.probe), PROBE_CLIPS) if parsed.probe else None
    reports: dict[str, Any] = {"real": evaluate_real(corpus, SAMPLE_RATE_HZ, probe)}
    if parsed.codec:
        codec = load_codec(parsed.codec)
        depths = sorted({2, codec.config.n_codebooks})
        reports["codec"] = evaluate_codec(codec, corpus, depths)
    if parsed.checkpoint:
        reports["generated"] = evaluate_checkpoint(parsed.checkpoint, corpus, parsed.seed, probe)
    if parsed.checkpoint and parsed.melody_clips:
        followed = Corpus(corpus.clips[: parsed.melody_clips], corpus.audio)
        reports["melody"] = evaluate_melody(parsed.checkpoint, followed, parsed.seed)
    write_json(parsed.output, _as_json(reports))
    log.info("report written to %s: %s", parsed.output, json.dumps(_as_json(reports)))


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand `evaluate`."""
    parser = subparsers.add_parser("evaluate", help="measure clips, a codec and a checkpoint")
    parser.add_argument("--corpus", type=Path, required=True, help="held-out clips")
    parser.add_argument("--codec", type=Path, help="folder of a codec to measure")
    parser.add_argument("--checkpoint", type=Path, help="folder of a checkpoint to measure")
    parser.add_argument(
        "--probe", type=Path, help="other clips, from which to learn how each lead sounds"
    )
    parser.add_argument("--clips", type=int, default=0, help="use only the first clips")
    parser.add_argument(
        "--melody-clips", type=int, default=0, help="also follow the tunes of the first clips"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.set_defaults(run=run_evaluation)
