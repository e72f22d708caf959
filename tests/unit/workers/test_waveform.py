"""The outline that players draw."""

import numpy as np

from workers.waveform import waveform_peaks


def test_each_stretch_shows_its_largest_magnitude() -> None:
    waveform = np.array([0.1, -0.5, 0.2, 0.0, 0.0, 0.9], dtype=np.float32)
    assert waveform_peaks(waveform, 3) == [0.5, 0.2, 0.9]


def test_there_are_160_values_whatever_the_length() -> None:
    for n_samples in (0, 1, 159, 161, 16_000):
        peaks = waveform_peaks(np.full(n_samples, 0.25, dtype=np.float32))
        assert len(peaks) == 160
        assert set(peaks) == ({0.25} if n_samples else {0.0})


def test_samples_beyond_full_scale_are_drawn_as_full_scale() -> None:
    assert max(waveform_peaks(np.array([1.7, -2.0], dtype=np.float32))) == 1.0
