"""Coding in blocks equals coding at once, in memory that does not grow with the length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import resample_poly
from torch import Tensor

from generator.__main__ import main
from generator.codec.coding import decoded_blocks, encoded_blocks, open_codes
from generator.codec.features import magnitudes
from generator.codec.model import SPECTRA_PER_FRAME, Codec, CodecConfig
from generator.codec.streaming import StreamDecoder, StreamEncoder
from generator.errors import RequestError
from generator.recordings import Resampler, read_recording, recording_blocks
from tests.tiny import randomise, write_tiny_checkpoint

SMALL = CodecConfig(width=16, frame_width=16, latent_width=8, n_decoder_blocks=1, codebook_size=16)
SHORT = CodecConfig(
    width=16, frame_width=16, latent_width=8, codebook_size=16, n_fft=1024, n_phase_iterations=1
)
FRAME = SMALL.frame_samples
RATE_HZ = SMALL.sample_rate_hz


def small_codec(config: CodecConfig = SMALL) -> Codec:
    """Returns a random codec whose blocks and decoder matter as much as a trained one's."""
    torch.manual_seed(3)
    codec = Codec(config)
    randomise(codec)
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if name.endswith("scale"):
                parameter.fill_(1.0)
        codec.decoder.head.weight.mul_(3.0)
    return codec.eval()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return small_codec()


def tune(n_samples: int, seed: int = 0) -> Tensor:
    """Returns a waveform [1, n_samples] of notes that change every 0.2 s."""
    generator = torch.Generator().manual_seed(seed)
    n_notes = n_samples // 3200 + 1
    keys = torch.randint(48, 84, (n_notes,), generator=generator).repeat_interleave(3200)
    pitch_hz = 440 * 2 ** ((keys[:n_samples] - 69) / 12)
    turned = torch.cumsum(pitch_hz.double() / RATE_HZ, 0)
    tone = torch.sin(2 * torch.pi * turned) + 0.3 * torch.sin(4 * torch.pi * turned)
    noise = 0.01 * torch.randn(n_samples, generator=generator)
    return (0.2 * tone + noise).float()[None]


