"""What can be measured of a clip's attributes and faults from its audio alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from generator.corpus.attributes import FRAME_RATE_HZ, FRAMES_PER_BEAT
from generator.corpus.score import MAJOR_SCALE, MINOR_SCALE
from generator.errors import RequestError

FLUX_N_FFT = 1024
FLUX_STEPS_PER_S = 100
CHROMA_N_FFT, CHROMA_HOP = 8192, 1024
LOWEST_CHROMA_HZ, HIGHEST_CHROMA_HZ = 120.0, 1600.0
IN_TUNE_SEMITONES = 0.3
KICK_N_FFT, KICK_BINS = 2048, slice(2, 8)  # 16 to 62 Hz at 16 kHz: below the lowest bass note
LEVEL_STEP_S = 0.1
SILENT_RMS = 0.01
CLIPPED_LEVEL = 0.999

# Key profiles of Krumhansl and Kessler 1982.
MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


@dataclass(frozen=True)
class Estimate:
    """A mean over clips with its standard error and count."""

    mean: float
    standard_error: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate":
        """Returns the estimate of a mean from one value a clip."""
        if not values:
            raise RequestError("expected at least one value, got none")
        n = len(values)
        error = float(np.std(values, ddof=1) / n**0.5) if n > 1 else float("nan")
        return cls(float(np.mean(values)), error, n)


@dataclass(frozen=True)
class ClipMeasures:
    """What can be heard of a clip's attributes, and of its faults."""

    frames_per_beat: int
    onsets_per_s: float
    centroid_hz: float
    major_score: float
    kick_db: float
    in_scale_share: float
    silent_share: float
    clipped_share: float
    sounding_s: float

    @property
    def beats_per_minute(self) -> float:
        """Returns the tempo."""
        return 60 * FRAME_RATE_HZ / self.frames_per_beat


def _magnitudes(waveform: torch.Tensor, n_fft: int, hop: int) -> NDArray[np.float32]:
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(waveform, n_fft, hop, window=window, return_complex=True)
    return spectrum.abs().numpy().astype(np.float32)


