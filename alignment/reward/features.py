"""What a reward model reads of a clip: figures of its codes' vectors and of an encoder's states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from alignment.reward.config import FeatureBlock
from generator.codec.coding import encoded_blocks
from generator.codec.model import Codec
from generator.errors import RequestError
from generator.recordings import Resampler
from generator.representation.encoder import N_POSITIONS, RepresentationEncoder

BATCH_CLIPS = 32
LAGS_FRAMES = (1, 4)
"""Changes over 40 ms are strokes, those over 160 ms are notes."""
BLOCK_SCALES = {FeatureBlock.CODEC: 1.0, FeatureBlock.ENCODER: 0.3}
"""The root of each block's share in a score before anything is learned; the encoder's states,
which are many and vaguer, drown the codec's vectors at 1."""


@dataclass(frozen=True)
class Features:
    """Figures [N, F] of N clips, and of which block each column is."""

    values: NDArray[np.float64]
    blocks: tuple[FeatureBlock, ...]

    def at(self, rows: Sequence[int]) -> Features:
        """Returns the features of some clips."""
        return Features(self.values[list(rows)], self.blocks)


class ClipReader:
    """Reads figures off codes; codebooks: the codec's vectors [K, V, D] of the K it reads."""

    def __init__(
        self,
        encoder: RepresentationEncoder,
        codebooks: Tensor,
        blocks: Sequence[FeatureBlock] = tuple(FeatureBlock),
    ) -> None:
        expected = (encoder.config.n_codebooks, encoder.config.codebook_size)
        if codebooks.ndim != 3 or tuple(codebooks.shape[:2]) != expected:
            raise RequestError(
                f"the encoder reads {expected[0]} codebooks of {expected[1]} codes, "
                f"the codec's have shape {tuple(codebooks.shape)}"
            )
        self.encoder = encoder
        self.codebooks = codebooks
        self.blocks = tuple(block for block in FeatureBlock if block in blocks)

    @property
    def n_codebooks(self) -> int:
        """How many of a clip's first codebooks are read."""
        return self.codebooks.shape[0]

    def read(self, codes: Sequence[NDArray[np.integer]]) -> Features:
        """Returns the features of clips with codes [K, T] of any lengths, K at least n_codebooks.

        Clips of like length are read together; that changes no figure.
        """
        kept = [self._checked(clip, number) for number, clip in enumerate(codes, 1)]
        rows: dict[int, Tensor] = {}
        blocks: tuple[FeatureBlock, ...] = ()
        order = sorted(range(len(kept)), key=lambda index: kept[index].shape[1])
        for start in range(0, len(order), BATCH_CLIPS):
            chosen = order[start : start + BATCH_CLIPS]
            figures, blocks = self._read_batch([kept[index] for index in chosen])
            rows.update(zip(chosen, figures, strict=True))
        if not rows:
            return Features(np.zeros((0, 0)), ())
        values = torch.stack([rows[index] for index in range(len(kept))])
        return Features(values.double().cpu().numpy(), blocks)

    def _checked(self, codes: NDArray[np.integer], number: int) -> NDArray[np.integer]:
        clip = np.asarray(codes)
        if clip.ndim != 2 or len(clip) < self.n_codebooks or clip.dtype.kind not in "iu":
            raise RequestError(
                f"clip {number}: expected whole numbers of shape [{self.n_codebooks} or more, T], "
                f"got {clip.dtype} of shape {clip.shape}"
            )
        if not 0 < clip.shape[1] <= N_POSITIONS:
            raise RequestError(
                f"clip {number} has {clip.shape[1]} frames, 1 to {N_POSITIONS} are read"
            )
        kept = clip[: self.n_codebooks]
        size = self.codebooks.shape[1]
        if int(kept.min()) < 0 or int(kept.max()) >= size:
            raise RequestError(
                f"clip {number}: codes are 0 to {size - 1}, got {kept.min()} to {kept.max()}"
            )
        return kept

    @torch.inference_mode()
    def _read_batch(
        self, clips: Sequence[NDArray[np.integer]]
    ) -> tuple[Tensor, tuple[FeatureBlock, ...]]:
        lengths = torch.tensor([clip.shape[1] for clip in clips])
        padded = np.zeros((len(clips), self.n_codebooks, int(lengths.max())), np.int64)
        for row, clip in zip(padded, clips, strict=True):
            row[:, : clip.shape[1]] = clip
        device = self.codebooks.device
        codes = torch.from_numpy(padded).to(device)  # [B, K, T]
        present = (torch.arange(padded.shape[-1])[None] < lengths[:, None]).to(device)  # [B, T]
        figures, blocks = [], []
        for block in self.blocks:
            found = (
                self._of_vectors(codes, present)
                if block is FeatureBlock.CODEC
                else self._of_states(codes, present)
            )
            figures.append(found)
            blocks += [block] * found.shape[1]
        return torch.cat(figures, dim=1), tuple(blocks)

    def _of_vectors(self, codes: Tensor, present: Tensor) -> Tensor:
        """Returns [B, 4 D] of codes [B, K, T]: mean, deviation and sizes of changes of vectors."""
        parts = [F.embedding(codes[:, k], self.codebooks[k]) for k in range(self.n_codebooks)]
        vectors = torch.stack(parts).sum(0)  # [B, T, D]
        mean = _mean(vectors, present)
        deviation = _mean((vectors - mean[:, None]).square(), present).clamp(min=1e-8).sqrt()
        changes = [
            _mean((vectors[:, lag:] - vectors[:, :-lag]).abs(), present[:, lag:])
            for lag in LAGS_FRAMES
        ]
        return torch.cat([mean, deviation, *changes], dim=1)

    def _of_states(self, codes: Tensor, present: Tensor) -> Tensor:
        """Returns [B, (layers + 1) D] of codes [B, K, T]: means of each layer's normed states."""
        states = self.encoder.states(codes, present)
        return torch.cat([_mean(F.rms_norm(s, s.shape[-1:]), present) for s in states], dim=1)


def _mean(values: Tensor, present: Tensor) -> Tensor:
    """Returns the mean [B, D] over the frames of [B, T, D] that exist, 0 where none does."""
    weights = present[..., None].to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def codes_of_recording(codec: Codec, path: Path) -> NDArray[np.int16]:
    """Returns the codes [K, T] of an audio file, as a reward model reads those of any codec."""
    return np.concatenate(list(encoded_blocks(codec, path)), axis=1)


def codes_of_waveform(
    codec: Codec, waveform: NDArray[np.floating], sample_rate_hz: int
) -> NDArray[np.int16]:
    """Returns the codes [K, T] of a waveform [N] or [C, N] at any sample rate.

    For clips of other codecs: what a listener hears is coded anew.
    """
    samples = np.atleast_2d(np.asarray(waveform, np.float32)).mean(axis=0, keepdims=True)
    if not np.isfinite(samples).all():
        raise RequestError("expected finite samples, got NaN or infinite ones")
    resampler = Resampler(sample_rate_hz, codec.config.sample_rate_hz)
    heard = np.concatenate([resampler.push(samples), resampler.finish()], axis=1)
    return codec.encode(torch.from_numpy(heard))[0].numpy().astype(np.int16)
