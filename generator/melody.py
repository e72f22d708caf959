"""Melody conditioning: which pitch class leads at each frame of a recording.

MusicGen (Copet et al. 2023, section 2.4, arXiv:2306.05284) conditions on a chromagram of 12 pitch
classes of which only the strongest of each step is kept, so that the tune stays and the sound does
not. The band leaves out the bass and most overtones.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generator.errors import RequestError

N_PITCH_CLASSES = 12
NOTHING_HEARD = 12
NOT_TOLD = 13
N_MELODY_IDS = 14

N_FFT = 4096
LOWEST_HZ, HIGHEST_HZ = 190.0, 2000.0
A4_HZ, A4_KEY = 440.0, 69
SILENT_SHARE = 0.02
"""Frames with less than this share of the recording's loudest frame hold no melody."""


def pitch_class_map(sample_rate_hz: int) -> Tensor:
    """Returns the weight of each spectrum bin in each pitch class, [12, N_FFT / 2 + 1]."""
    bins_hz = torch.linspace(0, sample_rate_hz / 2, N_FFT // 2 + 1)
    inside = (bins_hz >= LOWEST_HZ) & (bins_hz <= HIGHEST_HZ)
    keys = 12 * torch.log2(bins_hz.clamp(min=1.0) / A4_HZ) + A4_KEY
    nearest = torch.round(keys)
    closeness = (1 - 2 * (keys - nearest).abs()).clamp(min=0) * inside
    classes = nearest.long() % N_PITCH_CLASSES
    weights = torch.zeros(N_PITCH_CLASSES, len(bins_hz))
    weights[classes, torch.arange(len(bins_hz))] = closeness
    return weights


def chromagram(waveform: Tensor, sample_rate_hz: int, frame_rate_hz: int) -> Tensor:
    """Returns energies by pitch class [12, T] of a mono waveform [N], T = N / frame length.

    A column is the spectrum around its frame's middle.
    """
    if waveform.ndim != 1:
        raise RequestError(f"expected a mono waveform [N], got shape {tuple(waveform.shape)}")
    hop = sample_rate_hz // frame_rate_hz
    n_frames = len(waveform) // hop
    if n_frames < 1:
        raise RequestError(f"expected at least {hop} samples, got {len(waveform)}")
    around = N_FFT // 2 - hop // 2
    padded = torch.nn.functional.pad(waveform[: n_frames * hop], (around, N_FFT))
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(padded, N_FFT, hop, window=window, center=False, return_complex=True)
    power = spectrum[:, :n_frames].abs().square()
    return pitch_class_map(sample_rate_hz) @ power


def melody_ids(waveform: Tensor, sample_rate_hz: int, frame_rate_hz: int) -> NDArray[np.int8]:
    """Returns the leading pitch class [T] of a mono waveform [N]: 0 is C, 12 is no pitch."""
    chroma = chromagram(waveform, sample_rate_hz, frame_rate_hz)
    level = chroma.sum(dim=0)
    leading = chroma.argmax(dim=0)
    silent = level <= SILENT_SHARE**2 * level.max().clamp(min=1e-9)
    return torch.where(silent, NOTHING_HEARD, leading).numpy().astype(np.int8)


def chroma_cosine(first: Tensor, second: Tensor) -> float:
    """Returns the mean cosine of two chromagrams [12, T], over the frames both have.

    Each column is centred, so that two unrelated columns score about 0.
    """
    n_frames = min(first.shape[1], second.shape[1])
    columns = [
        torch.nn.functional.normalize(c - c.mean(dim=0), dim=0)
        for c in (first[:, :n_frames].sqrt(), second[:, :n_frames].sqrt())
    ]
    return float((columns[0] * columns[1]).sum(dim=0).mean())