def _flux(spectrum: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the mean rise of log magnitudes over three steps, [steps - 3]."""
    log = np.log1p(20 * spectrum)
    rise: NDArray[np.float32] = np.maximum(0, log[:, 3:] - log[:, :-3]).mean(axis=0)
    return rise


def _smooth(values: NDArray[np.float32], width: int) -> NDArray[np.float64]:
    """Returns moving means over `width` steps, or over all of fewer, [len(values)]."""
    width = min(width, len(values))
    return np.convolve(values, np.ones(width) / width, "same")


def _beat(flux: NDArray[np.float32]) -> int:
    """Returns the frames per beat whose multiples the onsets repeat at most clearly."""
    centred = flux - _smooth(flux, 101)
    n = len(centred)
    correlation = np.correlate(centred, centred, "full")[n - 1 :]
    correlation = correlation / (correlation[0] + 1e-9)
    steps_per_frame = FLUX_STEPS_PER_S // FRAME_RATE_HZ

    def clarity(frames_per_beat: int) -> float:
        period = frames_per_beat * steps_per_frame
        lags = [(k, k * period) for k in (1, 2, 3, 4) if k * period < 0.8 * n]
        return float(sum(correlation[lag - 1 : lag + 2].max() / k**0.5 for k, lag in lags))

    return max(FRAMES_PER_BEAT, key=clarity)


def _onsets_per_s(flux: NDArray[np.float32], duration_s: float) -> float:
    around = _smooth(flux, 41)
    floor = 0.15 * float(np.percentile(flux, 98))
    reach = 4
    peaks = [
        i
        for i in range(reach, len(flux) - reach)
        if flux[i] == flux[i - reach : i + reach + 1].max() and flux[i] > 1.3 * around[i] + floor
    ]
    return len(peaks) / duration_s


def _chroma(waveform: torch.Tensor, sample_rate_hz: int, power: int) -> NDArray[np.float64]:
    """Returns the share of each pitch class in what sounds near a key, [12].

    Magnitudes (power 1) let quiet notes count; energies (power 2) drop what leaks from loud ones.
    """
    spectrum = _magnitudes(waveform, CHROMA_N_FFT, CHROMA_HOP)
    bins_hz = np.linspace(0, sample_rate_hz / 2, CHROMA_N_FFT // 2 + 1)
    inside = (bins_hz > LOWEST_CHROMA_HZ) & (bins_hz < HIGHEST_CHROMA_HZ)
    keys = 12 * np.log2(bins_hz[inside] / 440) + 69
    in_tune = np.abs(keys - np.round(keys)) < IN_TUNE_SEMITONES
    strength = (spectrum[inside] ** power).sum(axis=1) * in_tune
    chroma = np.bincount(np.round(keys).astype(int) % 12, strength, 12)
    return chroma / (chroma.sum() + 1e-9)


def _profile_fit(chroma: NDArray[np.float64], profile: Sequence[float]) -> float:
    if chroma.std() < 1e-9:
        return 0.0
    return max(float(np.corrcoef(np.roll(profile, key), chroma)[0, 1]) for key in range(12))


def _in_scale_share(chroma: NDArray[np.float64]) -> float:
    """Returns the share of energy in the scale that fits best; major and minor share theirs."""
    return max(
        float(sum(chroma[(root + step) % 12] for step in scale))
        for scale in (MAJOR_SCALE, MINOR_SCALE)
        for root in range(12)
    )


def measure_clip(waveform: NDArray[np.float32], sample_rate_hz: int) -> ClipMeasures:
    """Returns the measures of a mono waveform [N] of at least a second."""
    if waveform.ndim != 1 or len(waveform) < sample_rate_hz:
        raise RequestError(
            f"expected a mono waveform of at least {sample_rate_hz} samples, "
            f"got shape {tuple(waveform.shape)}"
        )
    samples = torch.from_numpy(np.ascontiguousarray(waveform, np.float32))
    duration_s = len(waveform) / sample_rate_hz
    spectrum = _magnitudes(samples, FLUX_N_FFT, sample_rate_hz // FLUX_STEPS_PER_S)
    flux = _flux(spectrum)
    energy = spectrum.sum(axis=0)
    bins_hz = np.linspace(0, sample_rate_hz / 2, FLUX_N_FFT // 2 + 1)
    loud = energy > 0.05 * np.median(energy) + 1e-3
    centroids = (bins_hz[:, None] * spectrum).sum(axis=0)[loud] / energy[loud]
    low = _magnitudes(samples, KICK_N_FFT, sample_rate_hz // FLUX_STEPS_PER_S)[KICK_BINS]
    usual = float(np.median((spectrum**2).sum(axis=0))) + 1e-6
    kick = float(np.percentile((low**2).sum(axis=0), 95)) / usual
    chroma = _chroma(samples, sample_rate_hz, power=1)
    size = round(LEVEL_STEP_S * sample_rate_hz)
    steps = waveform[: len(waveform) // size * size].reshape(-1, size)
    level = np.sqrt((steps.astype(np.float64) ** 2).mean(axis=1))
    sounding = np.nonzero(level > SILENT_RMS)[0]
    return ClipMeasures(
        frames_per_beat=_beat(flux),
        onsets_per_s=_onsets_per_s(flux, duration_s),
        centroid_hz=float(centroids.mean()) if loud.any() else 0.0,
        major_score=_profile_fit(chroma, MAJOR_PROFILE) - _profile_fit(chroma, MINOR_PROFILE),
        kick_db=10 * float(np.log10(kick + 1e-9)),
        in_scale_share=_in_scale_share(_chroma(samples, sample_rate_hz, power=2)),
        silent_share=float((level <= SILENT_RMS).mean()),
        clipped_share=float((np.abs(waveform) >= CLIPPED_LEVEL).mean()),
        sounding_s=float((sounding[-1] + 1) * LEVEL_STEP_S) if len(sounding) else 0.0,
    )
