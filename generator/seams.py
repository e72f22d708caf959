"""Subcommand `measure-seams`: whether windows of long pieces can be told where they meet."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generator.command import STARTER
from generator.errors import RequestError
from generator.files import write_json
from generator.lm.batches import Batch
from generator.lm.starter import StarterCore
from generator.lm.training import code_losses
from generator.longform import Text, windows_of
from generator.measures import Estimate, measure_clip
from generator.stories import PieceRequest, Section, generate_piece, piece_layout
from generator.synthesis import Generator, load_generator

PROMPTS = (
    "a slow sad waltz on piano",
    "fast happy dance music with driving drums",
    "a mellow lofi tune with soft drums",
    "a bright march on trumpet",
    "calm lullaby on a music box",
    "a sparse ballad on strings",
    "cheerful folk song on acoustic guitar",
    "minor synth lead over a driving beat",
)
SIDE_S = 1.0
"""How much sound is heard before and after a place."""
APART_S = 1.5
"""Places that are to show no seam lie at least this far from one, and as far from each other."""
NEAR_FRAMES = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Jumps:
    """How much changes at places of a piece, one value a place, [P] each."""

    loudness_db: NDArray[np.float64]
    onsets_per_s: NDArray[np.float64]
    nll: NDArray[np.float64]
    """Nats a token of the frames right after each place, given all before."""


@dataclass(frozen=True)
class SeamReport:
    """Means over pieces at seams, at other places, and at cuts between pieces, by measure."""

    seams: dict[str, Estimate]
    elsewhere: dict[str, Estimate]
    cuts: dict[str, Estimate]
    difference: dict[str, Estimate]
    """Seams less elsewhere, piece by piece."""
    n_seams: int


def frame_nll(core: StarterCore, codes: Tensor, text: Text, n_frames: int) -> NDArray[np.float64]:
    """Returns nats a token [T] of codes [1, K, T] in one pass over the whole piece."""
    seconds = torch.tensor([[0.0, n_frames / core.frame_rate_hz]])
    batch = Batch(codes=codes, text=text.ids, seconds=seconds)
    with torch.inference_mode():
        nll: NDArray[np.float64] = code_losses(core, batch).mean(dim=1)[0].double().numpy()
    return nll


def jumps(
    waveform: NDArray[np.float32], nll: NDArray[np.float64], places: Sequence[int], rate_hz: int
) -> Jumps:
    """Returns what changes at frames `places` of a piece's waveform [T * frame]."""
    frame = len(waveform) // len(nll)
    side = round(SIDE_S * rate_hz)
    loudness, onsets = [], []
    for place in places:
        before = waveform[place * frame - side : place * frame]
        after = waveform[place * frame : place * frame + side]
        levels = [
            10 * np.log10(np.mean(half.astype(np.float64) ** 2) + 1e-6) for half in (before, after)
        ]
        rates = [measure_clip(half, rate_hz).onsets_per_s for half in (before, after)]
        loudness.append(abs(levels[1] - levels[0]))
        onsets.append(abs(rates[1] - rates[0]))
    near = [nll[place : place + NEAR_FRAMES].mean() for place in places]
    return Jumps(np.array(loudness), np.array(onsets), np.array(near))


