"""Timing conditioning: where a clip starts, how long it is, and how much of it remains.

Stable Audio (Evans et al. 2024, section 3.1, arXiv:2402.04825) conditions on seconds_start and
seconds_total. The remaining time at every step is our addition: without it a small model runs
past the requested end.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SECONDS_PER_BIN = 0.2
N_TIME_BINS = 301
LONGEST_SECONDS = (N_TIME_BINS - 1) * SECONDS_PER_BIN


def seconds_to_bins(seconds: Tensor) -> Tensor:
    """Returns the nearest bin 0..300 of every time in seconds, int64 of the same shape."""
    bins = torch.round(seconds.double() / SECONDS_PER_BIN)
    return bins.clamp(0, N_TIME_BINS - 1).long()


def bins_to_seconds(bins: Tensor) -> Tensor:
    """Returns the time in seconds of every bin, float32 of the same shape."""
    return (bins.double() * SECONDS_PER_BIN).float()


def quantise_seconds(seconds: Tensor) -> Tensor:
    """Returns times in seconds moved to the nearest bin, float32 of the same shape."""
    return bins_to_seconds(seconds_to_bins(seconds))


def fourier_features(seconds: Tensor, n_octaves: int) -> Tensor:
    """Returns sines and cosines [..., 2 * n_octaves] of times, the slowest of period 128 s."""
    octave = torch.arange(n_octaves, device=seconds.device)
    angle = seconds[..., None].float() * (2.0**octave * math.pi / 64.0)
    return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)


def remaining_bins(seconds: Tensor, frame: Tensor, frame_rate_hz: int, longest_s: float) -> Tensor:
    """Returns the bin of the time that remains at each frame, [B, S], 0 once it is over.

    seconds: [B, 2], start and total; frame: [S], counted from the start.
    """
    remaining_s = (seconds[:, 1] - seconds[:, 0])[:, None] - frame[None] / frame_rate_hz
    bins = torch.floor(remaining_s / SECONDS_PER_BIN + 1e-3) + 1
    return bins.clamp(0, n_remaining_bins(longest_s) - 1).long()


def n_remaining_bins(longest_s: float) -> int:
    """Returns how many bins of remaining time there are: over, then 0.2 s each up to longest_s."""
    return round(longest_s / SECONDS_PER_BIN) + 2
