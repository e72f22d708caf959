"""MusicGen melody hears the tune of a recording as transformers' feature extractor does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from transformers.audio_utils import chroma_filter_bank
from transformers.models.musicgen_melody.feature_extraction_musicgen_melody import (
    MusicgenMelodyFeatureExtractor,
)

from generator.errors import RequestError
from generator.lm.preparation import Preparation
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.musicgen.chroma import HOP_SAMPLES, N_FFT, melody_classes
from generator.musicgen.core import MelodyCore
from generator.requests import ClipRequest
from generator.synthesis import Generator, load_generator
from tests.tiny_musicgen import FRAME_SAMPLES, SAMPLE_RATE_HZ, write_tiny_musicgen

RATE_HZ = 32000


def tune(*keys: int, note_s: float = 1.0, rate_hz: int = RATE_HZ) -> Tensor:
    """Returns a waveform [N] of one tone after another, as MIDI keys."""
    time_s = torch.arange(int(note_s * rate_hz)) / rate_hz
    tones = [0.3 * torch.sin(2 * torch.pi * 440 * 2 ** ((key - 69) / 12) * time_s) for key in keys]
    return torch.cat(tones)


def extractor() -> Any:
    """Returns transformers' extractor with torch's spectrogram in the place of torchaudio's."""
    made: Any = object.__new__(MusicgenMelodyFeatureExtractor)
    made.n_fft, made.hop_length = N_FFT, HOP_SAMPLES
    bank = chroma_filter_bank(
        sampling_rate=RATE_HZ, num_frequency_bins=N_FFT, tuning=0, num_chroma=12
    )
    made.chroma_filters = torch.from_numpy(bank).float()
    window = torch.hann_window(N_FFT)

    def spectrogram(waveform: Tensor) -> Tensor:
        found = torch.stft(waveform, N_FFT, HOP_SAMPLES, window=window, return_complex=True)
        return (found / window.pow(2).sum().sqrt()).abs().pow(2)

    made.spectrogram = spectrogram
    return made


@pytest.mark.parametrize("n_samples", [5000, N_FFT, 3 * RATE_HZ + 17])
def test_classes_are_those_of_transformers(n_samples: int) -> None:
    generator = torch.Generator().manual_seed(n_samples)
    waveform = torch.randn(n_samples, generator=generator) * 0.1
    waveform += tune(60, 64, 67, 71)[:n_samples]
    one_hot = extractor()._torch_extract_fbank_features(waveform[None])[0]  # [M, 12]
    assert torch.equal(melody_classes(waveform, RATE_HZ), one_hot.argmax(-1))


def test_a_tune_is_heard_note_by_note() -> None:
    heard = melody_classes(tune(60, 69, 66, note_s=2.0), RATE_HZ)
    assert len(heard) == 1 + 6 * RATE_HZ // HOP_SAMPLES
    middles = [round(second * RATE_HZ / HOP_SAMPLES) for second in (1, 3, 5)]
    assert heard[middles].tolist() == [0, 9, 6]


def test_silence_reads_as_the_first_class() -> None:
    assert melody_classes(torch.zeros(RATE_HZ), RATE_HZ).unique().tolist() == [0]


@pytest.mark.parametrize("shape", [(0,), (2, 100)])
def test_what_is_no_mono_waveform_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=r"expected a mono waveform \[N\], got shape"):
        melody_classes(torch.zeros(shape), RATE_HZ)


@pytest.fixture(scope="module")
def melodious(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    folder = tmp_path_factory.mktemp("melody") / "tiny"
    return load_generator(write_tiny_musicgen(folder, is_melody=True))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two tunes of ten seconds in other rates than the model's."""
    folder = tmp_path_factory.mktemp("recordings")
    paths = [folder / "one.wav", folder / "two.flac"]
    for path, keys in zip(paths, ((60, 64), (69, 66)), strict=True):
        samples = tune(*keys, note_s=5.0, rate_hz=16000)
        soundfile.write(path, samples.numpy(), 16000)
    return paths


def test_a_recording_changes_the_clip_and_text_still_does(
    melodious: Generator, recordings: list[Path]
) -> None:
    asked = [
        ClipRequest("slow piano", 1.0, 1),
        ClipRequest("slow piano", 1.0, 1, recordings[0]),
        ClipRequest("slow piano", 1.0, 1, recordings[1]),
        ClipRequest("fast dance", 1.0, 1, recordings[1]),
    ]
    clips = melodious.generate(asked, melodious.sampling)
    assert {clip.waveform.shape for clip in clips} == {(50 * FRAME_SAMPLES,)}
    for one in range(4):
        for other in range(one):
            assert not np.array_equal(clips[one].codes, clips[other].codes), (one, other)
    (alone,) = melodious.generate([asked[2]], melodious.sampling)
    assert np.array_equal(alone.codes, clips[2].codes)


def test_the_rate_of_the_melody_is_a_hop_of_the_codecs_rate(melodious: Generator) -> None:
    core = melodious.core
    assert isinstance(core, MelodyCore)
    assert core.melody_rate_hz == SAMPLE_RATE_HZ / HOP_SAMPLES


def test_a_musicgen_without_melody_says_so(recordings: list[Path], tmp_path: Path) -> None:
    plain = load_generator(write_tiny_musicgen(tmp_path / "plain"))
    with pytest.raises(RequestError, match="not trained to follow a melody"):
        plain.generate([ClipRequest("slow piano", 1.0, 1, recordings[0])], plain.sampling)


@pytest.mark.parametrize("is_melody", [False, True])
def test_steps_written_for_graphs_give_the_tokens_of_plain_ones(
    tmp_path: Path, is_melody: bool
) -> None:
    core = load_generator(write_tiny_musicgen(tmp_path / "tiny", is_melody=is_melody)).core
    text = torch.tensor([[4, 7, 9, 1], [5, 6, 1, 0]])
    mask = (text != 0).long()
    settings = SamplingSettings(guidance=3.0, top_k=1)
    arguments = (text, torch.zeros(2, 2), 90, settings, [0, 1])
    graphed = Preparation(core, capture=lambda step: step)
    plain = sample_codes(core, *arguments, text_mask=mask)
    for _ in range(2):  # the second time on the tensors of the first
        found = sample_codes(core, *arguments, text_mask=mask, preparation=graphed)
        assert torch.equal(found, plain)
