"""Flat rows of random clips, as trainers see them."""

from __future__ import annotations

import torch
from torch import Tensor

from alignment.face import IGNORED_LABEL
from alignment.flat import FlatVocabulary
from generator.lm.core import Core


def random_rows(core: Core, n_clips: int, n_frames: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns ids [B, L] of random clips on an empty text, and their labels [B, L]."""
    rng = torch.Generator().manual_seed(seed)
    vocabulary = FlatVocabulary.of(core)
    shape = (n_clips, core.n_codebooks, n_frames)
    codes = torch.randint(core.codebook_size, shape, generator=rng)
    text, _ = core.empty_text(n_clips)
    seconds = torch.tensor([[0.0, n_frames / core.frame_rate_hz]]).repeat(n_clips, 1)
    prompts = vocabulary.prompts(text, seconds)
    ids = torch.cat([prompts, vocabulary.completions(codes)], dim=1)
    labels = ids.clone()
    labels[:, : prompts.shape[1]] = IGNORED_LABEL
    return ids, labels
