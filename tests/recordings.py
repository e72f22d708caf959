"""Reference recordings as engineers bring them: a short tune in every format that is read."""

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
FORMATS = {
    "WAV": ("WAV", "PCM_16"),
    "WAV of 24 bits": ("WAVEX", "PCM_24"),
    "FLAC": ("FLAC", "PCM_16"),
    "OGG": ("OGG", "VORBIS"),
    "OGG Opus": ("OGG", "OPUS"),
    "MP3": ("MP3", None),
}


def tune(duration_s: float = 3.0, amplitude: float = 0.3) -> NDArray[np.float32]:
    """C, E, G, in turn, half a second each, [N]."""
    at_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    keys_hz = np.array([261.63, 329.63, 392.0])[(at_s // 0.5).astype(int) % 3]
    samples: NDArray[np.float32] = (amplitude * np.sin(2 * np.pi * keys_hz * at_s)).astype("f4")
    return samples


def recording_bytes(
    name: str = "WAV",
    samples: NDArray[np.float32] | None = None,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
) -> bytes:
    """The content of a file in one of FORMATS; samples are [N] or [N, C]."""
    container, coding = FORMATS[name]
    content = io.BytesIO()
    kept = tune() if samples is None else samples
    soundfile.write(content, kept, sample_rate_hz, format=container, subtype=coding)
    return content.getvalue()
