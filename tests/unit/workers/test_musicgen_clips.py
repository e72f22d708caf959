"""Clips of a tiny MusicGen, mono and stereo, through the real claim loop."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from attune.catalog.adoption import adopt_checkpoint
from attune.catalog.models import Clip, ClipStatus
from attune.catalog.storage import media_file
from generator.families import MUSICGEN_SAMPLING
from tests.integration.scene import request_test_clips
from tests.tiny_musicgen import FRAME_SAMPLES, SAMPLE_RATE_HZ, write_tiny_musicgen
from workers.claims import carry_out, new_owner
from workers.loudness import measure_loudness

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("is_stereo", [False, True])
def test_an_added_musicgen_makes_clips(tmp_path: Path, is_stereo: bool) -> None:
    folder = write_tiny_musicgen(tmp_path / "tiny", is_stereo=is_stereo)
    said: list[bytes] = []
    checkpoint = adopt_checkpoint(source=str(folder), echo=said.append)
    clips = request_test_clips(checkpoint, 2, duration_s=1.0)
    clips += request_test_clips(checkpoint, 1, duration_s=1.0, text="slow " * 60 + "🎵")
    while carry_out("gpu", new_owner()):
        pass
    for clip in clips:
        clip.refresh_from_db()
        assert clip.status == ClipStatus.READY, clip.error
        assert clip.sampling == MUSICGEN_SAMPLING.to_json()
        assert (clip.duration_s, clip.sample_rate_hz) == (1.0, SAMPLE_RATE_HZ)
        codes = np.load(media_file(clip.codes_path), allow_pickle=False)
        assert codes.shape == (8 if is_stereo else 4, 50)
        samples, _ = soundfile.read(media_file(clip.audio_path), always_2d=True)
        assert samples.shape == (50 * FRAME_SAMPLES, 2 if is_stereo else 1)
        assert 0.0 < max(clip.peaks) <= 1.0
    assert clips[0].unknown_words == []
    assert clips[2].unknown_words[-1] == "🎵"
    assert Clip.objects.get(pk=clips[0].pk).header == clips[1].header


def test_two_equal_channels_are_three_decibels_louder_than_one() -> None:
    waveform = (0.1 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(np.float32)
    mono = measure_loudness(waveform, 16000)
    stereo = measure_loudness(np.stack([waveform, waveform]), 16000)
    assert mono.loudness_lufs is not None and stereo.loudness_lufs is not None
    assert stereo.loudness_lufs - mono.loudness_lufs == pytest.approx(3.01, abs=0.01)
    assert stereo.true_peak_dbtp == pytest.approx(mono.true_peak_dbtp)
