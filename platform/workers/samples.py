"""Clips that a policy makes while it is trained: decoded beside the training, then recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, assert_never

import numpy as np
import soundfile
import structlog

from attune.catalog.storage import write_atomically
from attune.rounds.models import Round
from attune.rounds.services import record_round_sample
from generator.checkpoints import Family
from generator.errors import GeneratorError
from workers.clips import wav_bytes

if TYPE_CHECKING:
    from generator.families import AnyCodec

SAMPLES_FILE = "samples.jsonl"
SAMPLES_FOLDER = "samples"

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Sample:
    """One clip's codes as the trainer wrote them; `codes` is relative to the run's folder."""

    step: int
    number: int
    prompt: str
    seed: int | None
    codes: str

    @property
    def audio(self) -> str:
        """The file of its sound, beside that of its codes."""
        return str(Path(self.codes).with_suffix(".wav"))


class SampleDecoder:
    """Decodes samples in a thread on the CPU, because the device belongs to the training.

    `record_ready` stores what is decoded by then; it is called by who watches the training, so
    that decoding never keeps a cancellation waiting. Leaving the `with` block drops what is
    not begun.
    """

    def __init__(self, round: Round, folder: Path, base_folder: Path) -> None:
        self._round = round
        self._folder = folder
        self._base_folder = base_folder
        self._codec: AnyCodec | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="samples")
        self._pending: list[tuple[Sample, Future[float]]] = []
        self._taken: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def take(self, step: int, files: Sequence[str]) -> None:
        """Queues the files of a step that were not queued before."""
        told = read_samples(self._folder)
        for number, codes in enumerate(files):
            if codes in self._taken:
                continue
            self._taken.add(codes)
            line = told.get(codes, {})
            sample = Sample(
                step=step,
                number=number,
                prompt=str(line.get("prompt", ""))[:500],
                seed=line.get("seed"),
                codes=codes,
            )
            self._pending.append((sample, self._pool.submit(self._decode, sample)))

    def record_ready(self, *, wait: bool = False) -> int:
        """Stores the samples that are decoded; with `wait` all of them. Returns how many."""
        n_recorded, pending = 0, []
        for sample, future in self._pending:
            if not wait and not future.done():
                pending.append((sample, future))
                continue
            try:
                duration_s = future.result()
            except (GeneratorError, OSError, EOFError, ValueError, RuntimeError) as exc:
                # A machine that lost its power may leave an empty file. Whatever is wrong with a
                # clip to listen to, the training goes on without it.
                logger.warning("sample_not_decoded", round=self._round.pk, error=str(exc))
                continue
            record_round_sample(
                round=self._round,
                step=sample.step,
                number=sample.number,
                prompt=sample.prompt,
                seed=sample.seed,
                audio_path=sample.audio,
                duration_s=duration_s,
            )
            n_recorded += 1
        self._pending = pending
        return n_recorded

    def _decode(self, sample: Sample) -> float:
        """Writes a sample's sound; returns its duration in seconds."""
        import torch

        place, target = (inner_file(self._folder, name) for name in (sample.codes, sample.audio))
        if target.is_file() and target.stat().st_mtime >= place.stat().st_mtime:
            return float(soundfile.info(target).duration)  # an earlier attempt decoded it
        if self._codec is None:
            self._codec = load_codec_alone(self._base_folder)
        codes = np.load(place, allow_pickle=False)
        with torch.inference_mode():
            waveform = self._codec.decode(torch.as_tensor(codes).long()[None])[0].float().numpy()
        rate_hz = self._codec.config.sample_rate_hz
        write_atomically(target, wav_bytes(waveform, rate_hz))
        return float(waveform.shape[-1] / rate_hz)


def inner_file(folder: Path, name: str) -> Path:
    """Returns a file of a run's folder; ValueError for a name that leads out of it."""
    place = (folder / name).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise ValueError(f"{name} lies outside {folder}")
    return place


def read_samples(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns what the trainer told of each file of codes; a later line of a file holds."""
    told: dict[str, dict[str, Any]] = {}
    for place in (folder / SAMPLES_FOLDER / SAMPLES_FILE, folder / SAMPLES_FILE):
        try:
            lines = place.read_text().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                stored = json.loads(line)
                told[str(stored["codes"])] = stored
            except (ValueError, KeyError, TypeError):
                continue  # half-written by a trainer that was killed; its codes have no wave yet
    return told


def load_codec_alone(folder: Path) -> AnyCodec:
    """Returns the codec of a full checkpoint on the CPU."""
    from generator.checkpoints import read_card
    from generator.codec.model import load_codec
    from generator.families import family_of, load_parts
    from generator.stereo import N_CHANNELS, StereoCodec

    family = family_of(folder)
    match family:
        case Family.STARTER:
            mono = load_codec(folder)
            is_stereo = read_card(folder).channels == N_CHANNELS
            return StereoCodec(mono).eval() if is_stereo else mono.eval()
        case Family.MUSICGEN:
            return load_parts(folder).codec
        case _:
            assert_never(family)
