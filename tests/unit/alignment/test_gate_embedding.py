"""Which codes an encoder is given: the clips' own, or what its codec hears in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from alignment.errors import AlignmentError
from alignment.gate_embedding import load_embedder, mono_at
from generator.codec.model import load_codec, save_codec
from generator.synthesis import GeneratedClip
from tests.tiny import tiny_codec, write_tiny_checkpoint, write_tiny_encoder

SAMPLE_RATE_HZ = 16_000


def noise_clip(seed: int = 0, n_codebooks: int = 2) -> GeneratedClip:
    """A clip of a second with random codes and a sound that has nothing to do with them."""
    rng = np.random.default_rng(seed)
    return GeneratedClip(
        codes=rng.integers(0, 512, size=(n_codebooks, 25)).astype(np.int16),
        waveform=(0.1 * rng.standard_normal(SAMPLE_RATE_HZ)).astype(np.float32),
        sample_rate_hz=SAMPLE_RATE_HZ,
        header=(),
        unknown_words=(),
        seed=seed,
        duration_s=1.0,
    )


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    return write_tiny_checkpoint(tmp_path / "starter")


@pytest.fixture
def encoder(tmp_path: Path, starter: Path) -> Path:
    return write_tiny_encoder(tmp_path / "encoder", starter)


def other_checkpoint(starter: Path, folder: Path) -> Path:
    """The same checkpoint with another codec."""
    shutil.copytree(starter, folder)
    save_codec(tiny_codec(seed=5), folder)
    return folder


def test_clips_of_the_encoders_codec_are_embedded_by_their_own_codes(
    starter: Path, encoder: Path
) -> None:
    clips = [noise_clip(1), noise_clip(2)]
    embedder = load_embedder(encoder, starter=starter, checkpoints=[starter], clip=clips[0])
    assert embedder.reads == "the clips' own codes"
    vectors = embedder.embed(clips)
    assert vectors.shape == (2, 32)
    assert not np.allclose(vectors[0], vectors[1])


def test_clips_of_another_codec_are_heard_through_the_encoders(
    starter: Path, encoder: Path, tmp_path: Path
) -> None:
    other = other_checkpoint(starter, tmp_path / "other")
    clip = noise_clip()
    embedder = load_embedder(encoder, starter=starter, checkpoints=[starter, other], clip=clip)
    assert embedder.reads == "the clips' sound through the encoder's codec"
    heard = load_codec(starter).encode(torch.from_numpy(clip.waveform)[None]).numpy()[0]
    own = load_embedder(encoder, starter=starter, checkpoints=[starter], clip=clip)
    as_coded = GeneratedClip(
        codes=heard.astype(np.int16),
        waveform=clip.waveform,
        sample_rate_hz=SAMPLE_RATE_HZ,
        header=(),
        unknown_words=(),
        seed=0,
        duration_s=1.0,
    )
    np.testing.assert_allclose(embedder.embed([clip]), own.embed([as_coded]), atol=1e-5)


def test_clips_with_too_few_codebooks_are_heard_too(starter: Path, encoder: Path) -> None:
    clip = noise_clip(n_codebooks=1)
    embedder = load_embedder(encoder, starter=starter, checkpoints=[starter], clip=clip)
    assert embedder.codec is not None


def test_without_an_encoder_or_a_codec_that_it_reads_there_is_no_embedder(
    starter: Path, encoder: Path, tmp_path: Path
) -> None:
    clip = noise_clip()
    with pytest.raises(AlignmentError, match="no representation encoder at nowhere"):
        load_embedder(tmp_path / "nowhere", starter=starter, checkpoints=[starter], clip=clip)
    other = other_checkpoint(starter, tmp_path / "other")
    with pytest.raises(AlignmentError, match="neither these checkpoints nor the starter"):
        load_embedder(encoder, starter=other, checkpoints=[other], clip=clip)
    with pytest.raises(AlignmentError, match="expected a checkpoint of kind encoder"):
        load_embedder(starter, starter=starter, checkpoints=[starter], clip=clip)


def test_sound_is_brought_to_the_codecs_rate_with_its_channels_mixed() -> None:
    stereo = GeneratedClip(
        codes=np.zeros((2, 25), dtype=np.int16),
        waveform=np.stack([np.full(32_000, 0.2), np.full(32_000, 0.4)]).astype(np.float32),
        sample_rate_hz=32_000,
        header=(),
        unknown_words=(),
        seed=0,
        duration_s=1.0,
    )
    mono = mono_at(stereo, SAMPLE_RATE_HZ)
    assert mono.shape == (SAMPLE_RATE_HZ,)
    assert mono[8000] == pytest.approx(0.3, abs=1e-3)
