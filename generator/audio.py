"""Mono WAV files: reading to float32 and atomic writing as 16-bit PCM."""

import uuid
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from generator.errors import GeneratorError, RequestError

INT16_PEAK = 32767


def to_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Returns the waveform as 16-bit integers; values beyond -1..1 are clipped."""
    scaled = np.round(np.clip(waveform, -1.0, 1.0) * INT16_PEAK)
    return scaled.astype(np.int16)


def to_float32(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Returns 16-bit samples as float32 in -1..1."""
    return samples.astype(np.float32) / np.float32(INT16_PEAK)


def write_wav(path: Path, waveform: NDArray[np.float32], sample_rate_hz: int) -> None:
    """Writes a mono waveform [N] as 16-bit WAV; readers never see a half-written file."""
    if waveform.ndim != 1:
        raise RequestError(f"expected a mono waveform [N], got shape {tuple(waveform.shape)}")
    if not np.isfinite(waveform).all():
        bad = int((~np.isfinite(waveform)).sum())
        raise RequestError(f"expected finite samples, got {bad} that are NaN or infinite")
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        soundfile.write(partial, to_int16(waveform), sample_rate_hz, subtype="PCM_16", format="WAV")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_wav(path: Path) -> tuple[NDArray[np.float32], int]:
    """Returns (waveform [N] mixed to mono, sample rate in hertz)."""
    try:
        samples, sample_rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as exc:
        raise GeneratorError(f"cannot read audio file {path}: {exc}") from exc
    return samples.mean(axis=1).astype(np.float32), int(sample_rate_hz)