def random_codes(n_frames: int, n_codebooks: int = 4) -> Tensor:
    held = torch.randint(
        0, 16, (1, n_codebooks, n_frames // 5 + 1), generator=torch.Generator().manual_seed(1)
    )
    return held.repeat_interleave(5, dim=2)[:, :, :n_frames]


def pieces(stream: Tensor, size: int) -> Iterator[Tensor]:
    for start in range(0, stream.shape[-1], size):
        yield stream[..., start : start + size]


def streamed(coder: StreamEncoder | StreamDecoder, stream: Tensor, size: int) -> Tensor:
    parts = [coder.push(piece) for piece in pieces(stream, size)] + [coder.finish()]
    return torch.cat([part for part in parts if part is not None], dim=-1)


@pytest.mark.parametrize("size", [1, 639, 16000, 400_000])
@pytest.mark.parametrize("block_frames", [7, 50])
def test_codes_of_blocks_are_the_codes_of_the_whole(
    codec: Codec, size: int, block_frames: int
) -> None:
    waveform = tune(300 * FRAME + 77) if size > 1 else tune(40 * FRAME)
    whole = codec.encode(waveform)
    assert len(whole.unique()) > 8
    assert torch.equal(streamed(StreamEncoder(codec, block_frames), waveform, size), whole)


@pytest.mark.parametrize("size", [1, 13, 1000])
@pytest.mark.parametrize("n_codebooks", [1, 4])
def test_the_sound_of_blocks_is_the_sound_of_the_whole(
    codec: Codec, size: int, n_codebooks: int
) -> None:
    codes = random_codes(200, n_codebooks)
    whole = codec.decode(codes)
    assert float(whole.abs().mean()) > 1e-3
    parts = streamed(StreamDecoder(codec, 20), codes, size)
    assert parts.shape == whole.shape
    assert float((parts - whole).abs().mean()) < 1e-3 * float(whole.abs().mean())


def test_no_block_border_can_be_heard(codec: Codec) -> None:
    codes = random_codes(400)
    whole, parts = codec.decode(codes), streamed(StreamDecoder(codec, 25), codes, 25)
    spectra = [
        torch.log(magnitudes(waveform, codec.features.window, codec.config.hop) + 1e-3)
        for waveform in (whole, parts)
    ]
    distance_db = 8.686 * (spectra[0] - spectra[1]).pow(2).mean(dim=1).sqrt()[0]
    border = torch.arange(len(distance_db)) % (25 * SPECTRA_PER_FRAME) < 4
    assert float(distance_db[border].mean()) < 0.1
    assert float(distance_db[border].mean()) < 1.5 * float(distance_db.mean()) + 1e-3


@pytest.mark.parametrize("config", [SMALL, SHORT])
def test_a_frame_depends_on_no_more_than_its_stated_reach(config: CodecConfig) -> None:
    codec, middle = small_codec(config), 60
    latents = torch.randn(1, 8, 120, generator=torch.Generator().manual_seed(0))
    moved = latents.clone()
    moved[:, :, middle] += 5.0
    with torch.inference_mode():
        changed = (codec.decoder(moved) - codec.decoder(latents)).abs().amax(dim=(0, 1)) > 1e-6
    reach = changed.nonzero()[:, 0] // SPECTRA_PER_FRAME - middle
    assert -config.decoder_reach <= int(reach.min()) and int(reach.max()) <= config.decoder_reach
    assert int(reach.max()) >= config.decoder_reach - 2

    waveform = tune(120 * config.frame_samples)
    louder = waveform.clone()
    louder[:, middle * config.frame_samples : (middle + 1) * config.frame_samples] += 0.5
    with torch.inference_mode():
        before, after = (codec.encoder(codec.features(w)) for w in (waveform, louder))
    reach = ((after - before).abs().amax(dim=(0, 1)) > 1e-6).nonzero()[:, 0] - middle
    assert -config.encoder_reach <= int(reach.min()) and int(reach.max()) <= config.encoder_reach
    assert int(reach.max()) >= config.encoder_reach - 2

    spectrum = codec.decoded_spectrum(random_codes(120))
    phase, _ = codec.phase.peak_phase(spectrum)
    at = middle * SPECTRA_PER_FRAME
    turned = phase.clone()
    turned[:, :, at : at + SPECTRA_PER_FRAME] *= 1j
    difference = (codec.phase.agree(spectrum, turned) - codec.phase.agree(spectrum, phase)).abs()
    frames = difference[0].view(-1, config.frame_samples).amax(dim=1)
    reach = (frames > 1e-6).nonzero()[:, 0] - middle
    assert -config.phase_reach <= int(reach.min()) and int(reach.max()) <= config.phase_reach


def test_phases_go_on_where_the_block_before_ended(codec: Codec) -> None:
    spectrum = codec.decoded_spectrum(random_codes(60))
    whole, last = codec.phase.peak_phase(spectrum)
    first, turning = codec.phase.peak_phase(spectrum[..., :50])
    second, end = codec.phase.peak_phase(spectrum[..., 50:], turning)
    assert torch.equal(torch.cat([first, second], dim=2), whole)
    assert torch.equal(end.phase, last.phase)


def widest_inputs(codec: Codec, n_frames: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Returns the longest stretch that each part of a codec was given while coding in blocks."""
    widest: dict[str, int] = {}

    def watch(owner: Any, name: str) -> None:
        plain = getattr(owner, name)

        def watched(stream: Tensor, *rest: Any) -> Any:
            widest[name] = max(widest.get(name, 0), stream.shape[-1])
            return plain(stream, *rest)

        monkeypatch.setattr(owner, name, watched)

    watch(codec, "encode")
    watch(codec, "decoded_spectrum")
    watch(codec.phase, "peak_phase")
    watch(codec.phase, "agree")
    encoder, decoder = StreamEncoder(codec, 20), StreamDecoder(codec, 20)
    waveform = torch.zeros(1, 10 * FRAME)
    for _ in range(n_frames // 10):
        codes = encoder.push(waveform)
        if codes is not None:
            decoder.push(codes)
        assert encoder._samples.kept is not None
        widest["kept samples"] = max(
            widest.get("kept samples", 0), encoder._samples.kept.untyped_storage().nbytes()
        )
        for stream in (decoder._codes, decoder._spectrum, decoder._phase):
            if stream.kept is not None:
                widest["kept"] = max(widest.get("kept", 0), stream.kept.untyped_storage().nbytes())
    rest = encoder.finish()
    assert rest is not None
    decoder.push(rest)
    decoder.finish()
    monkeypatch.undo()
    return widest


def test_memory_does_not_grow_with_the_length(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = widest_inputs(codec, 200, monkeypatch)
    long = widest_inputs(codec, 2000, monkeypatch)
    assert short == long
    config = codec.config
    assert long["encode"] <= (20 + 2 * config.encoder_reach) * FRAME
    assert long["decoded_spectrum"] <= 20 + 2 * config.decoder_reach
    assert long["agree"] <= SPECTRA_PER_FRAME * (20 + 2 * config.phase_reach)


def test_streams_refuse_what_does_not_fit(codec: Codec) -> None:
    with pytest.raises(RequestError, match="at least 640 samples, got 0"):
        StreamEncoder(codec).finish()
    with pytest.raises(RequestError, match=r"float waveforms \[B, n\], got torch.int16"):
        StreamEncoder(codec).push(torch.zeros(1, 5, dtype=torch.int16))
    with pytest.raises(RequestError, match="at least one frame, got none"):
        StreamDecoder(codec).finish()
    decoder = StreamDecoder(codec)
    decoder.push(random_codes(3))
    with pytest.raises(RequestError, match=r"of shape \[1, 4, 'n'\], as before, got \[1, 2, 5\]"):
        decoder.push(random_codes(5, 2))
    with pytest.raises(RequestError, match="block_frames is at least 1, got 0"):
        StreamEncoder(codec, 0)
    wrong = StreamDecoder(codec)
    wrong.push(torch.full((1, 2, 30), 16))
    with pytest.raises(RequestError, match="expected codes 0 to 15, got 16 to 16"):
        wrong.finish()


@pytest.mark.parametrize("from_hz", [8000, 11025, 22050, 44100, 48000, 16000])
def test_resampling_by_blocks_equals_resampling_at_once(from_hz: int) -> None:
    samples = np.random.default_rng(0).normal(size=(2, from_hz + 123)).astype(np.float32)
    resampler = Resampler(from_hz, RATE_HZ, 2)
    blocks = np.array_split(samples, 17, axis=1)
    made = np.concatenate([*(resampler.push(b) for b in blocks), resampler.finish()], axis=1)
    divisor = int(np.gcd(from_hz, RATE_HZ))
    whole = resample_poly(samples, RATE_HZ // divisor, from_hz // divisor, axis=1)
    assert made.shape == whole.shape
    assert np.abs(made - whole).max() < 1e-5


def write_tone(path: Path, rate_hz: int, n_channels: int, seconds: float = 1.5) -> Path:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    tone = 0.4 * np.sin(2 * np.pi * 440 * time_s)
    channels = np.stack([tone, *[0.5 * tone] * (n_channels - 1)], axis=1)
    soundfile.write(path, channels, rate_hz)
    return path


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize(("rate_hz", "n_channels"), [(44100, 2), (16000, 1)])
def test_recordings_of_many_kinds_are_read_mixed_and_resampled(
    tmp_path: Path, name: str, rate_hz: int, n_channels: int
) -> None:
    path = write_tone(tmp_path / name, rate_hz, n_channels)
    waveform = read_recording(path, RATE_HZ)
    assert abs(len(waveform) - 24000) < 2000  # MP3 adds a little silence
    spectrum = np.abs(np.fft.rfft(waveform[4000:20000]))
    assert int(spectrum.argmax()) == 440
    middle = waveform[8000:16000]
    loudness = 0.4 * (1 + 0.5 * (n_channels - 1)) / n_channels / 2**0.5
    assert np.sqrt((middle**2).mean()) == pytest.approx(loudness, rel=0.05)


def test_two_channels_can_be_kept(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav", 16000, 2)
    blocks = np.concatenate(list(recording_blocks(path, RATE_HZ, n_channels=2)), axis=1)
    assert np.allclose(blocks[1], 0.5 * blocks[0], atol=1e-3)
    mono = write_tone(tmp_path / "mono.wav", 16000, 1)
    blocks = np.concatenate(list(recording_blocks(mono, RATE_HZ, n_channels=2)), axis=1)
    assert np.array_equal(blocks[0], blocks[1])


def bad_recording(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.wav"
    tone = np.zeros(16000, np.float32)
    match kind:
        case "text":
            path.write_text("not a recording")
        case "empty":
            path.write_bytes(b"")
        case "silent":
            soundfile.write(path, tone[:0], 16000)
        case "nan":
            tone[9000] = np.nan
            soundfile.write(path, tone, 16000, subtype="FLOAT")
        case "slow":
            soundfile.write(path, tone, 100)
        case "folder":
            path.mkdir()
        case "cut":
            path = path.with_suffix(".flac")
            noise = 0.1 * np.random.default_rng(0).normal(size=160_000)
            soundfile.write(path, noise, 16000)
            path.write_bytes(path.read_bytes()[:100_000])
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "is missing, not a recording"),
        ("folder", "is a folder, not a recording"),
        ("text", "not readable as WAV, FLAC, OGG or MP3"),
        ("empty", "not readable as WAV, FLAC, OGG or MP3"),
        ("silent", "holds no sound"),
        ("nan", "holds NaN or infinite samples after 0 s"),
        ("slow", "has 100 samples a second, expected 1000 to 768000"),
        ("cut", "it is cut off|is not readable as"),
    ],
)
def test_recordings_that_cannot_be_read_are_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, said: str
) -> None:
    path = bad_recording(tmp_path, kind)
    with pytest.raises(RequestError, match=said):
        read_recording(path, RATE_HZ)
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny")
    out = tmp_path / "codes.npy"
    assert main(["encode", str(path), "--out", str(out), "--checkpoint", str(checkpoint)]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("error: ")
    assert {entry.name for entry in tmp_path.iterdir()} <= {"tiny", path.name}


def test_a_recording_of_less_than_a_frame_is_refused(tmp_path: Path, codec: Codec) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, np.zeros(639), RATE_HZ)
    with pytest.raises(RequestError, match="is too short: expected at least 640 samples, got 639"):
        list(encoded_blocks(codec, path))


def test_a_long_recording_can_be_refused(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav", 16000, 1, seconds=3.0)
    with pytest.raises(RequestError, match="is longer than 2 s"):
        read_recording(path, RATE_HZ, most_s=2.0)


def test_encode_and_decode_go_through_files(tmp_path: Path) -> None:
    checkpoint = ["--checkpoint", str(write_tiny_checkpoint(tmp_path / "tiny"))]
    recording = write_tone(tmp_path / "in.flac", 22050, 2, seconds=25.0)
    codes_file, out = tmp_path / "codes.npy", tmp_path / "out.wav"
    assert main(["encode", str(recording), "--out", str(codes_file), *checkpoint]) == 0
    codes = np.load(codes_file)
    assert (codes.shape, codes.dtype) == ((4, 625), np.int16)
    first: np.ndarray | None = None
    for n_codebooks in (2, 4):
        arguments = ["decode", str(codes_file), "--out", str(out), *checkpoint]
        assert main([*arguments, "--codebooks", str(n_codebooks)]) == 0
        samples, rate_hz = soundfile.read(out)
        assert (len(samples), rate_hz) == (625 * 640, 16000)
        assert first is None or not np.array_equal(samples, first)
        first = samples


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (np.zeros((4, 10)), "holds float64, expected whole numbers"),
        (np.zeros((1, 4, 10), int), r"expected codes \[K, T\] in .*, got shape \(1, 4, 10\)"),
        (np.zeros((4, 0), int), r"got shape \(4, 0\)"),
        (np.array([None]), "is no .npy file of codes"),
        (None, "is no .npy file of codes"),
    ],
)
def test_files_that_hold_no_codes_are_refused(
    tmp_path: Path, codes: np.ndarray | None, said: str
) -> None:
    path = tmp_path / "codes.npy"
    if codes is None:
        path.write_bytes(b"\x93NUMPY half")
    else:
        np.save(path, codes, allow_pickle=True)
    with pytest.raises(RequestError, match=said):
        open_codes(path)
    with pytest.raises(RequestError, match="missing"):
        open_codes(tmp_path / "none.npy")


@pytest.mark.parametrize(
    ("n_streams", "n_codebooks", "said"),
    [(4, 0, "1 to 4, got 0"), (4, 5, "1 to 4, got 5"), (2, 3, "1 to 2, got 3"), (6, None, "got 6")],
)
def test_only_codebooks_that_are_there_can_be_decoded(
    codec: Codec, n_streams: int, n_codebooks: int | None, said: str
) -> None:
    with pytest.raises(RequestError, match=f"codebooks are .*{said}"):
        list(decoded_blocks(codec, np.zeros((n_streams, 10), np.int16), n_codebooks))
