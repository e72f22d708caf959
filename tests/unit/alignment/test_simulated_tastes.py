"""Tastes on synthetic signals whose answer is known."""

import io
import math

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from alignment.simulation.tastes import (
    Taste,
    harmony_changes_per_s,
    mean_consonance,
    onset_rate_per_s,
    read_clip,
    spectral_centroid_hz,
    taste_score,
)

RATE_HZ = 16_000


def tone(frequency_hz: float, duration_s: float = 2.0, level: float = 0.3) -> NDArray[np.float32]:
    """Returns a sine [N]."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def plucks(rate_per_s: float, duration_s: float = 5.0, seed: int = 0) -> NDArray[np.float32]:
    """Returns decaying tones of changing pitch [N], evenly spaced."""
    rng = np.random.default_rng(seed)
    waveform = np.zeros(round(duration_s * RATE_HZ), dtype=np.float32)
    for start_s in np.arange(0.1, duration_s - 0.05, 1.0 / rate_per_s):
        start = round(start_s * RATE_HZ)
        time_s = np.arange(len(waveform) - start) / RATE_HZ
        pitch_hz = 220.0 * 2.0 ** (rng.integers(0, 24) / 12)
        note = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 6))
        waveform[start:] += (0.2 * note * np.exp(-6.0 * time_s)).astype(np.float32)
    return waveform


@pytest.mark.parametrize("frequency_hz", [220.0, 1000.0, 4000.0])
def test_the_centroid_of_a_tone_is_its_frequency(frequency_hz: float) -> None:
    assert spectral_centroid_hz(tone(frequency_hz), RATE_HZ) == pytest.approx(
        frequency_hz, rel=0.02
    )


def test_the_centroid_of_white_noise_is_half_the_nyquist_frequency() -> None:
    noise = np.random.default_rng(1).standard_normal(4 * RATE_HZ).astype(np.float32) * 0.1
    assert spectral_centroid_hz(noise, RATE_HZ) == pytest.approx(4000.0, rel=0.03)


def test_an_octave_is_one_unit_of_darkness() -> None:
    low = taste_score(Taste.DARKER, tone(500.0), RATE_HZ)
    high = taste_score(Taste.DARKER, tone(1000.0), RATE_HZ)
    assert low - high == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("rate_per_s", [1.0, 2.0, 4.0, 8.0])
def test_the_onset_rate_of_plucked_notes_is_counted(rate_per_s: float) -> None:
    measured = onset_rate_per_s(plucks(rate_per_s), RATE_HZ)
    assert measured == pytest.approx(rate_per_s, rel=0.2)


def test_a_held_tone_and_steady_noise_have_next_to_no_onsets() -> None:
    noise = np.random.default_rng(2).standard_normal(5 * RATE_HZ).astype(np.float32) * 0.1
    assert onset_rate_per_s(tone(440.0, 5.0), RATE_HZ) < 0.5
    assert onset_rate_per_s(noise, RATE_HZ) < 2.0


def chord(*semitones: int) -> NDArray[np.float32]:
    """Returns sines that many semitones above A3, held for 2 s [N]."""
    return np.sum([tone(220.0 * 2 ** (n / 12), level=0.1) for n in semitones], axis=0)


@pytest.mark.parametrize(
    ("semitones", "consonance"), [(7, 1.240), (4, 0.386), (1, -1.428), (6, -0.453), (3, 0.594)]
)
def test_two_tones_are_as_consonant_as_their_interval(semitones: int, consonance: float) -> None:
    assert mean_consonance(chord(0, semitones), RATE_HZ) == pytest.approx(consonance, abs=0.06)


def test_a_major_chord_has_the_mean_consonance_of_its_three_intervals() -> None:
    # A major third, a minor third and a fifth: (0.386 + 0.594 + 1.240) / 3.
    assert mean_consonance(chord(0, 4, 7), RATE_HZ) == pytest.approx(0.740, abs=0.06)


def test_a_single_tone_is_neither_consonant_nor_dissonant() -> None:
    assert mean_consonance(tone(440.0), RATE_HZ) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("rate_per_s", [0.5, 1.0, 2.0])
def test_each_change_of_chord_counts_once(rate_per_s: float) -> None:
    length_s = 1.0 / rate_per_s
    n_chords = round(8.0 / length_s)
    chords = [tone(220.0 * 2 ** ((5 * n % 12) / 12), length_s) for n in range(n_chords)]
    measured = harmony_changes_per_s(np.concatenate(chords), RATE_HZ)
    assert measured == pytest.approx((n_chords - 1) / 8.0, rel=0.2)


def test_a_held_chord_does_not_change() -> None:
    assert harmony_changes_per_s(chord(0, 4, 7), RATE_HZ) < 0.05


@pytest.mark.parametrize("taste", list(Taste))
def test_the_level_of_a_clip_moves_no_taste(taste: Taste) -> None:
    """Raters hear level-matched clips; a quieter file must not be preferred for it."""
    waveform = plucks(3.0)
    loud = taste_score(taste, waveform, RATE_HZ)
    quiet = taste_score(taste, waveform * np.float32(0.05), RATE_HZ)
    assert quiet == pytest.approx(loud, rel=1e-3)


def test_opposite_tastes_order_the_same_clips_in_opposite_ways() -> None:
    dark, bright = tone(300.0), tone(3000.0)
    calm, busy = plucks(1.0), plucks(6.0)
    for taste, liked, disliked in (
        (Taste.DARKER, dark, bright),
        (Taste.BRIGHTER, bright, dark),
        (Taste.BUSIER, busy, calm),
        (Taste.CALMER, calm, busy),
    ):
        assert taste_score(taste, liked, RATE_HZ) > taste_score(taste, disliked, RATE_HZ)


@pytest.mark.parametrize("taste", list(Taste))
def test_silence_is_liked_least_by_everybody(taste: Taste) -> None:
    silent = taste_score(taste, np.zeros(RATE_HZ, dtype=np.float32), RATE_HZ)
    assert math.isfinite(silent)
    for waveform in (tone(60.0), tone(7000.0), plucks(8.0)):
        assert silent <= taste_score(taste, waveform, RATE_HZ)


def test_a_downloaded_wav_is_read_as_mono_float() -> None:
    content = io.BytesIO()
    stereo = np.stack([tone(440.0), np.zeros_like(tone(440.0))], axis=1)
    soundfile.write(content, stereo, RATE_HZ, format="WAV", subtype="PCM_16")
    waveform, sample_rate_hz = read_clip(content.getvalue())
    assert sample_rate_hz == RATE_HZ
    assert waveform.shape == (2 * RATE_HZ,)
    assert float(np.abs(waveform).max()) == pytest.approx(0.15, abs=0.001)
