"""Damaged copies of real clips are far from them, as loud, and as long; nothing else is damaged."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from attune.catalog.models import Damage
from generator.command import STARTER
from generator.lm.sampling import SamplingSettings
from generator.requests import ClipRequest
from generator.synthesis import load_generator
from workers.damage import FEWEST_DB, damage_clip, log_spectral_distance_db
from workers.loudness import SignalError, integrated_lufs

RATE_HZ = 16_000
Waveform = NDArray[np.float32]


@pytest.fixture(scope="module")
def clips() -> list[Waveform]:
    """Four seconds of music each, made by the starter."""
    prompts = ["bright piano tune", "slow sad strings", "fast techno with drums"]
    requests = [ClipRequest(prompt, 4.0, seed) for seed, prompt in enumerate(prompts)]
    made = load_generator(STARTER).generate(requests, SamplingSettings())
    assert {clip.sample_rate_hz for clip in made} == {RATE_HZ}
    return [clip.waveform for clip in made]


def tone(seconds: float = 2.0) -> Waveform:
    """A note of 110 Hz with all its overtones, as a bowed string has them."""
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    overtones = [np.sin(2 * np.pi * 110 * k * times) / k for k in range(1, 70)]
    return (0.1 * np.sum(overtones, axis=0)).astype(np.float32)


def test_the_distance_is_the_gain_where_all_is_above_the_floor() -> None:
    """White noise at half the amplitude is 6.02 dB lower at every frequency."""
    noise = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    assert log_spectral_distance_db(noise, noise) == 0.0
    assert log_spectral_distance_db(noise, 0.5 * noise) == pytest.approx(6.02, abs=0.01)


def test_what_lies_below_the_floor_is_no_difference() -> None:
    loud = tone()
    hiss = np.random.default_rng(0).standard_normal(len(loud)).astype(np.float32)
    assert log_spectral_distance_db(loud, loud + 1e-5 * hiss) < 0.1


@pytest.mark.parametrize("damage", list(Damage))
def test_every_damage_of_music_is_larger_than_a_change_of_level_or_of_bits(
    clips: list[Waveform], damage: Damage
) -> None:
    for seed, clip in enumerate(clips):
        found = log_spectral_distance_db(clip, damage_clip(clip, RATE_HZ, damage, seed))
        quieter = log_spectral_distance_db(clip, clip * np.float32(10 ** (-3 / 20)))
        eight_bits = log_spectral_distance_db(clip, np.round(clip * 127) / np.float32(127))
        assert found > FEWEST_DB
        assert found > 1.5 * max(quieter, eight_bits)


@pytest.mark.parametrize("damage", list(Damage))
def test_a_copy_is_as_long_and_as_loud_and_within_full_scale(
    clips: list[Waveform], damage: Damage
) -> None:
    for clip in clips:
        copy = damage_clip(clip, RATE_HZ, damage, seed=5)
        before, after = integrated_lufs(clip, RATE_HZ), integrated_lufs(copy, RATE_HZ)
        assert before is not None and after is not None
        assert (copy.shape, copy.dtype) == (clip.shape, np.float32)
        assert after == pytest.approx(before, abs=0.1)
        assert np.abs(copy).max() <= 1.0


@pytest.mark.parametrize("damage", list(Damage))
def test_the_damage_is_heard_in_every_second(clips: list[Waveform], damage: Damage) -> None:
    copy = damage_clip(clips[0], RATE_HZ, damage, seed=1)
    for second in range(4):
        stretch = slice(second * RATE_HZ, (second + 1) * RATE_HZ)
        assert log_spectral_distance_db(clips[0][stretch], copy[stretch]) > FEWEST_DB


def test_a_seed_decides_where_the_holes_are() -> None:
    one, same, other = (damage_clip(tone(), RATE_HZ, Damage.DROPOUTS, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    silent = np.mean(np.abs(one) < 1e-6)
    assert 0.35 < silent < 0.65, "holes of 150 to 250 ms in every 400 ms"


def test_both_channels_are_damaged_alike() -> None:
    both = np.stack([tone(), 0.5 * tone()])
    copy = damage_clip(both, RATE_HZ, Damage.DROPOUTS, seed=3)
    assert copy.shape == both.shape
    assert np.array_equal(np.abs(copy[0]) < 1e-7, np.abs(copy[1]) < 1e-7)


def test_a_crushed_clip_has_few_levels_and_a_clipped_one_is_nearly_square() -> None:
    crushed = damage_clip(tone(), RATE_HZ, Damage.CRUSHED, seed=0)
    clipped = damage_clip(tone(), RATE_HZ, Damage.CLIPPED, seed=0)
    assert len(np.unique(np.round(crushed, 4))) <= 4
    assert np.mean(np.abs(clipped) > 0.99 * np.abs(clipped).max()) > 0.8


def test_silence_cannot_be_damaged() -> None:
    with pytest.raises(SignalError, match="got silence"):
        damage_clip(np.zeros(RATE_HZ, dtype=np.float32), RATE_HZ, Damage.NOISE, seed=0)


def test_a_copy_that_is_hardly_different_is_refused() -> None:
    """A square wave is clipped to itself."""
    square = np.sign(tone()) * np.float32(0.1)
    with pytest.raises(SignalError, match="expected clipped to move the spectrum by 4 dB"):
        damage_clip(square, RATE_HZ, Damage.CLIPPED, seed=0)
