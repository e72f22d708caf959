"""WAV files of one or two channels: written whole as 16-bit PCM, at once or block by block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from generator.errors import GeneratorError, RequestError
from generator.files import written_whole

INT16_PEAK = 32767
CHANNELS = (1, 2)

BlockWriter = Callable[[NDArray[np.float32]], None]
"""Appends a waveform [N], or [2, N] in stereo."""


def to_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Returns the waveform as 16-bit integers; values beyond -1..1 are clipped."""
    scaled = np.round(np.clip(waveform, -1.0, 1.0) * INT16_PEAK)
    return scaled.astype(np.int16)


def to_float32(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Returns 16-bit samples as float32 in -1..1."""
    return samples.astype(np.float32) / np.float32(INT16_PEAK)


@contextmanager
def wav_writer(path: Path, sample_rate_hz: int, n_channels: int = 1) -> Iterator[BlockWriter]:
    """Gives a function that appends blocks to a WAV file, which appears once all are written."""
    if n_channels not in CHANNELS:
        raise RequestError(f"a WAV file has 1 or 2 channels here, got {n_channels}")

    def append(block: NDArray[np.float32]) -> None:
        fits = block.ndim == 1 if n_channels == 1 else block.ndim == 2 and len(block) == n_channels
        if not fits:
            expected = "[N]" if n_channels == 1 else f"[{n_channels}, N]"
            raise RequestError(f"expected a waveform {expected}, got shape {block.shape}")
        if not np.isfinite(block).all():
            bad = int((~np.isfinite(block)).sum())
            raise RequestError(f"expected finite samples, got {bad} that are NaN or infinite")
        file.write(to_int16(block).T)

    with written_whole(path) as partial:
        try:
            with soundfile.SoundFile(
                partial, "w", sample_rate_hz, n_channels, subtype="PCM_16", format="WAV"
            ) as file:
                yield append
        except soundfile.LibsndfileError as exc:
            raise GeneratorError(f"cannot write {path}: {exc.error_string}") from exc


def write_wav(path: Path, waveform: NDArray[np.float32], sample_rate_hz: int) -> None:
    """Writes a waveform [N], or [2, N] in stereo; readers never see a half-written file."""
    with wav_writer(path, sample_rate_hz, 2 if waveform.ndim == 2 else 1) as append:
        append(waveform)
