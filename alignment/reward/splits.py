"""Which preferences a reward model may be measured on, and how they are resampled and folded."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from alignment.outcomes import Outcome
from alignment.runs import Preference, Split

FEWEST_RATERS = 5
"""With fewer known raters the bootstrap draws pairs: so few people say nothing of their spread."""


class Resampled(StrEnum):
    """What a bootstrap draws with replacement."""

    RATERS = "raters"
    PAIRS = "pairs"


@dataclass(frozen=True)
class RewardSplit:
    """Preferences to learn from, and two nested sets to measure on."""

    train: tuple[Preference, ...]
    held_out: tuple[Preference, ...]
    """All preferences that only measure."""
    disjoint: tuple[Preference, ...]
    """Those among them whose prompt and raters are all unknown to the training preferences."""
    n_both_bad: int
    """Preferences left out because both clips are bad, which says of neither that it is better."""
    n_prompts_shared: int
    """Held-out preferences whose prompt was trained on."""
    n_raters_shared: int
    """Held-out preferences with a rater whose ratings were trained on."""
    n_raters_unknown: int
    """Held-out preferences without known raters; they count as disjoint by prompt alone."""


def split_preferences(
    preferences: Sequence[Preference], outcomes: frozenset[Outcome]
) -> RewardSplit:
    """Returns the split that the preferences state, leaks between its halves counted.

    outcomes: those of preferences that are used.
    """
    usable = [row for row in preferences if row.outcome in outcomes]
    train = tuple(row for row in usable if row.split is Split.TRAIN)
    held_out = tuple(row for row in usable if row.split is Split.HELD_OUT)
    prompts = {prompt_of(row) for row in train}
    raters = {rater for row in train for rater in row.raters}
    known_prompt = [prompt_of(row) in prompts for row in held_out]
    known_rater = [bool(raters.intersection(row.raters)) for row in held_out]
    return RewardSplit(
        train=train,
        held_out=held_out,
        disjoint=tuple(
            row
            for row, *known in zip(held_out, known_prompt, known_rater, strict=True)
            if not any(known)
        ),
        n_both_bad=sum(row.outcome is Outcome.BOTH_BAD for row in preferences),
        n_prompts_shared=sum(known_prompt),
        n_raters_shared=sum(known_rater),
        n_raters_unknown=sum(not row.raters for row in held_out),
    )


def prompt_of(row: Preference) -> Hashable:
    """Returns what tells a row's prompt from others: its text, else its header."""
    return row.prompt or row.header


def folds_by_prompt(
    rows: Sequence[Preference], n_folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Returns each row's fold [N]; rows of one prompt share it. At most a fold a prompt."""
    prompts = list(dict.fromkeys(prompt_of(row) for row in rows))
    order = rng.permutation(len(prompts))
    folds = {prompts[index]: place % n_folds for place, index in enumerate(order)}
    return np.array([folds[prompt_of(row)] for row in rows], dtype=np.int64)


def resampled_unit(rows: Sequence[Preference]) -> Resampled:
    """Returns what bootstraps of these rows draw: raters where enough are known, else pairs."""
    raters = {rater for row in rows for rater in row.raters}
    everywhere = all(row.raters for row in rows)
    return Resampled.RATERS if everywhere and len(raters) >= FEWEST_RATERS else Resampled.PAIRS


def bootstrap_weights(rows: Sequence[Preference], rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns how often one bootstrap draws each row, [N]; a row of several raters gets the mean.

    Raters are resampled where they are known: ratings of one person are no independent evidence.
    """
    if resampled_unit(rows) is Resampled.PAIRS:
        drawn = rng.integers(0, len(rows), len(rows))
        return np.bincount(drawn, minlength=len(rows)).astype(np.float64)
    raters = sorted({rater for row in rows for rater in row.raters})
    drawn = rng.integers(0, len(raters), len(raters))
    times = dict(zip(raters, np.bincount(drawn, minlength=len(raters)), strict=True))
    return np.array([np.mean([times[rater] for rater in row.raters]) for row in rows])
