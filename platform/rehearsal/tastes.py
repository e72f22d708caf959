"""What simulated raters like, as one figure computed from a clip's audio alone."""

import io
import math
from enum import StrEnum
from typing import assert_never

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import get_window

Waveform = NDArray[np.float32]

FRAME_S = 0.064
HOP_S = 0.010
N_BANDS = 16
LOWEST_BAND_HZ = 100.0
SILENCE_PEAK = 1e-4
LOG_FLOOR = 1e-4
"""Band power this far below the clip's loudest band counts as nothing: -40 dB."""
LEAST_RISE = 0.08
FULL_RISE = 0.18
"""Rise of the mean band level, in log10 units of power: from none of an onset to a whole one."""
RISE_TIME_S = 0.03
ONSET_GAP_S = 0.05
NEIGHBOURHOOD_S = 0.15

SILENT_DARK_HZ = 20.0
SILENT_BRIGHT_HZ = 20_000.0
SILENT_BUSY_PER_S = 100.0


class Taste(StrEnum):
    """What a simulated rater prefers, all else ignored."""

    DARKER = "darker"
    BRIGHTER = "brighter"
    BUSIER = "busier"
    CALMER = "calmer"


TASTE_UNITS = {
    Taste.DARKER: "-log2 of the spectral centroid in hertz",
    Taste.BRIGHTER: "log2 of the spectral centroid in hertz",
    Taste.BUSIER: "onsets per second",
    Taste.CALMER: "minus onsets per second",
}


def read_clip(content: bytes) -> tuple[Waveform, int]:
    """Returns (waveform [N] mixed to mono, sample rate in hertz) of a downloaded audio file."""
    samples, sample_rate_hz = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return samples.mean(axis=1).astype(np.float32), int(sample_rate_hz)


def is_silent(waveform: Waveform) -> bool:
    """Whether no sample of [N] rises above -80 dBFS."""
    return len(waveform) == 0 or float(np.abs(waveform).max()) < SILENCE_PEAK


def power_frames(waveform: Waveform, sample_rate_hz: int) -> NDArray[np.float64]:
    """Returns power spectra [frames, bins] of Hann-windowed, overlapping frames of [N]."""
    n_frame = round(FRAME_S * sample_rate_hz)
    n_hop = round(HOP_S * sample_rate_hz)
    padded = np.pad(waveform.astype(np.float64), n_frame // 2)
    if len(padded) < n_frame:
        padded = np.pad(padded, (0, n_frame - len(padded)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_frame)[::n_hop]
    spectra = np.fft.rfft(frames * get_window("hann", n_frame), axis=1)
    return np.asarray(np.abs(spectra) ** 2)


def spectral_centroid_hz(waveform: Waveform, sample_rate_hz: int) -> float:
    """Returns the mean frequency of the clip [N], weighted by power over its whole length."""
    power = power_frames(waveform, sample_rate_hz).mean(axis=0)
    frequency_hz = np.linspace(0.0, sample_rate_hz / 2, len(power))
    return float((power * frequency_hz).sum() / power.sum())


def band_levels(power: NDArray[np.float64], sample_rate_hz: int) -> NDArray[np.float64]:
    """Returns log10 power [frames, bands] in bands of equal width on a log-frequency axis."""
    frequency_hz = np.linspace(0.0, sample_rate_hz / 2, power.shape[1])
    edges_hz = np.geomspace(LOWEST_BAND_HZ, sample_rate_hz / 2, N_BANDS + 1)
    band_of_bin = np.digitize(frequency_hz, edges_hz[1:-1])
    bands = np.stack([power[:, band_of_bin == band].sum(axis=1) for band in range(N_BANDS)], axis=1)
    loudest = bands.max()
    return np.asarray(np.log10(bands / loudest + LOG_FLOOR))


def onset_rate_per_s(waveform: Waveform, sample_rate_hz: int) -> float:
    """Returns onsets per second of [N]: peaks of the half-wave rectified spectral flux.

    A weak rise above its neighbourhood counts for a part of one onset, so that the figure
    moves smoothly. Spectral flux: Dixon 2006, "Onset detection revisited".
    """
    levels = band_levels(power_frames(waveform, sample_rate_hz), sample_rate_hz)
    step = round(RISE_TIME_S / HOP_S)
    flux = np.maximum(levels[step:] - levels[:-step], 0.0).mean(axis=1)
    reach = round(NEIGHBOURHOOD_S / HOP_S)
    around = np.convolve(flux, np.ones(2 * reach + 1) / (2 * reach + 1), mode="same")
    rise = np.clip((flux - around - LEAST_RISE) / (FULL_RISE - LEAST_RISE), 0.0, 1.0)
    gap = round(ONSET_GAP_S / HOP_S)
    total = 0.0
    index = 0
    while index < len(flux):
        nearby = flux[max(0, index - gap) : index + gap + 1]
        if rise[index] > 0.0 and flux[index] == nearby.max():
            total += float(rise[index])
            index += gap
        index += 1
    return total / (len(waveform) / sample_rate_hz)


def taste_score(taste: Taste, waveform: Waveform, sample_rate_hz: int) -> float:
    """Returns how much a rater of this taste likes the clip [N]; nobody likes silence."""
    silent = is_silent(waveform)
    match taste:
        case Taste.DARKER:
            bright_hz = (
                SILENT_BRIGHT_HZ if silent else spectral_centroid_hz(waveform, sample_rate_hz)
            )
            return -math.log2(bright_hz)
        case Taste.BRIGHTER:
            dark_hz = SILENT_DARK_HZ if silent else spectral_centroid_hz(waveform, sample_rate_hz)
            return math.log2(max(dark_hz, SILENT_DARK_HZ))
        case Taste.BUSIER:
            return 0.0 if silent else onset_rate_per_s(waveform, sample_rate_hz)
        case Taste.CALMER:
            return -(SILENT_BUSY_PER_S if silent else onset_rate_per_s(waveform, sample_rate_hz))
        case _:
            assert_never(taste)
