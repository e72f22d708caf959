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

CHROMA_FRAME_S = 0.256
CHROMA_HOP_S = 0.032
LOWEST_PITCH_HZ = 110.0
HIGHEST_PITCH_HZ = 2000.0
CHANGE_TIME_S = 0.128
LEAST_PEAK = 0.1
"""Amplitude of a partial that counts, of the loudest one of its frame: above all side lobes."""
CONSONANCE = (0.0, -1.428, -0.582, 0.594, 0.386, 1.240, -0.453)
"""How well the interval classes of 0 to 6 semitones sound together: Huron 1994, "Interval-class
content in equally tempered pitch-class sets", Music Perception 11(3)."""

SILENT_DARK_HZ = 20.0
SILENT_BRIGHT_HZ = 20_000.0
SILENT_BUSY_PER_S = 100.0


class Taste(StrEnum):
    """What a simulated rater prefers, all else ignored."""

    DARKER = "darker"
    BRIGHTER = "brighter"
    BUSIER = "busier"
    CALMER = "calmer"
    SLOWER = "slower"
    CONSONANT = "consonant"


TASTE_UNITS = {
    Taste.DARKER: "-log2 of the spectral centroid in hertz",
    Taste.BRIGHTER: "log2 of the spectral centroid in hertz",
    Taste.BUSIER: "onsets per second",
    Taste.CALMER: "minus onsets per second",
    Taste.SLOWER: "minus changes of harmony and tune per second",
    Taste.CONSONANT: "mean consonance of the pitch classes that sound together",
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


def chroma_frames(waveform: Waveform, sample_rate_hz: int) -> NDArray[np.float64]:
    """Returns amplitudes of the 12 pitch classes [frames, 12] of [N], C first.

    Only peaks of the spectrum count, so that a tone does not smear over its neighbours.
    """
    n_frame = round(CHROMA_FRAME_S * sample_rate_hz)
    padded = np.pad(waveform.astype(np.float64), n_frame // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_frame)
    frames = frames[:: round(CHROMA_HOP_S * sample_rate_hz)]
    size = np.abs(np.fft.rfft(frames * get_window("hann", n_frame), 2 * n_frame, axis=1))
    middle = size[:, 1:-1]
    least = LEAST_PEAK * size.max(axis=1, keepdims=True)
    is_peak = (middle > size[:, :-2]) & (middle >= size[:, 2:]) & (middle > least)
    peaks = np.where(is_peak, middle, 0.0)
    frequency_hz = np.arange(1, size.shape[1] - 1) * sample_rate_hz / (2 * n_frame)
    in_range = (frequency_hz >= LOWEST_PITCH_HZ) & (frequency_hz <= HIGHEST_PITCH_HZ)
    semitone = np.round(69 + 12 * np.log2(frequency_hz[in_range] / 440.0)).astype(int)
    return np.asarray(peaks[:, in_range] @ np.eye(12)[semitone % 12])


def harmony_changes_per_s(waveform: Waveform, sample_rate_hz: int) -> float:
    """Returns how often the pitch classes of [N] change: 1 is a whole new set of them a second."""
    chroma = chroma_frames(waveform, sample_rate_hz)
    level = np.convolve(chroma.sum(axis=1), np.ones(3) / 3, mode="same")
    shares = chroma / np.maximum(chroma.sum(axis=1, keepdims=True), 1e-9)
    step = round(CHANGE_TIME_S / CHROMA_HOP_S)
    if len(shares) <= step:
        return 0.0
    moved = np.abs(shares[step:] - shares[:-step]).sum(axis=1) / 2
    audible = np.minimum(level[step:], level[:-step]) > 0.05 * level.max()
    return float((moved * audible).mean() / CHANGE_TIME_S)


def mean_consonance(waveform: Waveform, sample_rate_hz: int) -> float:
    """Returns the mean consonance of two pitch classes that sound at once in [N].

    Pairs weigh by the product of their amplitudes; a clip without any two has 0.
    """
    chroma = chroma_frames(waveform, sample_rate_hz)
    distance = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    weights = np.asarray(CONSONANCE)[np.minimum(distance, 12 - distance)]
    together = np.einsum("ti,tj->ij", chroma, chroma)
    np.fill_diagonal(together, 0.0)
    total = together.sum()
    return float((together * weights).sum() / total) if total > 0 else 0.0


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
        case Taste.SLOWER:
            return -(
                SILENT_BUSY_PER_S if silent else harmony_changes_per_s(waveform, sample_rate_hz)
            )
        case Taste.CONSONANT:
            return min(CONSONANCE) if silent else mean_consonance(waveform, sample_rate_hz)
        case _:
            assert_never(taste)
