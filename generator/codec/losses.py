"""Losses of the codec's training, each a pure function of magnitudes."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_FLOOR = 1e-2
FLOOR_LOG = -4.7
AUDIBLE_NORM = 1.0
PEAK_SHARE = 0.15


@dataclass(frozen=True)
class SpectrumLoss:
    """Distance of two magnitude spectra, on a log and on a linear scale."""

    log_mean: Tensor
    linear_relative: Tensor


def line_weights(n_bins: int, device: torch.device | None = None) -> Tensor:
    """Returns weights [n_bins, 1] of mean 1 that fall from low to high frequencies."""
    weights = 1 / (1 + torch.arange(n_bins, device=device) / 120.0)
    return (weights / weights.mean())[:, None]


def spectrum_loss(log_predicted: Tensor, magnitude: Tensor, weights: Tensor) -> SpectrumLoss:
    """Returns the losses of log magnitudes [B, n_bins, S] against magnitudes.

    What is quieter than the floor counts little, however quiet it is.
    """
    log_target = torch.log(magnitude + LOG_FLOOR)
    audible = ((log_predicted.clamp(min=FLOOR_LOG) - log_target).abs() * weights).mean()
    everything = (log_predicted - log_target).abs().mean()
    predicted = log_predicted.clamp(max=6.0).exp()
    error = ((predicted - magnitude).pow(2) * weights).mean().sqrt()
    scale = (magnitude.pow(2) * weights).mean().sqrt().clamp(min=1e-6)
    return SpectrumLoss(audible + 0.02 * everything, error / scale)


def semitone_spectrum(magnitude: Tensor, bands: Tensor) -> Tensor:
    """Returns the root energy per semitone, [B, 61, S], of magnitudes [B, n_bins, S]."""
    return (bands @ magnitude.pow(2) + 1e-6).sqrt()


@dataclass(frozen=True)
class SemitoneLoss:
    """Distance of two spectra in semitones: direction, and level of the strong ones."""

    cosine_distance_mean: Tensor
    level_mean: Tensor


def semitone_loss(predicted: Tensor, magnitude: Tensor, bands: Tensor) -> SemitoneLoss:
    """Returns the losses of predicted against true magnitudes, silent steps left out."""
    ours, theirs = semitone_spectrum(predicted, bands), semitone_spectrum(magnitude, bands)
    audible = (theirs.norm(dim=1) > AUDIBLE_NORM).to(theirs.dtype)
    distance = 1 - F.cosine_similarity(theirs, ours, dim=1)
    strong = (theirs > PEAK_SHARE * theirs.amax(dim=1, keepdim=True)).to(theirs.dtype)
    level = (theirs.log() - ours.log()).abs() * strong
    return SemitoneLoss(
        (distance * audible).sum() / audible.sum().clamp(min=1),
        level.sum() / strong.sum().clamp(min=1),
    )


def roll_loss(logits: Tensor, roll: Tensor, positive_weight: float = 3.0) -> Tensor:
    """Returns the mean binary cross-entropy of logits against a piano roll, [B, rows, T]."""
    weight = torch.tensor(positive_weight, device=logits.device)
    return F.binary_cross_entropy_with_logits(logits, roll, pos_weight=weight)
