"""Waveforms as files for a browser."""

import io
import wave

import numpy as np
from numpy.typing import NDArray


def wav_bytes(waveform: NDArray[np.float64], sample_rate_hz: int) -> bytes:
    """A 16-bit WAV file of a waveform, [N] or [2, N], with values in -1..1."""
    peak = float(np.abs(waveform).max())
    if peak > 1.0:
        raise ValueError(f"expected values in -1 to 1, got a peak of {peak:.3f}")
    channels = np.atleast_2d(waveform)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(np.round(channels.T * 32_767).astype("<i2").tobytes())
    return stream.getvalue()
