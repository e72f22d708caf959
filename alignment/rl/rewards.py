"""Rewards: numbers that say how much clips are liked, from codes, waveforms or a reward model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alignment.errors import AlignmentError

Codes = NDArray[np.int16]
"""A clip's tokens, [K, T]."""
Reward = Callable[[Sequence[Codes]], NDArray[np.floating]]
"""Returns one number a clip, [N], from clips of any lengths."""


class LowerScores(Protocol):
    """Scores of clips by several models that may disagree."""

    def lower(self, penalty: float) -> NDArray[np.floating]:
        """Returns mean - penalty * standard deviation, [N]."""
        ...


class Scorer(Protocol):
    """A reward model: what is asked of it here."""

    def score(self, codes: Sequence[Codes]) -> LowerScores:
        """Returns what the models of the ensemble think of clips."""
        ...


def ensemble_reward(model: Scorer, penalty: float) -> Reward:
    """Returns the reward `mean - penalty * deviation` of an ensemble.

    A policy finds clips that one model overrates sooner than clips that all of them do.
    """
    return lambda codes: model.score(codes).lower(penalty)


def waveform_reward(
    decode: Callable[[NDArray[np.int16]], NDArray[np.float32]],
    of_waveform: Callable[[NDArray[np.float32]], float],
) -> Reward:
    """Returns the reward of decoded clips; decode gives waveforms [B, N] of codes [B, K, T]."""

    def reward(codes: Sequence[Codes]) -> NDArray[np.floating]:
        return np.array([of_waveform(decode(clip[None])[0]) for clip in codes])

    return reward


def score_clips(reward: Reward, codes: Sequence[Codes]) -> NDArray[np.float64]:
    """Returns the rewards [N] of clips; AlignmentError unless there is a finite one for each.

    A trainer would take NaN for a clip that cannot be scored and go on in silence.
    """
    values = np.asarray(reward(codes), dtype=np.float64)
    if values.shape != (len(codes),):
        raise AlignmentError(f"expected {len(codes)} rewards, got an array of {values.shape}")
    if not np.isfinite(values).all():
        wrong = int(np.flatnonzero(~np.isfinite(values))[0])
        raise AlignmentError(f"the reward of clip {wrong + 1} of {len(codes)} is {values[wrong]}")
    return values
