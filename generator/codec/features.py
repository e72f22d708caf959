"""Spectra that the codec reads and writes: short-time transforms and band filters."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def magnitudes(waveform: Tensor, window: Tensor, hop: int) -> Tensor:
    """Returns magnitude spectra of [B, N] as [B, n_fft // 2 + 1, N // hop]."""
    n_fft = len(window)
    edge = (n_fft - hop) // 2
    padded = F.pad(waveform, (edge, n_fft - hop - edge))
    return torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True).abs()


def triangles(edges_hz: Tensor, n_fft: int, sample_rate_hz: int) -> Tensor:
    """Returns triangular bands with these edges, [len(edges) - 2, n_fft // 2 + 1]."""
    bins_hz = torch.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1)
    low, mid, high = (edges_hz[i : len(edges_hz) - 2 + i, None] for i in range(3))
    rising = (bins_hz - low) / (mid - low)
    falling = (high - bins_hz) / (high - mid)
    return torch.minimum(rising, falling).clamp(min=0)


def pitch_bands(n_fft: int, sample_rate_hz: int) -> Tensor:
    """Returns bands a spectral line wide at the bottom, a third of a semitone from 1 kHz up.

    Below 1 kHz a third of a semitone is finer than the transform resolves, so single lines are
    taken; two octaves follow in thirds of a semitone and the rest in 24 wide bands.
    """
    spacing_hz = sample_rate_hz / n_fft
    lines = torch.arange(4, 130) * spacing_hz
    thirds = lines[-1] * 2 ** (torch.arange(1, 73) / 36)
    last_hz = float(thirds[-1])
    wide = torch.logspace(
        torch.log10(torch.tensor(last_hz * 1.03)).item(),
        torch.log10(torch.tensor(sample_rate_hz * 0.494)).item(),
        24,
    )
    return triangles(torch.cat([lines, thirds, wide]), n_fft, sample_rate_hz)


def mel_bands(n_bands: int, n_fft: int, sample_rate_hz: int) -> Tensor:
    """Returns bands equally wide on the mel scale, [n_bands, n_fft // 2 + 1]."""
    top = 2595 * torch.log10(torch.tensor(1 + sample_rate_hz / 2 / 700))
    mels = torch.linspace(0, float(top), n_bands + 2)
    return triangles(700 * (10 ** (mels / 2595) - 1), n_fft, sample_rate_hz)


LOWEST_SEMITONE, N_SEMITONES = 36, 61


def semitone_bands(n_fft: int, sample_rate_hz: int) -> Tensor:
    """Returns one triangular band a semitone, from key 36 to key 96, [61, n_fft // 2 + 1].

    Each band is scaled by the root of its width, so that bands hold comparable energy.
    """
    bins_hz = torch.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1).clamp(min=1)
    keys = 12 * torch.log2(bins_hz / 440) + 69
    centres = LOWEST_SEMITONE + torch.arange(N_SEMITONES)[:, None]
    bands = (1 - (keys - centres).abs()).clamp(min=0)
    return bands / bands.sum(dim=1, keepdim=True).clamp(min=1).sqrt()


class InputFeatures(nn.Module):
    """Log energies in pitch bands and mel bands, [B, n_features, N // hop]."""

    window: Tensor
    short_window: Tensor
    pitch: Tensor
    mel: Tensor

    def __init__(
        self, n_fft: int, short_n_fft: int, n_mel: int, hop: int, sample_rate_hz: int
    ) -> None:
        super().__init__()
        self.hop = hop
        buffers = {
            "window": torch.hann_window(n_fft),
            "short_window": torch.hann_window(short_n_fft),
            "pitch": pitch_bands(n_fft, sample_rate_hz),
            "mel": mel_bands(n_mel, short_n_fft, sample_rate_hz),
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)
        self.n_features = len(self.pitch) + n_mel

    def forward(self, waveform: Tensor, spectrum: Tensor | None = None) -> Tensor:
        """Returns the features of [B, N]; a spectrum already computed can be given."""
        if spectrum is None:
            spectrum = magnitudes(waveform, self.window, self.hop)
        short = magnitudes(waveform, self.short_window, self.hop)
        pitch = torch.log(self.pitch @ spectrum + 3e-3)
        mel = torch.log(self.mel @ short + 3e-3)
        return 0.4 * torch.cat([pitch, mel], dim=1)
