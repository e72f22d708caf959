"""The outline of a waveform that players draw."""

import numpy as np
from numpy.typing import NDArray

N_PEAKS = 160
DECIMALS = 3


def waveform_peaks(waveform: NDArray[np.float32], n_peaks: int = N_PEAKS) -> list[float]:
    """Returns the largest magnitude in each of n_peaks equal stretches of [N], 0 to 1.

    Of a stereo clip [2, N] the louder channel counts. A clip of fewer samples than stretches
    repeats samples; an empty one is all zero.
    """
    if waveform.ndim == 2:
        waveform = np.abs(waveform).max(axis=0)
    if len(waveform) == 0:
        return [0.0] * n_peaks
    edges = np.linspace(0, len(waveform), n_peaks + 1).astype(np.int64)
    starts = np.minimum(edges[:-1], len(waveform) - 1)
    peaks = np.maximum.reduceat(np.abs(waveform), starts)
    return [round(float(peak), DECIMALS) for peak in np.clip(peaks, 0.0, 1.0)]
