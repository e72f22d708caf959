"""Loudness against BS.1770's own reference tone, and the gain made from it."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from workers.loudness import Loudness, measure_loudness, playback_gain_db

RATE_HZ = 16_000


def tone(duration_s: float, amplitude: float, frequency_hz: float = 997.0) -> NDArray[np.float32]:
    """Returns a sine [N]."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def test_a_full_scale_tone_of_997_hz_measures_minus_3_lufs() -> None:
    """BS.1770 states -3.01 LKFS for this tone in one channel."""
    measured = measure_loudness(tone(3.0, 1.0), RATE_HZ)
    assert measured.loudness_lufs == pytest.approx(-3.01, abs=0.1)
    assert measured.true_peak_dbtp == pytest.approx(0.0, abs=0.1)


def test_half_the_amplitude_is_6_lu_less() -> None:
    whole = measure_loudness(tone(2.0, 0.8), RATE_HZ).loudness_lufs
    half = measure_loudness(tone(2.0, 0.4), RATE_HZ).loudness_lufs
    assert whole is not None and half is not None
    assert whole - half == pytest.approx(20 * math.log10(2), abs=0.01)


def test_a_clip_shorter_than_a_gating_block_still_has_a_loudness() -> None:
    short = measure_loudness(tone(0.2, 0.5), RATE_HZ).loudness_lufs
    long = measure_loudness(tone(2.0, 0.5), RATE_HZ).loudness_lufs
    assert short is not None and long is not None
    assert short == pytest.approx(long, abs=0.5)


@pytest.mark.parametrize("n_samples", [0, 100, 32_000])
def test_silence_has_no_loudness_and_is_played_as_it_is(n_samples: int) -> None:
    measured = measure_loudness(np.zeros(n_samples, dtype=np.float32), RATE_HZ)
    assert measured == Loudness(loudness_lufs=None, true_peak_dbtp=None)
    assert playback_gain_db(measured, -23.0) == 0.0


def test_noise_below_the_absolute_gate_counts_as_silence() -> None:
    measured = measure_loudness(tone(1.0, 1e-5), RATE_HZ)
    assert measured.is_silent
    assert playback_gain_db(measured, -23.0) == 0.0


def test_the_true_peak_lies_between_samples() -> None:
    """A tone at a quarter of the rate, sampled 45 degrees off its crests, peaks 3 dB higher."""
    phase = np.pi / 2 * np.arange(RATE_HZ) + np.pi / 4
    waveform = (0.5 * np.sin(phase)).astype(np.float32)
    sampled_db = 20 * math.log10(float(np.abs(waveform).max()))
    measured = measure_loudness(waveform, RATE_HZ).true_peak_dbtp
    assert measured is not None
    assert measured - sampled_db == pytest.approx(3.01, abs=0.2)


def test_a_loud_clip_is_attenuated_to_the_playback_level() -> None:
    assert playback_gain_db(Loudness(-13.0, -2.0), -23.0) == pytest.approx(-10.0)


def test_a_quiet_clip_is_raised_only_until_its_true_peak_reaches_the_ceiling() -> None:
    assert playback_gain_db(Loudness(-30.0, -12.0), -23.0) == pytest.approx(7.0)
    assert playback_gain_db(Loudness(-30.0, -4.0), -23.0) == pytest.approx(3.0)


def test_a_waveform_with_nan_is_refused_with_its_count() -> None:
    waveform = tone(1.0, 0.5)
    waveform[:3] = np.nan
    with pytest.raises(ValueError, match="got 3 that are NaN"):
        measure_loudness(waveform, RATE_HZ)
