"""Long pieces from one prompt, or from prompts that follow each other at given times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray

from generator.codec.model import Codec
from generator.codec.streaming import StreamDecoder, SurroundedDecoder
from generator.errors import RequestError
from generator.families import AnyCodec, HeaderReader
from generator.lm.sampling import SamplingSettings
from generator.longform import Text, sample_windows
from generator.musicgen.codec import EncodecCodec
from generator.requests import LEAST_S, check_duration, check_prompt, check_seed
from generator.stereo import StereoCodec, StereoStreamDecoder
from generator.synthesis import Generator, ProgressCallback
from generator.text.completion import complete_header, plan_rng
from generator.text.header import decode_header, encode_header

BlockDecoder = StreamDecoder | StereoStreamDecoder | SurroundedDecoder

MOST_PIECE_S = 600.0
MOST_SECTIONS = 64
RECURRENT_REACH_S = 2.0
"""How much of the codes around a block EnCodec's recurrent layers are given with it."""
BEAT_SLOTS = ("tempo", "frames_per_beat")


@dataclass(frozen=True)
class Section:
    """A stretch of a piece that one prompt describes, from `start_s` to the next one's start."""

    start_s: float
    prompt: str

    def __post_init__(self) -> None:
        is_number = isinstance(self.start_s, Real) and not isinstance(self.start_s, bool)
        if not (is_number and isfinite(self.start_s) and self.start_s >= 0):
            raise RequestError(f"a section starts at 0 s or later, got {self.start_s!r}")
        check_prompt(self.prompt)


@dataclass(frozen=True)
class PieceRequest:
    """One piece to make: its sections in order, its length in seconds and a seed."""

    sections: tuple[Section, ...]
    duration_s: float
    seed: int

    def __post_init__(self) -> None:
        check_duration(self.duration_s, LEAST_S, MOST_PIECE_S)
        check_seed(self.seed)
        if not 1 <= len(self.sections) <= MOST_SECTIONS:
            raise RequestError(
                f"a piece has 1 to {MOST_SECTIONS} sections, got {len(self.sections)}"
            )
        starts_s = [section.start_s for section in self.sections]
        if starts_s[0] != 0:
            raise RequestError(f"the first section starts at 0 s, got {starts_s[0]:g} s")
        for start_s, end_s in zip(starts_s, [*starts_s[1:], self.duration_s], strict=True):
            if end_s - start_s < LEAST_S:
                raise RequestError(
                    f"a section lasts at least {LEAST_S:g} s, got {end_s - start_s:g} s from "
                    f"{start_s:g} s on in a piece of {self.duration_s:g} s"
                )


def parse_story(text: str) -> tuple[Section, ...]:
    """Returns the sections of "0: slow piano; 20: add driving drums"."""
    sections = []
    for part in filter(str.strip, text.split(";")):
        start, colon, prompt = part.partition(":")
        try:
            start_s = float(start)
        except ValueError:
            colon = ""
        if not colon:
            raise RequestError(
                f'a story is "seconds: prompt; seconds: prompt", got {part.strip()[:60]!r}'
            )
        sections.append(Section(start_s, prompt.strip()))
    if not sections:
        raise RequestError(f'a story is "seconds: prompt; seconds: prompt", got {text[:60]!r}')
    return tuple(sections)


def section_headers(headers: Sequence[Sequence[int]], seed: int) -> list[tuple[int, ...]]:
    """Returns the header of each section, of what its own prompt tells.

    What a prompt leaves open stays as the sections before told it, beat and key as the seed
    planned them; a prompt that names a tempo gets a beat of its own in the same key.
    """
    rng = plan_rng(seed)
    first = complete_header(headers[0], rng)
    result, told = [first], decode_header(first)
    for header in headers[1:]:
        new = decode_header(header)
        if any(name in new and new[name] != told.get(name) for name in BEAT_SLOTS):
            told = {name: value for name, value in told.items() if name not in BEAT_SLOTS}
        told = decode_header(complete_header(encode_header(told | new), rng))
        result.append(tuple(encode_header(told)))
    return result


@dataclass(frozen=True)
class PieceBlock:
    """What one window adds to a piece."""

    codes: NDArray[np.int16]
    """[K, t]"""
    waveform: NDArray[np.float32] | None
    """[n], in stereo [2, n], or nothing yet: it lags behind the codes until the last block."""


@dataclass(frozen=True)
class PiecePlan:
    """What was understood of a request: a header and the unknown words of each section."""

    headers: tuple[tuple[int, ...], ...]
    unknown_words: tuple[str, ...]


def plan_piece(generator: Generator, request: PieceRequest) -> PiecePlan:
    """Returns what each section of a request tells the core."""
    plans = [generator.plan(section.prompt) for section in request.sections]
    words = dict.fromkeys(word for plan in plans for word in plan.unknown_words)
    if isinstance(generator.reader, HeaderReader):
        headers = section_headers([plan.header for plan in plans], request.seed)
    else:
        headers = [generator.reader.header(plan, request.seed) for plan in plans]
    return PiecePlan(tuple(headers), tuple(words))


def piece_layout(generator: Generator, request: PieceRequest) -> tuple[list[Text], list[int], int]:
    """Returns what each section tells, the frame it starts at, and the number of frames in all."""
    rate_hz = generator.core.frame_rate_hz
    texts = [
        Text(ids, torch.ones_like(ids))
        for header in plan_piece(generator, request).headers
        for ids in [torch.tensor([header], device=generator.device)]
    ]
    starts = [round(section.start_s * rate_hz) for section in request.sections]
    return texts, starts, max(1, round(request.duration_s * rate_hz))


def block_decoder(codec: AnyCodec) -> BlockDecoder:
    """Returns what turns codes into sound as they come."""
    match codec:
        case Codec():
            return StreamDecoder(codec)
        case StereoCodec():
            return StereoStreamDecoder(codec)
        case EncodecCodec():
            reach = round(RECURRENT_REACH_S * codec.config.frame_rate_hz)
            return SurroundedDecoder(codec.decode, codec.config.frame_samples, reach)
        case _:
            assert_never(codec)


def generate_piece(
    generator: Generator,
    request: PieceRequest,
    settings: SamplingSettings,
    on_progress: ProgressCallback | None = None,
) -> Iterator[PieceBlock]:
    """Yields a piece window by window; what is held does not grow with its length.

    on_progress gets the share done, 0 to 1. A piece no longer than the core was trained on and of
    one section has the codes of the clip of the same prompt, length and seed.
    """
    core = generator.core
    texts, starts, n_frames = piece_layout(generator, request)

    def on_step(done: int, n_steps: int) -> None:
        if on_progress is not None:
            on_progress(done / n_steps)

    decoder = block_decoder(generator.codec)
    n_made = 0
    for codes in sample_windows(
        core, texts, starts, n_frames, settings, [request.seed], on_step=on_step
    ):
        n_made += codes.shape[2]
        parts = [decoder.push(codes)]
        if n_made == n_frames:
            parts.append(decoder.finish())
        waves = [part[0].cpu().numpy() for part in parts if part is not None]
        yield PieceBlock(
            codes=codes[0].cpu().numpy().astype(np.int16),
            waveform=np.concatenate(waves, axis=-1) if waves else None,
        )
