"""Ratings of pairs by simulated raters, as the preference rows that a run folder holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from alignment.experiments.clips import MeasuredClip
from alignment.simulation.noise import calibrate_ties
from alignment.simulation.tastes import Taste

HELD_OUT_SHARE = 0.15
N_RATERS = 24


class Labels(StrEnum):
    """What stands behind the ratings: the taste with noise, coin flips, or its opposite."""

    NOISY = "noisy"
    RANDOM = "random"
    FLIPPED = "flipped"


@dataclass(frozen=True)
class Rated:
    """Preference rows as JSON objects, and how the ratings behind them turned out."""

    rows: tuple[dict[str, Any], ...]
    agreement: float
    """Share of decided ratings in the taste's favour."""
    tie_share: float


def rate(
    pairs: Sequence[tuple[MeasuredClip, MeasuredClip]],
    taste: Taste,
    labels: Labels,
    *,
    agreement: float,
    tie_share: float,
    rng: np.random.Generator,
) -> Rated:
    """Returns one rating a pair, by raters who are drawn at random."""
    differences = np.array([first.score(taste) - second.score(taste) for first, second in pairs])
    leaning = -differences if labels is Labels.FLIPPED else differences
    asked = 0.5 if labels is Labels.RANDOM else agreement
    noise = calibrate_ties(list(leaning), asked, tie_share)
    rows: list[dict[str, Any]] = []
    n_agreeing = n_decided = 0
    chances = noise.probabilities(leaning)
    for (first, second), difference, chance in zip(pairs, differences, chances, strict=True):
        answer = int(rng.choice(3, p=chance / chance.sum()))
        chosen, rejected = (second, first) if answer == 1 else (first, second)
        is_tie = answer == 2
        if not is_tie and difference != 0.0:
            n_decided += 1
            n_agreeing += (difference > 0.0) == (answer == 0)
        rows.append(
            {
                "pair": f"{len(rows)}",
                "prompt": first.prompt,
                "header": list(first.header),
                "chosen": chosen.codes,
                "rejected": rejected.codes,
                "outcome": "tie" if is_tie else "chosen",
                "counts": {"tie": 1} if is_tie else {"chosen": 1},
                "weight": 1.0,
                "raters": [int(rng.integers(N_RATERS))],
                "split": "held_out" if is_held_out(first.prompt) else "train",
            }
        )
    n_ties = sum(row["outcome"] == "tie" for row in rows)
    return Rated(tuple(rows), n_agreeing / max(1, n_decided), n_ties / max(1, len(rows)))


def join_rated(parts: Sequence[Rated]) -> Rated:
    """Returns the ratings of several rounds as one; pairs are told apart by their round."""
    sizes = [len(part.rows) for part in parts]
    return Rated(
        rows=tuple(
            {**row, "pair": f"{number}-{row['pair']}"} if number else row
            for number, part in enumerate(parts)
            for row in part.rows
        ),
        agreement=float(np.average([part.agreement for part in parts], weights=sizes)),
        tie_share=float(np.average([part.tie_share for part in parts], weights=sizes)),
    )


def is_held_out(prompt: str) -> bool:
    """Returns whether ratings of a training prompt only measure, decided by the prompt alone."""
    return int(hashlib.sha256(prompt.encode()).hexdigest()[:8], 16) / 2**32 < HELD_OUT_SHARE


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes preference rows as JSON lines."""
    path.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))
