"""The codec: waveform to codes and back, at 16 kHz and 25 frames a second."""

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from generator.codec.features import InputFeatures, magnitudes
from generator.codec.phase import PhaseReconstruction
from generator.codec.rvq import ResidualQuantiser
from generator.errors import CheckpointError, RequestError
from generator.files import load_weights, read_json, write_json, write_tensors

CONFIG_FILE, WEIGHTS_FILE = "codec.json", "codec.safetensors"
SPECTRA_PER_FRAME = 2
KERNEL = 7
LATENT_KERNEL = 5
N_FRAME_BLOCKS = 2


@dataclass(frozen=True)
class CodecConfig:
    """Sizes of a codec; `width` runs at 50 spectra a second, `frame_width` at 25 frames."""

    sample_rate_hz: int = 16000
    frame_rate_hz: int = 25
    n_codebooks: int = 4
    codebook_size: int = 512
    latent_width: int = 64
    width: int = 224
    frame_width: int = 384
    n_decoder_blocks: int = 4
    n_fft: int = 2048
    short_n_fft: int = 512
    n_mel: int = 40
    n_phase_iterations: int = 3

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            lowest = 0 if field.name == "n_phase_iterations" else 1
            if not isinstance(value, int) or value < lowest:
                raise RequestError(f"{field.name} must be an integer >= {lowest}, got {value!r}")
        if self.sample_rate_hz % (SPECTRA_PER_FRAME * self.frame_rate_hz):
            raise RequestError(
                f"sample_rate_hz must be a multiple of {SPECTRA_PER_FRAME * self.frame_rate_hz}, "
                f"got {self.sample_rate_hz}"
            )
        if self.n_fft < self.hop or self.short_n_fft < self.hop:
            raise RequestError(
                f"n_fft and short_n_fft must be at least {self.hop}, "
                f"got {self.n_fft} and {self.short_n_fft}"
            )

    @property
    def n_channels(self) -> int:
        """Returns 1: stereo is two streams of a mono codec, see generator.stereo."""
        return 1

    @property
    def frame_samples(self) -> int:
        """Returns the samples of one frame of codes."""
        return self.sample_rate_hz // self.frame_rate_hz

    @property
    def hop(self) -> int:
        """Returns the samples between two spectra."""
        return self.frame_samples // SPECTRA_PER_FRAME

    @property
    def encoder_reach(self) -> int:
        """Returns how many frames before and after its own a frame's codes depend on."""
        in_spectra = KERNEL // 2 + 1  # a block and the convolution of width 3
        in_samples = max(self.n_fft, self.short_n_fft) // 2
        return (
            N_FRAME_BLOCKS * (KERNEL // 2)
            + math.ceil(in_spectra / SPECTRA_PER_FRAME)
            + math.ceil(in_samples / self.frame_samples)
        )

    @property
    def decoder_reach(self) -> int:
        """Returns how many frames of codes before and after its own a frame's spectra depend on."""
        in_frames = LATENT_KERNEL // 2 + N_FRAME_BLOCKS * (KERNEL // 2)
        return in_frames + math.ceil(self.n_decoder_blocks * (KERNEL // 2) / SPECTRA_PER_FRAME)

    @property
    def phase_reach(self) -> int:
        """Returns how many frames of spectra around it a frame's sound depends on.

        The peaks' phases, which depend on all that came before, are not counted.
        """
        rounds = self.n_phase_iterations + 1
        return math.ceil(rounds * math.ceil(self.n_fft / self.hop) / SPECTRA_PER_FRAME)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time and a small perceptron per step, added to the input.

    After Liu et al. 2022, arXiv:2201.03545, in one dimension.
    """

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, expansion * width)
        self.fc2 = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, features: Tensor) -> Tensor:
        """Returns [B, width, T] for [B, width, T]."""
        steps = self.norm(self.depthwise(features).transpose(1, 2))
        steps = self.fc2(nn.functional.gelu(self.fc1(steps), approximate="tanh"))
        return features + (self.scale * steps).transpose(1, 2)


class Encoder(nn.Module):
    """Features [B, n_features, 2T] to latents [B, latent_width, T]."""

    def __init__(self, n_features: int, config: CodecConfig) -> None:
        super().__init__()
        width, frame_width = config.width, config.frame_width
        self.layers = nn.Sequential(
            nn.Conv1d(n_features, width, 3, padding=1),
            ConvNeXtBlock(width, 3),
            nn.Conv1d(width, frame_width, SPECTRA_PER_FRAME, stride=SPECTRA_PER_FRAME),
            *(ConvNeXtBlock(frame_width, 2) for _ in range(N_FRAME_BLOCKS)),
            nn.Conv1d(frame_width, config.latent_width, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Returns the latents."""
        latents: Tensor = self.layers(features)
        return latents


class Decoder(nn.Module):
    """Latents [B, latent_width, T] to log magnitudes [B, n_bins, 2T]."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width, frame_width = config.width, config.frame_width
        self.layers = nn.Sequential(
            nn.Conv1d(config.latent_width, frame_width, LATENT_KERNEL, padding=LATENT_KERNEL // 2),
            *(ConvNeXtBlock(frame_width, 2) for _ in range(N_FRAME_BLOCKS)),
            nn.ConvTranspose1d(frame_width, width, SPECTRA_PER_FRAME, stride=SPECTRA_PER_FRAME),
            *(ConvNeXtBlock(width, 3) for _ in range(config.n_decoder_blocks)),
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.n_fft // 2 + 1)

    def forward(self, latents: Tensor) -> Tensor:
        """Returns the natural logarithm of the magnitudes."""
        steps = self.norm(self.layers(latents).transpose(1, 2))
        head: Tensor = self.head(steps).transpose(1, 2)
        return 2.0 * head - 2.0


MAX_LOG_MAGNITUDE = 6.0
# Below this magnitude the decoder cannot tell silence from its own floor; it is turned down.
GATE_BELOW, GATE_FACTOR = 0.02, 0.3


class Codec(nn.Module):
    """Waveforms [B, N] to codes [B, K, T] and back; any prefix of the codebooks decodes."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.features = InputFeatures(
            config.n_fft, config.short_n_fft, config.n_mel, config.hop, config.sample_rate_hz
        )
        self.encoder = Encoder(self.features.n_features, config)
        self.quantiser = ResidualQuantiser(
            config.n_codebooks, config.codebook_size, config.latent_width
        )
        self.decoder = Decoder(config)
        self.phase = PhaseReconstruction(config.n_fft, config.hop, config.n_phase_iterations)

    def spectrum(self, waveform: Tensor) -> Tensor:
        """Returns the magnitudes [B, n_bins, N // hop] that the decoder learns to write."""
        return magnitudes(waveform, self.features.window, self.config.hop)

    @torch.inference_mode()
    def encode(self, waveform: Tensor) -> Tensor:
        """Returns the codes [B, K, T] of waveforms [B, N], T = N // 640."""
        if waveform.ndim != 2 or not waveform.is_floating_point():
            raise RequestError(
                f"expected float waveforms [B, N], got {waveform.dtype} of shape "
                f"{tuple(waveform.shape)}"
            )
        frame_samples = self.config.frame_samples
        n_frames = waveform.shape[1] // frame_samples
        if n_frames < 1:
            raise RequestError(
                f"expected at least {frame_samples} samples, got {waveform.shape[1]}"
            )
        whole = waveform[:, : n_frames * frame_samples].float()
        return self.quantiser.encode(self.encoder(self.features(whole)))

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Returns waveforms [B, T * 640] for codes [B, k, T], 1 <= k <= K."""
        waveform: Tensor = self.phase(self.decoded_spectrum(codes))
        return waveform.clamp(-1.0, 1.0)

    @torch.inference_mode()
    def decoded_spectrum(self, codes: Tensor) -> Tensor:
        """Returns the magnitudes [B, n_bins, 2 T] of codes [B, k, T], 1 <= k <= K."""
        latents = self.quantiser.decode(codes)
        if codes.shape[0] < 1 or codes.shape[2] < 1:
            raise RequestError(f"expected at least one frame, got shape {tuple(codes.shape)}")
        spectrum = self.decoder(latents).float().clamp(max=MAX_LOG_MAGNITUDE).exp()
        return torch.where(spectrum < GATE_BELOW, spectrum * GATE_FACTOR, spectrum)


def save_codec(codec: Codec, folder: Path) -> None:
    """Writes codec.json and codec.safetensors (half precision) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG_FILE, asdict(codec.config))
    write_tensors(folder / WEIGHTS_FILE, codec.state_dict(), torch.float16)


def load_codec(folder: Path) -> Codec:
    """Returns the codec that `save_codec` wrote, in evaluation mode."""
    try:
        config = CodecConfig(**read_json(folder / CONFIG_FILE))
    except (TypeError, RequestError) as exc:
        raise CheckpointError(f"{folder / CONFIG_FILE} is no codec configuration: {exc}") from exc
    codec = Codec(config)
    load_weights(codec, folder / WEIGHTS_FILE)
    return codec.eval()
