"""Two channels are two streams of one codec: they swap, train, sample and play as such."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from generator.__main__ import main
from generator.audio import write_wav
from generator.checkpoints import read_card, save_core, write_card
from generator.codec.model import save_codec
from generator.errors import CheckpointError, RequestError
from generator.lm.batches import TokenisedClips
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.lm.starter import StarterConfig, StarterCore
from generator.lm.training import Trainer, TrainingConfig
from generator.requests import ClipRequest
from generator.stereo import (
    StereoCodec,
    StereoStreamDecoder,
    StereoStreamEncoder,
    by_channel,
    interleaved,
    stereo_delays,
    swapped,
)
from generator.stories import PieceRequest, Section, generate_piece
from generator.synthesis import load_generator
from generator.text.header import encode_header
from generator.text.planner import save_planner
from tests.tiny import TINY_CORE, tiny_codec, tiny_core, tiny_planner

STEREO_CORE = replace(TINY_CORE, delays=(0, 0, 1, 1))
PROMPT = "a slow ballad on piano"


@pytest.fixture(scope="module")
def codec() -> StereoCodec:
    return StereoCodec(tiny_codec())


def noise(n_clips: int, n_samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    loudness = torch.tensor([[[0.3], [0.05]]])
    return loudness * torch.randn(n_clips, 2, n_samples, generator=generator)


def write_stereo_checkpoint(folder: Path, config: StarterConfig = STEREO_CORE) -> Path:
    folder.mkdir(exist_ok=True)
    save_codec(tiny_codec(), folder)
    save_core(tiny_core(config=config), folder)
    save_planner(tiny_planner(), folder)
    write_card(folder, name="stereo", kind="full", licence="Apache-2.0", channels=2)
    return folder


def test_streams_stand_left_right_codebook_by_codebook() -> None:
    codes = torch.arange(2 * 3 * 2).view(2, 3, 2)  # left and right of one clip, 3 codebooks
    streams = interleaved(codes)
    assert streams.tolist() == [[[0, 1], [6, 7], [2, 3], [8, 9], [4, 5], [10, 11]]]
    assert torch.equal(by_channel(streams), codes)
    assert swapped(streams)[0, :2].tolist() == [[6, 7], [0, 1]]
    many = torch.randint(0, 9, (6, 4, 7))
    assert torch.equal(by_channel(interleaved(many)), many)
    assert torch.equal(swapped(swapped(interleaved(many))), interleaved(many))
    assert stereo_delays((0, 1)) == (0, 0, 1, 1)
    assert stereo_delays((0, 1, 2, 3)) == (0, 0, 1, 1, 2, 2, 3, 3)


def test_swapping_channels_swaps_codes_and_sound(codec: StereoCodec) -> None:
    waveform = noise(2, 12 * 640)
    codes = codec.encode(waveform)
    assert codes.shape == (2, 8, 12)
    assert not torch.equal(codes[:, 0::2], codes[:, 1::2])
    assert torch.equal(codec.encode(waveform.flip(1)), swapped(codes))
    sound = codec.decode(codes)
    assert sound.shape == waveform.shape
    assert torch.allclose(codec.decode(swapped(codes)), sound.flip(1), atol=1e-5)


def test_each_channel_is_what_the_mono_codec_makes_of_it(codec: StereoCodec) -> None:
    waveform = noise(1, 12 * 640)
    codes = codec.encode(waveform)
    assert torch.equal(codes[:, 0::2], codec.mono.encode(waveform[:, 0]))
    assert torch.equal(codes[:, 1::2], codec.mono.encode(waveform[:, 1]))
    two = codec.decode(codes[:, :4])
    assert torch.allclose(two[:, 1], codec.mono.decode(codes[:, 1:4:2]), atol=1e-5)


def test_stereo_streams_equal_stereo_at_once(codec: StereoCodec) -> None:
    waveform = noise(1, 90 * 640)
    encoder, decoder = StereoStreamEncoder(codec, 10), StereoStreamDecoder(codec, 10)
    parts = [encoder.push(part) for part in waveform.split(5000, dim=2)] + [encoder.finish()]
    codes = torch.cat([part for part in parts if part is not None], dim=2)
    assert torch.equal(codes, codec.encode(waveform))
    parts = [decoder.push(part) for part in codes.split(7, dim=2)] + [decoder.finish()]
    sound = torch.cat([part for part in parts if part is not None], dim=2)
    assert float((sound - codec.decode(codes)).abs().mean()) < 1e-4


@pytest.mark.parametrize("shape", [(1, 6400), (1, 1, 6400), (1, 3, 6400)])
def test_waveforms_that_are_not_stereo_are_refused(
    codec: StereoCodec, shape: tuple[int, ...]
) -> None:
    with pytest.raises(RequestError, match=r"\[B, 2, N\], got shape"):
        codec.encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 3, 10), (2, 10), (1, 0, 10)])
def test_codes_that_are_not_pairs_are_refused(codec: StereoCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=r"expected codes of shape \[B, 2 K, T\], got"):
        codec.decode(torch.zeros(shape, dtype=torch.int64))


def echoing_clips(n_clips: int) -> TokenisedClips:
    """Returns clips whose right channel says what its left says, one higher."""
    rng = np.random.default_rng(0)
    left = rng.integers(0, 3, (2, 40 * n_clips)) * 10
    streams = np.stack([left[0], left[0] + 1, left[1], left[1] + 1])
    return TokenisedClips(
        codes=streams,
        silence=np.zeros(4, np.int64),
        headers=np.array([encode_header({"lead": "piano"})] * n_clips),
        starts=40 * np.arange(n_clips),
        n_frames=np.full(n_clips, 40),
    )


def test_a_stereo_core_trains_and_samples(tmp_path: Path) -> None:
    torch.manual_seed(0)
    core = StarterCore(STEREO_CORE)
    config = TrainingConfig(
        minutes=None,
        max_steps=60,
        batch_size=8,
        n_frames=40,
        n_validation_clips=8,
        warmup_steps=3,
        log_seconds=1e9,
        save_seconds=1e9,
        bfloat16=False,
        codebook_weights=(1.2, 1.2, 0.8, 0.8),
    )
    Trainer(core=core, clips=echoing_clips(40), config=config, folder=tmp_path).run()
    core.eval()
    text = torch.tensor([encode_header({"lead": "piano"})] * 4)
    seconds = torch.tensor([[0.0, 1.6]] * 4)
    codes = sample_codes(core, text, seconds, 40, SamplingSettings(guidance=1.0), [0, 1, 2, 3])
    assert codes.shape == (4, 4, 40)
    used = {int(code) for code in codes[:, 0].unique()}
    assert len(used & {0, 10, 20}) >= 2
    share = float(torch.isin(codes[:, 1], torch.tensor([1, 11, 21])).float().mean())
    assert share > 0.9


def test_a_stereo_checkpoint_says_so_and_plays_both_channels(tmp_path: Path) -> None:
    folder = write_stereo_checkpoint(tmp_path / "stereo")
    assert read_card(folder).channels == 2
    generator = load_generator(folder)
    (clip,) = generator.generate([ClipRequest(PROMPT, 2.0, 3)], SamplingSettings())
    assert (clip.codes.shape, clip.waveform.shape) == ((4, 50), (2, 32000))
    assert not np.array_equal(clip.waveform[0], clip.waveform[1])
    request = PieceRequest((Section(0, PROMPT),), 2.0, 3)
    (block,) = generate_piece(generator, request, SamplingSettings())
    assert np.array_equal(block.codes, clip.codes)
    assert block.waveform is not None
    assert np.abs(block.waveform - clip.waveform).mean() < 1e-4
    arguments = ["generate", PROMPT, "--checkpoint", str(folder), "--out", str(tmp_path)]
    for seconds in ("2", "31"):
        assert main([*arguments, "--seconds", seconds, "--guidance", "1"]) == 0
        samples, _ = soundfile.read(tmp_path / "clip-0.wav")
        assert samples.shape == (int(seconds) * 16000, 2)


def test_an_odd_number_of_streams_is_no_stereo(tmp_path: Path) -> None:
    folder = write_stereo_checkpoint(
        tmp_path / "odd", config=replace(STEREO_CORE, delays=(0, 0, 1))
    )
    with pytest.raises(CheckpointError, match="share the core's streams evenly, got 3 streams"):
        load_generator(folder)


def test_a_card_of_other_channels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"channels are one of \(1, 2\), got 3"):
        folder = write_stereo_checkpoint(tmp_path / "stereo")
        write_card(folder, name="odd", kind="full", licence="Apache-2.0", channels=3)


def test_stereo_is_written_as_two_channels(tmp_path: Path) -> None:
    waveform = np.stack([np.full(100, 0.5, np.float32), np.full(100, -0.25, np.float32)])
    write_wav(tmp_path / "a.wav", waveform, 16000)
    samples, _ = soundfile.read(tmp_path / "a.wav")
    assert np.allclose(samples.T, waveform, atol=1e-4)
