"""The codec's contract: shapes, prefixes, determinism, errors, and its files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from generator.codec.model import Codec, CodecConfig, load_codec, save_codec
from generator.errors import CheckpointError, RequestError

SMALL = CodecConfig(width=16, frame_width=16, latent_width=8, n_decoder_blocks=1, codebook_size=16)


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(3)
    return Codec(SMALL).eval()


def noise(n_clips: int, n_samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(n_clips, n_samples, generator=torch.Generator().manual_seed(seed))


def random_codes(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 16, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n_samples", "n_frames"), [(640, 1), (1279, 1), (1280, 2), (16000, 25)])
def test_encode_gives_one_frame_of_four_codes_per_640_samples(
    codec: Codec, n_samples: int, n_frames: int
) -> None:
    codes = codec.encode(noise(2, n_samples))
    assert codes.shape == (2, 4, n_frames)
    assert codes.dtype == torch.int64
    assert int(codes.min()) >= 0 and int(codes.max()) < 16


@pytest.mark.parametrize("n_codebooks", [1, 2, 3, 4])
def test_any_prefix_of_the_codebooks_decodes(codec: Codec, n_codebooks: int) -> None:
    waveform = codec.decode(random_codes(2, n_codebooks, 10))
    assert waveform.shape == (2, 6400)
    assert waveform.dtype == torch.float32
    assert torch.isfinite(waveform).all()
    assert float(waveform.abs().max()) <= 1.0


def test_decoding_does_not_depend_on_the_global_random_state(codec: Codec) -> None:
    codes = random_codes(1, 4, 20)
    torch.manual_seed(1)
    first = codec.decode(codes)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = codec.decode(codes)
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())


def test_a_clip_decodes_the_same_alone_and_in_a_batch(codec: Codec) -> None:
    codes = random_codes(3, 2, 30)
    together = codec.decode(codes)
    alone = codec.decode(codes[1:2])
    # Peaks that lie on a rounding error may turn otherwise; loudness and shape must not.
    assert float((together[1] - alone[0]).abs().mean()) < 1e-3


def test_silence_is_coded_and_stays_finite(codec: Codec) -> None:
    codes = codec.encode(torch.zeros(1, 6400))
    assert torch.isfinite(codec.decode(codes)).all()


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (torch.zeros(4, 10, dtype=torch.int64), r"\(4, 10\)"),
        (torch.zeros(1, 5, 10, dtype=torch.int64), r"1 to 4, T\], got shape \(1, 5, 10\)"),
        (torch.zeros(1, 0, 10, dtype=torch.int64), r"\(1, 0, 10\)"),
        (torch.zeros(1, 2, 0, dtype=torch.int64), r"\(1, 2, 0\)"),
        (torch.full((1, 2, 3), 16), "expected codes 0 to 15, got 16 to 16"),
        (torch.full((1, 2, 3), -1), "got -1 to -1"),
    ],
)
def test_codes_of_a_wrong_shape_or_range_are_refused_with_both_numbers(
    codec: Codec, codes: torch.Tensor, said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        codec.decode(codes)


@pytest.mark.parametrize(
    ("waveform", "said"),
    [
        (torch.zeros(6400), r"\(6400,\)"),
        (torch.zeros(1, 639), "at least 640 samples, got 639"),
        (torch.zeros(1, 640, dtype=torch.int16), "torch.int16"),
    ],
)
def test_waveforms_that_cannot_be_coded_are_refused(
    codec: Codec, waveform: torch.Tensor, said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        codec.encode(waveform)


def test_a_saved_codec_loads_and_codes_alike(codec: Codec, tmp_path: Path) -> None:
    save_codec(codec, tmp_path)
    loaded = load_codec(tmp_path)
    assert loaded.config == SMALL
    assert not loaded.training
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    again = tmp_path / "again"
    save_codec(loaded, again)
    twice = load_codec(again)
    waveform = noise(1, 16000)
    assert torch.equal(loaded.encode(waveform), twice.encode(waveform))
    agreement = (loaded.encode(waveform) == codec.encode(waveform))[:, 0].float().mean()
    assert float(agreement) > 0.9


def test_weights_are_stored_in_half_precision(codec: Codec, tmp_path: Path) -> None:
    save_codec(codec, tmp_path)
    n_values = sum(tensor.numel() for tensor in codec.state_dict().values())
    size = (tmp_path / "codec.safetensors").stat().st_size
    assert 2 * n_values < size < 2 * n_values + 20_000


def test_a_folder_without_weights_or_with_a_foreign_configuration_is_refused(
    codec: Codec, tmp_path: Path
) -> None:
    save_codec(codec, tmp_path)
    (tmp_path / "codec.json").write_text(json.dumps({"widht": 3}))
    with pytest.raises(CheckpointError, match=r"codec\.json"):
        load_codec(tmp_path)
    save_codec(codec, tmp_path)
    (tmp_path / "codec.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"codec\.safetensors"):
        load_codec(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_codebooks": 0}, "n_codebooks"),
        ({"sample_rate_hz": 16010}, "multiple of 50, got 16010"),
        ({"n_fft": 256}, "at least 320"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(changes: dict[str, int], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        CodecConfig(**changes)


def test_a_tone_keeps_its_magnitudes_through_phase_reconstruction(codec: Codec) -> None:
    time_s = torch.arange(16000) / 16000
    tone = 0.2 * torch.sin(2 * np.pi * 440 * time_s) + 0.1 * torch.sin(2 * np.pi * 660 * time_s)
    spectrum = codec.spectrum(tone[None])
    with torch.inference_mode():
        again = codec.spectrum(codec.phase(spectrum))
    inner = slice(5, -5)
    error = (again - spectrum)[..., inner].norm() / spectrum[..., inner].norm()
    assert float(error) < 0.1
