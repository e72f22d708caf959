"""How loud a clip is, and the gain that brings it to the site's playback level."""

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyloudnorm
from numpy.typing import NDArray
from scipy.signal import resample_poly

GATING_BLOCK_S = 0.4
TRUE_PEAK_CEILING_DBTP = -1.0
OVERSAMPLING = 4
SILENCE_LUFS = -70.0
"""The absolute gate of BS.1770: what lies below it has no loudness."""


class SignalError(ValueError):
    """A waveform that cannot be measured."""


@dataclass(frozen=True)
class Loudness:
    """Integrated loudness and true peak; None where the clip is silent."""

    loudness_lufs: float | None
    true_peak_dbtp: float | None

    @property
    def is_silent(self) -> bool:
        """Whether nothing in the clip rises above the absolute gate."""
        return self.loudness_lufs is None


@lru_cache(maxsize=8)
def loudness_meter(sample_rate_hz: int, block_s: float) -> pyloudnorm.Meter:
    """Returns a meter whose weighting filters are computed once a sample rate."""
    return pyloudnorm.Meter(sample_rate_hz, block_size=block_s)


def true_peak_dbtp(waveform: NDArray[np.float32]) -> float | None:
    """Returns the peak between the samples of a waveform, [N] or [2, N], in dBTP.

    ITU-R BS.1770-5, annex 2: the largest magnitude after 4-fold oversampling, of all channels.
    None for digital silence.
    """
    if not np.any(waveform):
        return None
    oversampled = resample_poly(waveform, OVERSAMPLING, 1, axis=-1)
    peak = max(float(np.abs(oversampled).max()), float(np.abs(waveform).max()))
    return 20.0 * math.log10(peak)


def integrated_lufs(waveform: NDArray[np.float32], sample_rate_hz: int) -> float | None:
    """Returns the gated loudness of a waveform, [N] or [2, N], in LUFS; None below the gate.

    ITU-R BS.1770-5, annex 1: the powers of two channels add up. A clip shorter than
    one gating block is one block by itself.
    """
    n_samples = waveform.shape[-1]
    duration_s = n_samples / sample_rate_hz
    if duration_s == 0.0 or not np.any(waveform):
        return None
    if duration_s < GATING_BLOCK_S:
        n_block = round(GATING_BLOCK_S * sample_rate_hz)
        level_db = 10.0 * math.log10(n_block / n_samples)
        short = [(0, 0)] * (waveform.ndim - 1) + [(0, n_block - n_samples)]
        waveform = np.pad(waveform, short)
    else:
        level_db = 0.0
    meter = loudness_meter(sample_rate_hz, GATING_BLOCK_S)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", category=RuntimeWarning)  # no block above the gate
        measured = float(meter.integrated_loudness(waveform.T.astype(np.float64))) + level_db
    return measured if math.isfinite(measured) and measured >= SILENCE_LUFS else None


def measure_loudness(waveform: NDArray[np.float32], sample_rate_hz: int) -> Loudness:
    """Returns loudness and true peak of a waveform, [N] or [2, N], with values in -1..1."""
    if waveform.ndim != 1 and (waveform.ndim != 2 or waveform.shape[0] != 2):
        raise SignalError(f"expected a waveform [N] or [2, N], got shape {waveform.shape}")
    if not np.isfinite(waveform).all():
        n_bad = int((~np.isfinite(waveform)).sum())
        raise SignalError(f"expected finite samples, got {n_bad} that are NaN or infinite")
    return Loudness(
        loudness_lufs=integrated_lufs(waveform, sample_rate_hz),
        true_peak_dbtp=true_peak_dbtp(waveform),
    )


def playback_gain_db(loudness: Loudness, target_lufs: float) -> float:
    """Returns the gain to the target level, less where the true peak would pass -1 dBTP.

    Nothing is limited: a clip whose peaks are too high for the target stays quieter. A silent
    clip is played as it is.
    """
    if loudness.loudness_lufs is None or loudness.true_peak_dbtp is None:
        return 0.0
    wanted_db = target_lufs - loudness.loudness_lufs
    return min(wanted_db, TRUE_PEAK_CEILING_DBTP - loudness.true_peak_dbtp)
