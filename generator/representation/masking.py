"""Masked-token prediction: which frames are hidden, and the loss on their codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from generator.representation.encoder import RepresentationEncoder


@dataclass(frozen=True)
class MaskedBatch:
    """Codes [B, K, T], which frames are hidden from the encoder and which exist, bool [B, T]."""

    codes: Tensor
    hidden: Tensor
    present: Tensor


@dataclass(frozen=True)
class MaskedLoss:
    """Cross-entropy in nats at hidden frames: the mean, its parts [K], and the share guessed."""

    mean: Tensor
    mean_per_codebook: Tensor
    accuracy: Tensor


def draw_spans(
    n_frames: NDArray[np.int64],
    width: int,
    *,
    share: float,
    span_frames: int,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Returns hidden frames, bool [B, width]: spans that may overlap, at least one a clip.

    Spans begin anywhere, as in wav2vec 2.0 (Baevski et al. 2020, section 3.1,
    arXiv:2006.11477); their number is such that about `share` of the frames is hidden.
    """
    hidden = np.zeros((len(n_frames), width), dtype=bool)
    for row, n in enumerate(n_frames):
        # Of n frames each is missed by s spans with probability (1 - span/n) ** s.
        covered = min(span_frames / n, 0.999)
        n_spans = max(1, round(np.log(1.0 - share) / np.log(1.0 - covered)))
        first = max(1, int(n) - span_frames + 1)
        for start in rng.integers(0, first, n_spans):
            hidden[row, start : min(start + span_frames, n)] = True
    return hidden


def masked_loss(encoder: RepresentationEncoder, batch: MaskedBatch) -> MaskedLoss:
    """Returns the cross-entropy of the codes of hidden frames given all others."""
    seen = batch.codes.masked_fill(batch.hidden[:, None], encoder.hidden_code)
    present = None if bool(batch.present.all()) else batch.present
    logits = encoder(seen, present)[batch.hidden].float()  # [N, K, V]
    wanted = batch.codes.transpose(1, 2)[batch.hidden]  # [N, K]
    losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
    per_codebook = losses.view(wanted.shape).mean(0)  # [K]
    right = (logits.argmax(-1) == wanted).float().mean()
    return MaskedLoss(per_codebook.mean(), per_codebook.detach(), right.detach())


def masked(codes: Tensor, hidden: NDArray[np.bool_], n_frames: NDArray[np.int64]) -> MaskedBatch:
    """Returns a batch of codes [B, K, T] of which each clip's first n_frames exist."""
    present = torch.arange(codes.shape[-1])[None] < torch.from_numpy(n_frames)[:, None]
    return MaskedBatch(codes, torch.from_numpy(hidden), present)
