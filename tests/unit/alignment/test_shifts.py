"""Paired shifts of what is heard, on clips whose difference is known."""

import numpy as np
import pytest

from alignment.errors import AlignmentError
from alignment.shifts import LEVEL_FLOOR_DBFS, hear_clip, measure_shifts, paired_shift
from generator.synthesis import GeneratedClip

SAMPLE_RATE_HZ = 16_000


def tone(frequency_hz: float, amplitude: float, seed: int = 0) -> GeneratedClip:
    """A clip of a second that holds one tone."""
    time_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    return GeneratedClip(
        codes=np.zeros((2, 25), dtype=np.int16),
        waveform=(amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32),
        sample_rate_hz=SAMPLE_RATE_HZ,
        header=(),
        unknown_words=(),
        seed=seed,
        duration_s=1.0,
    )


def test_a_shift_by_hand() -> None:
    """Prompt means 1 and 3: 2, plus or minus 12.706 * sqrt(2) / sqrt(2)."""
    shift = paired_shift("level", "dB", [[(1.0, 0.0), (2.0, 1.0)], [(5.0, 2.0)]])
    assert (shift.base, shift.candidate, shift.mean) == (1.25, 3.25, 2.0)
    assert (shift.low, shift.high) == pytest.approx((-10.706, 14.706), abs=1e-3)
    assert (shift.n_pairs, shift.n_prompts) == (3, 2)


def test_one_prompt_has_no_interval() -> None:
    shift = paired_shift("level", "dB", [[(1.0, 0.0)]])
    assert (shift.mean, shift.low, shift.high) == (1.0, None, None)


def test_twice_the_amplitude_is_six_decibels_and_nothing_else() -> None:
    base = {"a": [tone(440, 0.1)], "b": [tone(880, 0.2)]}
    louder = {"a": [tone(440, 0.2)], "b": [tone(880, 0.4)]}
    shifts = measure_shifts(louder, base)
    assert shifts["level"].mean == pytest.approx(6.02, abs=0.01)
    assert shifts["level"].low == pytest.approx(shifts["level"].high, abs=0.01)
    assert shifts["spectral centroid"].mean == pytest.approx(0.0, abs=1.0)
    assert shifts["tempo"].mean == shifts["onset density"].mean == 0.0


def test_a_darker_candidate_has_a_lower_centroid() -> None:
    shifts = measure_shifts({"a": [tone(440, 0.1)]}, {"a": [tone(1880, 0.1)]})
    assert shifts["spectral centroid"].mean == pytest.approx(-1440, abs=20)
    assert shifts["level"].mean == pytest.approx(0.0, abs=0.01)


def test_a_silent_clip_counts_as_the_step_of_a_16_bit_file() -> None:
    assert hear_clip(tone(440, 0.0)).level_dbfs == LEVEL_FLOOR_DBFS


def test_two_channels_are_heard_as_their_mean() -> None:
    mono = tone(440, 0.1)
    stereo = GeneratedClip(
        codes=mono.codes,
        waveform=np.stack([mono.waveform, mono.waveform]),
        sample_rate_hz=mono.sample_rate_hz,
        header=(),
        unknown_words=(),
        seed=0,
        duration_s=1.0,
    )
    assert hear_clip(stereo).centroid_hz == pytest.approx(hear_clip(mono).centroid_hz)


def test_clips_of_other_prompts_or_seeds_are_no_pairs() -> None:
    clips = {"a": [tone(440, 0.1)]}
    with pytest.raises(AlignmentError, match="same prompts, got 1 and 1, 0 of them shared"):
        measure_shifts({"b": [tone(440, 0.1)]}, clips)
    with pytest.raises(AlignmentError, match=r"clips of 'a' have other seeds: \[1\], \[0\]"):
        measure_shifts({"a": [tone(440, 0.1, seed=1)]}, clips)
