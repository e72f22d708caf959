"""Training batches: windows of tokenised clips with their headers and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generator.corpus.attributes import FRAME_RATE_HZ
from generator.corpus.storage import TokenClip
from generator.errors import RequestError
from generator.lm.timing import SECONDS_PER_BIN
from generator.melody import NOT_TOLD
from generator.text.header import EMPTY_HEADER, HEADER_VOCABULARY, encode_header

SELDOM_OPEN = ("frames_per_beat", "root", "swing")
"""Slots that a plan fills where a prompt leaves them open: told in most batches."""
ALL_OPEN_SHARE = 0.15
ALL_TOLD_SHARE = 0.2
SELDOM_OPEN_SHARE = 0.2
MELODY_SHARE = 0.25
FROM_START_SHARE = 0.8
START_FRAMES = round(SECONDS_PER_BIN * FRAME_RATE_HZ)
"""Windows start at whole bins of time, so that the metre is told to the frame."""
LIKE_LENGTHS = 64
FRAMES_AFTER_END = 12


@dataclass(frozen=True)
class Batch:
    """Windows of clips: codes [B, K, T], header ids [B, L], start and total seconds [B, 2].

    melody: ids of generator.melody [B, T], or None where the corpus has none.
    """

    codes: Tensor
    text: Tensor
    seconds: Tensor
    melody: Tensor | None = None


@dataclass(frozen=True)
class TokenisedClips:
    """A tokenised corpus in memory, cut to the codebooks a core speaks.

    codes: [K, total T]; silence: the codec's codes of silence, [K]; headers: [clips, L];
    melody: ids of generator.melody [total T], or None.
    """

    codes: NDArray[np.int64]
    silence: NDArray[np.int64]
    headers: NDArray[np.int64]
    starts: NDArray[np.int64]
    n_frames: NDArray[np.int64]
    melody: NDArray[np.int64] | None = None

    @property
    def n_clips(self) -> int:
        """The number of clips."""
        return len(self.starts)


def tokenised_clips(
    codes: NDArray[np.int16],
    clips: Sequence[TokenClip],
    silence: Sequence[int],
    n_codebooks: int,
    melody: NDArray[np.int8] | None = None,
) -> TokenisedClips:
    """Returns clips ready for batches, of their first n_codebooks codebooks."""
    if len(codes) < n_codebooks or len(silence) < n_codebooks:
        raise RequestError(
            f"expected at least {n_codebooks} codebooks, got {len(codes)} and "
            f"silence of {len(silence)}"
        )
    return TokenisedClips(
        codes=codes[:n_codebooks].astype(np.int64),
        silence=np.array(silence[:n_codebooks], dtype=np.int64),
        headers=np.array([encode_header(asdict(clip.attributes)) for clip in clips]),
        starts=np.array([clip.start for clip in clips]),
        n_frames=np.array([clip.n_frames for clip in clips]),
        melody=None if melody is None else melody.astype(np.int64),
    )


def melody_window(
    clips: TokenisedClips, index: int, first_frame: int, n_frames: int
) -> NDArray[np.int64]:
    """Returns melody ids [n_frames] from a clip's frame on, not told after its end."""
    assert clips.melody is not None
    start = clips.starts[index] + first_frame
    n_left = max(0, min(n_frames, int(clips.n_frames[index]) - first_frame))
    ids = np.full(n_frames, NOT_TOLD)
    ids[:n_left] = clips.melody[start : start + n_left]
    return ids


def window(clips: TokenisedClips, index: int, first_frame: int, n_frames: int) -> NDArray[np.int64]:
    """Returns codes [K, n_frames] from a clip's frame on, silence after its end."""
    start = clips.starts[index] + first_frame
    n_left = max(0, min(n_frames, int(clips.n_frames[index]) - first_frame))
    codes = np.repeat(clips.silence[:, None], n_frames, axis=1)
    codes[:, :n_left] = clips.codes[:, start : start + n_left]
    return codes


