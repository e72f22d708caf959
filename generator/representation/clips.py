"""Tokenised corpora as an encoder reads them: codes, and the attributes to probe for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from generator.corpus.storage import TokenClip, load_tokens
from generator.errors import RequestError
from generator.representation.encoder import RepresentationEncoder
from generator.representation.training import CodedClips

BATCH_CLIPS = 32


def load_clips(
    folders: Sequence[Path], n_codebooks: int
) -> tuple[CodedClips, tuple[TokenClip, ...]]:
    """Returns the first n_codebooks codebooks of corpora, one after the other, and their clips."""
    codes: list[NDArray[np.int16]] = []
    rows: list[TokenClip] = []
    starts, offset = [], 0
    for folder in folders:
        stored, clips = load_tokens(folder)
        if len(stored) < n_codebooks:
            raise RequestError(
                f"expected at least {n_codebooks} codebooks in {folder}, got {len(stored)}"
            )
        codes.append(stored[:n_codebooks])
        starts += [offset + clip.start for clip in clips]
        rows += clips
        offset += stored.shape[1]
    n_frames = np.array([clip.n_frames for clip in rows], dtype=np.int64)
    joined = np.concatenate(codes, axis=1).astype(np.int16)
    return CodedClips(joined, np.array(starts, dtype=np.int64), n_frames), tuple(rows)


def clip_codes(clips: CodedClips) -> list[NDArray[np.int16]]:
    """Returns the codes [K, T] of each clip."""
    pairs = zip(clips.starts, clips.n_frames, strict=True)
    return [clips.codes[:, start : start + n] for start, n in pairs]


def embed_clips(
    encoder: RepresentationEncoder,
    codes: Sequence[NDArray[np.int16]],
    *,
    every_layer: bool = False,
) -> NDArray[np.float32]:
    """Returns one vector a clip, [clips, D]; codes: [K, T] each, of any lengths.

    every_layer: the longer vectors of all L layers, [clips, (L + 1) D].
    """
    order = sorted(range(len(codes)), key=lambda index: codes[index].shape[1])
    width = encoder.config.width * (encoder.config.n_layers + 1 if every_layer else 1)
    vectors = np.zeros((len(codes), width), dtype=np.float32)
    for start in range(0, len(order), BATCH_CLIPS):
        chosen = order[start : start + BATCH_CLIPS]
        lengths = [codes[index].shape[1] for index in chosen]
        batch = np.zeros((len(chosen), encoder.config.n_codebooks, max(lengths)), dtype=np.int64)
        for row, index in enumerate(chosen):
            if len(codes[index]) != encoder.config.n_codebooks:
                raise RequestError(
                    f"expected {encoder.config.n_codebooks} codebooks, "
                    f"got codes of shape {codes[index].shape}"
                )
            batch[row, :, : lengths[row]] = codes[index]
        embedding = encoder.embed(torch.from_numpy(batch), torch.tensor(lengths))
        found = embedding.layers if every_layer else embedding.clips
        vectors[chosen] = found.float().cpu().numpy()
    return vectors
