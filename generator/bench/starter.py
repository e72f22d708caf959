"""How fast a checkpoint samples and decodes, and what narrower weights do to its clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from generator.bench.timing import Timing, time_in_turns
from generator.codec.evaluation import mel_distance_db
from generator.lm.projections import WeightFormat
from generator.requests import ClipRequest
from generator.synthesis import GeneratedClip, Generator, load_generator

STARTER = Path(__file__).parent.parent / "starter"
PROMPTS = ("a slow sad waltz on piano", "fast happy dance music with drums and organ")


@dataclass(frozen=True)
class StarterResult:
    """One way of holding the weights: times of a pair and of one clip, and its clips' distance."""

    weight_format: WeightFormat
    duration_s: float
    pair: Timing
    single: Timing
    pair_decoding: Timing
    single_decoding: Timing
    share_equal: float
    """Of the sampled tokens, beside those of float32 weights and the same seeds."""
    mel_distance_db: float
    """Of the clips, to those of float32 weights."""
    mel_distance_of_seeds_db: float
    """Of clips of float32 weights with other seeds: what a mere change of luck does."""


def requests_of(duration_s: float, first_seed: int) -> list[ClipRequest]:
    """Returns a pair of requests."""
    return [
        ClipRequest(prompt, duration_s, first_seed + number)
        for number, prompt in enumerate(PROMPTS)
    ]


def bench_starter(
    checkpoint: Path | None, *, duration_s: float, n_runs: int, device: str = "cpu"
) -> list[StarterResult]:
    """Returns a result for each weight format that the device offers."""
    pair = requests_of(duration_s, 1)
    formats = [f for f in WeightFormat if device == "cpu" or f is not WeightFormat.INT8]
    generators = [
        load_generator(checkpoint or STARTER, device=device, weights=weight_format)
        for weight_format in formats
    ]
    exact = generators[0]
    made = [generator.generate(pair, generator.sampling) for generator in generators]
    codes = [torch.stack([torch.from_numpy(clip.codes) for clip in clips]) for clips in made]
    others = exact.generate(requests_of(duration_s, 101), exact.sampling)
    sample_rate_hz = made[0][0].sample_rate_hz
    luck_db = mean_distance(waveforms(made[0]), waveforms(others), sample_rate_hz)
    timed = time_in_turns(
        [
            way
            for generator, tokens in zip(generators, codes, strict=True)
            for way in ways(generator, pair, tokens)
        ],
        n_runs,
    )
    return [
        StarterResult(
            weight_format=weight_format,
            duration_s=duration_s,
            pair=timed[4 * number],
            single=timed[4 * number + 1],
            pair_decoding=timed[4 * number + 2],
            single_decoding=timed[4 * number + 3],
            share_equal=float((codes[number] == codes[0]).float().mean()),
            mel_distance_db=mean_distance(
                waveforms(made[0]), waveforms(made[number]), sample_rate_hz
            ),
            mel_distance_of_seeds_db=luck_db,
        )
        for number, weight_format in enumerate(formats)
    ]


def ways(
    generator: Generator, pair: Sequence[ClipRequest], codes: Tensor
) -> list[Callable[[], object]]:
    """Returns what is timed: a pair, one clip, and the decoding of both."""
    settings = generator.sampling
    return [
        lambda: generator.generate(pair, settings),
        lambda: generator.generate(pair[:1], settings),
        lambda: generator.decode(codes),
        lambda: generator.decode(codes[:1]),
    ]


def waveforms(made: Sequence[GeneratedClip]) -> list[Tensor]:
    """Returns the waveform [N] of each clip."""
    return [torch.from_numpy(clip.waveform) for clip in made]


def mean_distance(ours: Sequence[Tensor], theirs: Sequence[Tensor], sample_rate_hz: int) -> float:
    """Returns the mean mel distance of waveforms in pairs, in decibels."""
    distances = [mel_distance_db(a, b, sample_rate_hz) for a, b in zip(ours, theirs, strict=True)]
    return sum(distances) / len(distances)


def starter_table(results: Sequence[StarterResult]) -> str:
    """Returns the results as a table in Markdown."""
    lines = [
        "| weights | pair, CPU s | by clock | sampling a pair, times real time | one clip "
        "| decoding, times real time | tokens as float32 | mel distance to float32, dB "
        "| of other seeds, dB | runs |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        lines.append(
            f"| {r.weight_format} | {r.pair.cpu_s:.2f} | {r.pair.wall_s:.2f} "
            f"| {2 * r.duration_s / (r.pair.cpu_s - r.pair_decoding.cpu_s):.1f} "
            f"| {r.duration_s / (r.single.cpu_s - r.single_decoding.cpu_s):.1f} "
            f"| {2 * r.duration_s / r.pair_decoding.cpu_s:.0f} "
            f"| {r.share_equal:.1%} | {r.mel_distance_db:.2f} | {r.mel_distance_of_seeds_db:.2f} "
            f"| {r.pair.n_runs} |"
        )
    return "\n".join(lines)