def drop_slots(header: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Returns a header with slots left open at random, all of them in a share of draws."""
    empty = np.array(EMPTY_HEADER)
    kind = rng.random()
    if kind < ALL_OPEN_SHARE:
        return empty
    rate = 0.0 if kind < ALL_OPEN_SHARE + ALL_TOLD_SHARE else rng.random()
    dropped = rng.random(len(header)) < rate
    for slot, name in enumerate(HEADER_VOCABULARY.names):
        if name in SELDOM_OPEN:
            dropped[slot] = rng.random() < SELDOM_OPEN_SHARE
    return np.where(dropped, empty, header)


def draw_indices(
    clips: TokenisedClips, n_clips: int, n_tokens: int, most_frames: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], int]:
    """Returns indices of clips of like length below n_clips, and the window that fits them.

    Like lengths leave little of a batch to silence; indices times window is about n_tokens.
    """
    order = np.argsort(clips.n_frames[:n_clips], kind="stable")
    middle = int(rng.integers(n_clips))
    pool = order[max(0, middle - LIKE_LENGTHS) : middle + LIKE_LENGTHS + 1]
    longest = int(clips.n_frames[pool].max()) + FRAMES_AFTER_END
    n_frames = min(most_frames, longest)
    return rng.choice(pool, size=max(1, n_tokens // n_frames)), n_frames


def draw_batch(
    clips: TokenisedClips,
    n_clips: int,
    *,
    n_tokens: int,
    most_frames: int,
    with_text: bool,
    rng: np.random.Generator,
) -> Batch:
    """Returns windows of the first n_clips clips; most start where their clip starts."""
    indices, n_frames = draw_indices(clips, n_clips, n_tokens, most_frames, rng)
    codes, texts, seconds, melodies = [], [], [], []
    for index in indices:
        latest = int(clips.n_frames[index]) - n_frames // 2
        from_start = latest <= 0 or rng.random() < FROM_START_SHARE
        first = 0 if from_start else int(rng.integers(0, latest)) // START_FRAMES * START_FRAMES
        codes.append(window(clips, int(index), first, n_frames))
        texts.append(drop_slots(clips.headers[index], rng) if with_text else EMPTY_HEADER)
        seconds.append((first / FRAME_RATE_HZ, clips.n_frames[index] / FRAME_RATE_HZ))
        if with_text and clips.melody is not None and rng.random() < MELODY_SHARE:
            melodies.append(melody_window(clips, int(index), first, n_frames))
        else:
            melodies.append(np.full(n_frames, NOT_TOLD))
    return Batch(
        codes=torch.from_numpy(np.stack(codes)),
        text=torch.from_numpy(np.array(texts)),
        seconds=torch.tensor(seconds, dtype=torch.float32),
        melody=None if clips.melody is None else torch.from_numpy(np.stack(melodies)),
    )


def full_batch(
    clips: TokenisedClips, indices: Sequence[int], n_frames: int, *, with_text: bool
) -> Batch:
    """Returns the first window of each clip with its whole header, or with an empty one."""
    return Batch(
        codes=torch.from_numpy(np.stack([window(clips, i, 0, n_frames) for i in indices])),
        text=torch.from_numpy(
            clips.headers[list(indices)] if with_text else np.array([EMPTY_HEADER] * len(indices))
        ),
        seconds=torch.tensor([[0.0, clips.n_frames[i] / FRAME_RATE_HZ] for i in indices]),
    )


def joined(parts: Sequence[TokenisedClips]) -> TokenisedClips:
    """Returns the clips of several tokenised corpora, one after the other."""
    melodies = [part.melody for part in parts if part.melody is not None]
    offsets = np.cumsum([0] + [part.codes.shape[1] for part in parts[:-1]])
    return TokenisedClips(
        codes=np.concatenate([part.codes for part in parts], axis=1),
        silence=parts[0].silence,
        headers=np.concatenate([part.headers for part in parts]),
        starts=np.concatenate(
            [part.starts + offset for part, offset in zip(parts, offsets, strict=True)]
        ),
        n_frames=np.concatenate([part.n_frames for part in parts]),
        melody=np.concatenate(melodies) if len(melodies) == len(parts) else None,
    )