def other_places(seams: Sequence[int], n_frames: int, frame_rate_hz: int) -> list[int]:
    """Returns frames that lie as far as can be from every seam, one between each two."""
    apart = round(APART_S * frame_rate_hz)
    middles = [(a + b) // 2 for a, b in pairwise(seams)]
    ends = [seams[0] // 2, (seams[-1] + n_frames) // 2]
    return [
        place
        for place in sorted([*middles, *ends])
        if all(abs(place - seam) >= apart for seam in seams)
        and apart <= place <= n_frames - 2 * apart
    ]


def measure_seams(generator: Generator, n_pieces: int, duration_s: float, seed: int) -> SeamReport:
    """Returns how seams of pieces differ from other places, and from cuts between pieces."""
    core = generator.core
    if not isinstance(core, StarterCore):
        raise RequestError("seams are measured for our own family, this checkpoint is of another")
    rate_hz = generator.codec.config.sample_rate_hz
    pieces, found = [], []
    for number in range(n_pieces):
        section = Section(0.0, PROMPTS[number % len(PROMPTS)])
        request = PieceRequest((section,), duration_s, seed + number)
        texts, starts, n_frames = piece_layout(generator, request)
        windows = windows_of(core, texts, starts, n_frames)
        blocks = list(generate_piece(generator, request, generator.settings({})))
        codes = torch.from_numpy(np.concatenate([b.codes for b in blocks], axis=1)).long()[None]
        waveform = np.concatenate([b.waveform for b in blocks if b.waveform is not None])
        seams = [window.first_frame + window.n_known for window in windows[1:]]
        if not seams:
            raise RequestError(f"a piece of {duration_s:g} s is one window: it has no seams")
        pieces.append((codes, waveform, texts[0]))
        found.append(seams)
        logger.info("pieces made: %d of %d, %d windows", number + 1, n_pieces, len(windows))

    at_seams, elsewhere, at_cuts = [], [], []
    for number, ((codes, waveform, text), seams) in enumerate(zip(pieces, found, strict=True)):
        n_frames = codes.shape[2]
        nll = frame_nll(core, codes, text, n_frames)
        at_seams.append(jumps(waveform, nll, seams, rate_hz))
        others = other_places(seams, n_frames, core.frame_rate_hz)
        elsewhere.append(jumps(waveform, nll, others, rate_hz))
        # The same seams, if each window were of another piece.
        spliced = codes.clone()
        for window, (start, stop) in enumerate(zip(seams, [*seams[1:], n_frames], strict=True)):
            other = pieces[(number + window + 1) % len(pieces)][0]
            spliced[:, :, start:stop] = other[:, :, start:stop]
        nll = frame_nll(core, spliced, text, n_frames)
        at_cuts.append(jumps(generator.decode(spliced)[0], nll, seams, rate_hz))

    return SeamReport(
        seams=estimates(at_seams),
        elsewhere=estimates(elsewhere),
        cuts=estimates(at_cuts),
        difference=estimates(at_seams, elsewhere),
        n_seams=sum(len(seams) for seams in found),
    )


def estimates(
    pieces: Sequence[Jumps], baseline: Sequence[Jumps] | None = None
) -> dict[str, Estimate]:
    """Returns each measure averaged over pieces, less that of a baseline piece by piece."""
    result = {}
    for name in ("loudness_db", "onsets_per_s", "nll"):
        means = [float(getattr(piece, name).mean()) for piece in pieces]
        if baseline is not None:
            means = [
                m - float(getattr(b, name).mean()) for m, b in zip(means, baseline, strict=True)
            ]
        result[name] = Estimate.of(means)
    return result


def run(arguments: argparse.Namespace) -> None:
    """Logs the report and writes it where asked."""
    torch.set_num_threads(1)
    generator = load_generator(arguments.checkpoint)
    report = measure_seams(generator, arguments.pieces, arguments.seconds, arguments.seed)
    for name in report.seams:
        logger.info(
            "%s: %s",
            name,
            ", ".join(
                f"{kind} {e.mean:.2f} ± {e.standard_error:.2f}"
                for kind in ("seams", "elsewhere", "difference", "cuts")
                for e in [getattr(report, kind)[name]]
            ),
        )
    logger.info("%d seams in %d pieces", report.n_seams, arguments.pieces)
    if arguments.output is not None:
        write_json(arguments.output, asdict(report))


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand that measures seams."""
    command = subparsers.add_parser(
        "measure-seams", help="measure long pieces where their windows meet"
    )
    command.add_argument("--checkpoint", type=Path, default=STARTER)
    command.add_argument("--pieces", type=int, default=8)
    command.add_argument("--seconds", type=float, default=40.0)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--output", type=Path, help="JSON file of the report")
    command.set_defaults(run=run)
