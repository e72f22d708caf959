"""Prompts that clips are sampled for, and the order in which a run takes them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignment.errors import RunFolderError
from alignment.runs import Split


@dataclass(frozen=True)
class PromptRow:
    """A prompt as the language model reads it."""

    prompt: str
    header: tuple[int, ...]
    """Text ids that clips are conditioned on."""
    duration_s: float
    split: Split = Split.TRAIN

    def n_frames(self, frame_rate_hz: int) -> int:
        """Returns how long a clip of this prompt is."""
        return max(1, round(self.duration_s * frame_rate_hz))


def read_prompts(
    path: Path, *, text_lengths: range, text_vocabulary_size: int, longest_s: float = 300.0
) -> list[PromptRow]:
    """Returns the prompts of a file in order; RunFolderError says which line is none.

    text_lengths: how many ids a header of the core can have.
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as exc:
        raise RunFolderError(f"{path} is not readable: {exc}") from exc
    rows = []
    for number, line in enumerate(lines, start=1):
        place = f"{path} line {number}"
        try:
            stored = json.loads(line)
            row = PromptRow(
                prompt=str(stored["prompt"]),
                header=tuple(int(text_id) for text_id in stored["header"]),
                duration_s=float(stored["duration_s"]),
                split=Split(stored.get("split", Split.TRAIN)),
            )
        except KeyError as exc:
            raise RunFolderError(f"{place} lacks {exc}") from exc
        except (ValueError, TypeError) as exc:
            raise RunFolderError(f"{place} is no prompt: {exc}") from exc
        if len(row.header) not in text_lengths:
            raise RunFolderError(
                f"{place}: the header has {len(row.header)} ids, the core reads "
                f"{text_lengths[0]} to {text_lengths[-1]}"
            )
        if not all(0 <= text_id < text_vocabulary_size for text_id in row.header):
            raise RunFolderError(
                f"{place}: header ids are 0 to {text_vocabulary_size - 1}, got {list(row.header)}"
            )
        if not (math.isfinite(row.duration_s) and 0 < row.duration_s <= longest_s):
            raise RunFolderError(
                f"{place}: duration_s is above 0 and at most {longest_s:g}, got {row.duration_s}"
            )
        rows.append(row)
    return rows


def split_prompts(path: Path, rows: Sequence[PromptRow]) -> tuple[list[PromptRow], list[PromptRow]]:
    """Returns the prompts to learn on and those that only measure, none of them in both."""
    train = [row for row in rows if row.split is Split.TRAIN]
    held_out = [row for row in rows if row.split is Split.HELD_OUT]
    if not train or not held_out:
        raise RunFolderError(
            f"{path} has {len(train)} prompts to train on and {len(held_out)} held out; "
            "both are needed"
        )
    shared = {row.prompt for row in train if row.prompt} & {row.prompt for row in held_out}
    if shared:
        raise RunFolderError(
            f"{path} has {len(shared)} prompts in both splits, such as {min(shared)!r}"
        )
    return train, held_out


def prompt_order(n_prompts: int, n_turns: int, seed: int) -> list[int]:
    """Returns which prompt each of n_turns turns takes: all once in random order, then again.

    A run that is resumed asks for the same order and skips what it has seen.
    """
    rng = np.random.default_rng(seed)
    rounds = [rng.permutation(n_prompts) for _ in range(-(-n_turns // n_prompts))]
    return [int(prompt) for prompt in np.concatenate(rounds)[:n_turns]]
