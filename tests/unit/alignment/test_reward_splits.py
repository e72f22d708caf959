from pathlib import Path

import numpy as np

from alignment.outcomes import Outcome
from alignment.reward.splits import (
    Resampled,
    bootstrap_weights,
    folds_by_prompt,
    resampled_unit,
    split_preferences,
)
from alignment.runs import Preference, Split

ALL = frozenset({Outcome.CHOSEN, Outcome.TIE})


def row(prompt: str, *raters: int, split: Split = Split.TRAIN) -> Preference:
    return Preference("1", (0,), Path("a"), Path("b"), split=split, prompt=prompt, raters=raters)


def held(prompt: str, *raters: int) -> Preference:
    return row(prompt, *raters, split=Split.HELD_OUT)


def test_rows_are_disjoint_only_if_prompt_and_raters_are_unknown() -> None:
    new = held("new", 9)
    rows = [row("a", 1, 2), row("b", 3), held("a", 9), held("new", 2, 9), new]

    split = split_preferences(rows, ALL)

    assert len(split.train) == 2
    assert len(split.held_out) == 3
    assert split.disjoint == (new,)
    assert (split.n_prompts_shared, split.n_raters_shared, split.n_raters_unknown) == (1, 1, 0)


def test_rows_without_raters_are_disjoint_by_prompt_alone_and_counted() -> None:
    split = split_preferences([row("a"), held("a"), held("b")], ALL)

    assert len(split.disjoint) == 1
    assert (split.n_prompts_shared, split.n_raters_unknown) == (1, 2)


def test_a_prompt_lies_in_one_fold() -> None:
    rows = [row(f"prompt {number % 7}") for number in range(70)]

    folds = folds_by_prompt(rows, 5, np.random.default_rng(0))

    assert set(folds) == {0, 1, 2, 3, 4}
    for prompt in range(7):
        assert len(set(folds[prompt::7])) == 1


def test_one_bootstrap_draws_all_rows_of_a_rater_alike() -> None:
    rows = [row("a", number % 6) for number in range(60)]

    weights = bootstrap_weights(rows, np.random.default_rng(0))

    assert resampled_unit(rows) is Resampled.RATERS
    for rater in range(6):
        assert len(set(weights[rater::6])) == 1
    assert weights.sum() == 60
    assert len(set(weights)) > 1


def test_a_row_of_two_raters_counts_by_their_mean() -> None:
    rows = [row("a", rater) for rater in range(5)] + [row("a", 0, 1)]

    weights = bootstrap_weights(rows, np.random.default_rng(3))

    assert weights[5] == (weights[0] + weights[1]) / 2


def test_with_few_or_unknown_raters_pairs_are_drawn() -> None:
    few = [row("a", number % 4) for number in range(40)]
    unknown = [row("a", number) for number in range(9)] + [row("a")]

    assert resampled_unit(few) is resampled_unit(unknown) is Resampled.PAIRS
    weights = bootstrap_weights(few, np.random.default_rng(0))
    assert weights.sum() == 40
    assert len(set(weights[::4])) > 1
