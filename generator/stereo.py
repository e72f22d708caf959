"""Stereo: left and right as two streams of a mono codec, codebook by codebook.

The streams stand as L0 R0 L1 R1 ..., and the two of a codebook share their delay (Copet et al.
2023, appendix on stereo, arXiv:2306.05284), so that a step predicts both channels of a codebook.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from generator.codec.model import Codec
from generator.codec.streaming import BLOCK_FRAMES, StreamDecoder, StreamEncoder
from generator.errors import RequestError

N_CHANNELS = 2


def stereo_delays(delays: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the delays of both channels' streams: 0, 0, 1, 1 of 0, 1."""
    return tuple(delay for delay in delays for _ in range(N_CHANNELS))


def interleaved(codes: Tensor) -> Tensor:
    """Returns streams [B, 2 K, T], L0 R0 L1 R1 ..., of codes by channel [2 B, K, T]."""
    pairs, n_codebooks, n_frames = codes.shape
    by_channel = codes.view(pairs // N_CHANNELS, N_CHANNELS, n_codebooks, n_frames)
    return by_channel.transpose(1, 2).reshape(-1, n_codebooks * N_CHANNELS, n_frames)


def by_channel(streams: Tensor) -> Tensor:
    """Returns codes [2 B, K, T], each left before its right, of streams [B, 2 K, T]."""
    if streams.ndim != 3 or streams.shape[1] % N_CHANNELS or not streams.shape[1]:
        raise RequestError(f"expected codes of shape [B, 2 K, T], got {tuple(streams.shape)}")
    batch, n_streams, n_frames = streams.shape
    paired = streams.reshape(batch, n_streams // N_CHANNELS, N_CHANNELS, n_frames)
    return paired.transpose(1, 2).reshape(batch * N_CHANNELS, -1, n_frames)


def swapped(streams: Tensor) -> Tensor:
    """Returns streams [B, 2 K, T] with left and right in each other's place."""
    return interleaved(by_channel(streams).unflatten(0, (-1, N_CHANNELS)).flip(1).flatten(0, 1))


@dataclass(frozen=True)
class StereoSizes:
    """What a stereo codec speaks; both channels' codebooks are counted."""

    sample_rate_hz: int
    frame_rate_hz: int
    n_codebooks: int
    codebook_size: int
    frame_samples: int
    n_channels: int = N_CHANNELS


class StereoCodec(nn.Module):
    """Waveforms [B, 2, N] to codes [B, 2 K, T] and back, by a mono codec for each channel."""

    def __init__(self, mono: Codec) -> None:
        super().__init__()
        self.mono = mono
        self.config = StereoSizes(
            sample_rate_hz=mono.config.sample_rate_hz,
            frame_rate_hz=mono.config.frame_rate_hz,
            n_codebooks=N_CHANNELS * mono.config.n_codebooks,
            codebook_size=mono.config.codebook_size,
            frame_samples=mono.config.frame_samples,
        )

    @torch.inference_mode()
    def encode(self, waveform: Tensor) -> Tensor:
        """Returns the codes [B, 2 K, T] of waveforms [B, 2, N]."""
        return interleaved(self.mono.encode(_channels(waveform)))

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Returns waveforms [B, 2, T * 640] of codes [B, 2 k, T], 1 <= k <= K."""
        return self.mono.decode(by_channel(codes)).unflatten(0, (-1, N_CHANNELS))


def _channels(waveform: Tensor) -> Tensor:
    if waveform.ndim != 3 or waveform.shape[1] != N_CHANNELS:
        raise RequestError(
            f"expected stereo waveforms [B, 2, N], got shape {tuple(waveform.shape)}"
        )
    return waveform.flatten(0, 1)


class StereoStreamEncoder:
    """Codes [B, 2 K, t] of stereo waveforms that arrive in blocks."""

    def __init__(self, codec: StereoCodec, block_frames: int = BLOCK_FRAMES) -> None:
        self._mono = StreamEncoder(codec.mono, block_frames)

    def push(self, waveform: Tensor) -> Tensor | None:
        """Returns the codes [B, 2 K, t] that more samples [B, 2, n] complete, if any."""
        codes = self._mono.push(_channels(waveform))
        return None if codes is None else interleaved(codes)

    def finish(self) -> Tensor | None:
        """Returns the codes [B, 2 K, t] of what is left, None if all is coded."""
        codes = self._mono.finish()
        return None if codes is None else interleaved(codes)


class StereoStreamDecoder:
    """Stereo waveforms [B, 2, n] of codes that arrive in blocks."""

    def __init__(self, codec: StereoCodec, block_frames: int = BLOCK_FRAMES) -> None:
        self._mono = StreamDecoder(codec.mono, block_frames)

    def push(self, codes: Tensor) -> Tensor | None:
        """Returns the waveform [B, 2, n] that more codes [B, 2 k, t] complete, if any."""
        waveform = self._mono.push(by_channel(codes))
        return None if waveform is None else waveform.unflatten(0, (-1, N_CHANNELS))

    def finish(self) -> Tensor | None:
        """Returns the waveform [B, 2, n] of what is left, None if all is decoded."""
        waveform = self._mono.finish()
        return None if waveform is None else waveform.unflatten(0, (-1, N_CHANNELS))
