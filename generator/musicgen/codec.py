"""MusicGen's codec: transformers' EnCodec behind the calls of our own codec, stereo included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from generator.errors import RequestError

if TYPE_CHECKING:
    from transformers import EncodecModel


@dataclass(frozen=True)
class EncodecSizes:
    """What a codec speaks; stereo is left and right as two mono streams per codebook."""

    sample_rate_hz: int
    frame_rate_hz: int
    n_codebooks: int
    codebook_size: int
    n_channels: int = 1
    frame_samples: int = 640


class EncodecCodec(nn.Module):
    """Waveforms to codes [B, K, T] and back; stereo codes are L0 R0 L1 R1 ..."""

    def __init__(self, audio_encoder: EncodecModel, n_channels: int) -> None:
        super().__init__()
        self.audio_encoder: Any = audio_encoder
        config = self.audio_encoder.config
        self.config = EncodecSizes(
            sample_rate_hz=int(config.sampling_rate),
            frame_rate_hz=int(config.frame_rate),
            n_codebooks=n_channels * int(config.num_quantizers),
            codebook_size=int(config.codebook_size),
            n_channels=n_channels,
            frame_samples=int(config.hop_length),
        )

    @torch.inference_mode()
    def encode(self, waveform: Tensor) -> Tensor:
        """Returns codes [B, K, T] of waveforms, [B, N] for mono and [B, 2, N] for stereo."""
        expected = "[B, N]" if self.config.n_channels == 1 else "[B, 2, N]"
        channels = waveform[:, None] if waveform.ndim == 2 else waveform
        if channels.ndim != 3 or channels.shape[1] != self.config.n_channels:
            raise RequestError(
                f"expected waveforms of shape {expected}, got {tuple(waveform.shape)}"
            )
        n_frames = channels.shape[2] // self.config.frame_samples
        if n_frames < 1:
            raise RequestError(
                f"expected at least {self.config.frame_samples} samples, got {channels.shape[2]}"
            )
        whole = channels[:, :, : n_frames * self.config.frame_samples]
        streams = [
            self.audio_encoder.encode(whole[:, channel : channel + 1]).audio_codes[0]
            for channel in range(self.config.n_channels)
        ]
        return torch.stack(streams, dim=2).flatten(1, 2)  # [B, K * channels, T]

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Returns waveforms of codes [B, K, T]: [B, N] for mono and [B, 2, N] for stereo."""
        if codes.ndim != 3 or codes.shape[1] % self.config.n_channels or 0 in codes.shape:
            raise RequestError(
                f"expected codes of shape [B, {self.config.n_codebooks}, T], "
                f"got {tuple(codes.shape)}"
            )
        n_samples = codes.shape[2] * self.config.frame_samples
        channels = []
        for channel in range(self.config.n_channels):
            stream = codes[None, :, channel :: self.config.n_channels]  # [1, B, K, T]
            decoded = self.audio_encoder.decode(stream, [None]).audio_values  # [B, 1, N]
            channels.append(decoded[:, 0, :n_samples])
        return channels[0] if len(channels) == 1 else torch.stack(channels, dim=1)
