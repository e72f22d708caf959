"""Requests become clips of the asked length, each the same whatever is made beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from generator.checkpoints import save_core
from generator.errors import RequestError
from generator.lm.sampling import SamplingSettings
from generator.requests import ClipRequest
from generator.synthesis import BATCH_SECONDS, Generator, batches, load_generator
from generator.text.header import decode_header
from tests.tiny import TINY_CORE, tiny_core, write_tiny_checkpoint

SETTINGS = SamplingSettings(guidance=2.0, temperature=1.0, top_k=0)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return load_generator(write_tiny_checkpoint(tmp_path_factory.mktemp("tiny")))


def test_a_clip_carries_all_that_made_it(generator: Generator) -> None:
    (clip,) = generator.generate([ClipRequest("a slow ballad on piano", 2.0, 7)], SETTINGS)
    assert clip.codes.shape == (2, 50)
    assert clip.codes.dtype == np.int16
    assert clip.waveform.shape == (32000,)
    assert clip.waveform.dtype == np.float32
    assert np.isfinite(clip.waveform).all()
    assert np.abs(clip.waveform).max() > 0
    assert (clip.sample_rate_hz, clip.seed, clip.duration_s) == (16000, 7, 2.0)
    told = generator.plan("a slow ballad on piano").slots
    assert told.items() <= decode_header(clip.header).items()


def test_the_waveform_is_the_decoded_codes(generator: Generator) -> None:
    (clip,) = generator.generate([ClipRequest("a ballad", 1.0, 7)], SETTINGS)
    assert np.allclose(generator.decode(clip.codes[None])[0], clip.waveform, atol=1e-5)


def test_clips_come_in_the_order_of_requests_and_do_not_depend_on_each_other(
    generator: Generator,
) -> None:
    requests = [
        ClipRequest("a slow ballad on piano", 1.0, 1),
        ClipRequest("fast dance music", 2.0, 2),
        ClipRequest("calm lullaby", 1.0, 3),
    ]
    together = generator.generate(requests, SETTINGS)
    assert [clip.seed for clip in together] == [1, 2, 3]
    assert [clip.duration_s for clip in together] == [1.0, 2.0, 1.0]
    for request, clip in zip(requests, together, strict=True):
        (alone,) = generator.generate([request], SETTINGS)
        assert np.array_equal(alone.codes, clip.codes)
        assert np.allclose(alone.waveform, clip.waveform, atol=1e-4)


def test_clips_follow_their_own_melodies_beside_clips_without(
    generator: Generator, tmp_path: Path
) -> None:
    time_s = np.arange(16000) / 16000
    for name, hz in (("high", 880.0), ("low", 311.1)):
        wave = 0.3 * np.sin(2 * np.pi * hz * time_s)
        soundfile.write(tmp_path / f"{name}.flac", wave, 16000)
    requests = [
        ClipRequest("slow ballad", 1.0, 1, tmp_path / "high.flac"),
        ClipRequest("slow ballad", 1.0, 1),
        ClipRequest("slow ballad", 1.0, 1, tmp_path / "low.flac"),
    ]
    together = generator.generate(requests, SETTINGS)
    assert not np.array_equal(together[0].codes, together[1].codes)
    assert not np.array_equal(together[0].codes, together[2].codes)
    for request, clip in zip(requests, together, strict=True):
        assert np.array_equal(generator.generate([request], SETTINGS)[0].codes, clip.codes)
    told = generator.plan("slow ballad").header
    assert [clip.header == told for clip in together] == [True, False, True], "a tune has its beat"


def test_a_melody_that_is_no_recording_is_refused(generator: Generator, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("c d e f g")
    for name, message in (("notes.txt", "not readable as WAV"), ("nowhere.wav", "missing")):
        with pytest.raises(RequestError, match=message):
            generator.generate([ClipRequest("ballad", 1.0, 1, tmp_path / name)], SETTINGS)


def test_a_checkpoint_without_melody_refuses_one(tmp_path: Path) -> None:
    folder = write_tiny_checkpoint(tmp_path / "deaf")
    save_core(tiny_core(config=replace(TINY_CORE, hears_melody=False)), folder)
    deaf = load_generator(folder, verify=False)
    with pytest.raises(RequestError, match="not trained to follow a melody"):
        deaf.generate([ClipRequest("ballad", 1.0, 1, tmp_path / "tune.wav")], SETTINGS)


def test_seed_and_prompt_change_a_clip(generator: Generator) -> None:
    prompts = [("slow ballad", 1), ("slow ballad", 2), ("fast dance", 1)]
    clips = generator.generate([ClipRequest(p, 1.0, s) for p, s in prompts], SETTINGS)
    assert not np.array_equal(clips[0].codes, clips[1].codes)
    assert not np.array_equal(clips[0].codes, clips[2].codes)


def test_lengths_are_rounded_to_whole_frames(generator: Generator) -> None:
    (clip,) = generator.generate([ClipRequest("ballad", 1.23, 0)], SETTINGS)
    assert clip.codes.shape[1] == 31
    assert clip.duration_s == 1.24
    assert len(clip.waveform) == 31 * 640


def test_emoji_and_foreign_scripts_are_allowed_and_reported(generator: Generator) -> None:
    (clip,) = generator.generate([ClipRequest("ballad 🎵 夜の音楽", 1.0, 0)], SETTINGS)
    assert clip.unknown_words == ("🎵", "夜の音楽")


def test_progress_rises_to_one(generator: Generator) -> None:
    shares: list[float] = []
    requests = [ClipRequest("ballad", 1.0, 0), ClipRequest("ballad", 2.0, 0)]
    generator.generate(requests, SETTINGS, shares.append)
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.1
    assert shares[-1] == 1.0


def test_no_requests_give_no_clips(generator: Generator) -> None:
    assert generator.generate([], SETTINGS) == []


def test_batches_hold_equal_lengths_and_a_bounded_amount() -> None:
    assert batches([(125, 0), (250, 0), (125, 0), (125, 90)], 25) == [[0, 2], [1], [3]]
    # 160 s are 32 clips of 5 s, or 5 of 30 s.
    assert [len(group) for group in batches([(125, 0)] * 70, 25)] == [32, 32, 6]
    assert [len(group) for group in batches([(750, 0)] * 6, 25)] == [5, 1]
    assert BATCH_SECONDS == 160


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t"])
def test_blank_prompts_are_refused(prompt: str) -> None:
    with pytest.raises(RequestError, match="1 to 500 characters, not all blank"):
        ClipRequest(prompt, 5.0, 0)


def test_prompts_of_501_characters_are_refused_and_of_500_are_not() -> None:
    ClipRequest("a" * 500, 5.0, 0)
    with pytest.raises(RequestError, match="1 to 500 characters, got 501"):
        ClipRequest("a" * 501, 5.0, 0)


@pytest.mark.parametrize(
    "duration_s", [0.0, -1.0, 0.99, 30.01, 36000.0, float("nan"), float("inf")]
)
def test_lengths_out_of_range_are_refused(duration_s: float) -> None:
    with pytest.raises(RequestError, match=f"duration_s is 1 to 30 seconds, got {duration_s}"):
        ClipRequest("piano", duration_s, 0)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True])
def test_bad_seeds_are_refused(seed: int) -> None:
    with pytest.raises(RequestError, match="a seed is"):
        ClipRequest("piano", 5.0, seed)


def test_the_longest_clip_and_the_largest_seed_can_be_made(generator: Generator) -> None:
    (clip,) = generator.generate([ClipRequest("ballad", 30.0, 2**63 - 1)], SETTINGS)
    assert clip.codes.shape == (2, 750)
    assert np.isfinite(clip.waveform).all()
