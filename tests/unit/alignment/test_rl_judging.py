"""The unseen judge: which step is the best, and when a run has turned. Held-out measurements."""

import math

import numpy as np
import pytest

from alignment.errors import RunFolderError
from alignment.rl.held_out import (
    REPORT,
    SELECTION,
    HeldOutPrompts,
    compared,
    diversity,
    told,
)
from alignment.rl.judging import Judged, best_step, has_turned
from alignment.rl.rollouts import Rollouts
from generator.measures import Estimate
from tests.tiny import tiny_core
from tests.unit.alignment.rl_runs import highness, lowness, prompt_rows


def entries(*judged: float) -> list[Judged]:
    """Returns measurements at steps 0, 10, 20, ..."""
    return [Judged(10 * n, value, 0.0, 1.0, 8) for n, value in enumerate(judged)]


def test_the_best_trained_step_is_kept_and_the_first_of_equals() -> None:
    assert best_step(entries(0.5, 0.6, 0.8, 0.7)) == 20
    assert best_step(entries(0.5, 0.8, 0.8)) == 10
    assert best_step(entries(0.9, 0.6, 0.7)) == 20  # the parent is no result


def test_a_run_without_a_measured_step_has_no_best() -> None:
    with pytest.raises(RunFolderError, match="no trained step was judged, 1 measurements"):
        best_step(entries(0.5))


def test_a_run_has_turned_once_patience_brought_no_new_best() -> None:
    assert not has_turned(entries(0.5, 0.6, 0.5, 0.5), patience=3)
    assert has_turned(entries(0.5, 0.6, 0.5, 0.5, 0.6), patience=3)
    assert not has_turned(entries(0.5, 0.6, 0.5, 0.5, 0.61), patience=3)
    assert has_turned(entries(0.5, 0.4, 0.4), patience=2)  # never better than the parent
    assert not has_turned(entries(0.5, 0.4), patience=2)
    assert not has_turned(entries(0.5), patience=1)


def test_gains_are_paired_by_prompt() -> None:
    """Prompts differ by far more than the gain of 1 and 3, whose mean is 2 and deviation root 2."""
    before = np.array([[0.0, 2.0], [100.0, 100.0]])
    after = np.array([[1.0, 3.0], [103.0, 103.0]])
    found = compared(before, after)
    assert found["before"]["mean"] == 50.5
    assert found["after"]["mean"] == 52.5
    assert found["gain"]["mean"] == 2.0
    assert found["gain"]["high"] == pytest.approx(2.0 + 1.96 * 1.0)
    assert found["gain"]["n"] == 2
    assert found["n_clips"] == 4


def test_one_prompt_has_no_interval() -> None:
    assert told(Estimate.of([1.0])) == {"mean": 1.0, "low": None, "high": None, "n": 1}


def test_diversity_counts_places_that_differ_within_a_prompt() -> None:
    one, other = np.array([[0, 0, 0, 0]]), np.array([[0, 0, 0, 1]])
    assert diversity([one, other, one, one], 2) == (0.25 + 0.0) / 2
    assert math.isnan(diversity([one, other], 1))


@pytest.fixture
def held_out() -> HeldOutPrompts:
    rollouts = Rollouts(tiny_core())
    rollouts.follow_parent()
    return HeldOutPrompts(rollouts, prompt_rows(3), reward=lowness, judge=highness, seed=0)


def test_equal_checkpoints_are_measured_equal(held_out: HeldOutPrompts) -> None:
    one, other = (held_out.measure(2, SELECTION) for _ in range(2))
    assert one.rewards.shape == (3, 2)
    np.testing.assert_array_equal(one.rewards, other.rewards)
    np.testing.assert_allclose(one.judgements, 1.0 - one.rewards)


def test_what_is_reported_is_measured_on_other_clips(held_out: HeldOutPrompts) -> None:
    selection, report = held_out.measure(2, SELECTION), held_out.measure(2, REPORT)
    seeds = {clip.seed for clip in selection.clips} | {clip.seed for clip in report.clips}
    assert len(seeds) == 12


def test_the_best_of_several_is_chosen_by_the_reward_and_told_by_the_judge_too(
    held_out: HeldOutPrompts,
) -> None:
    found = held_out.measure(4, REPORT)
    rewards, judgements = found.best()
    np.testing.assert_array_equal(rewards, found.rewards.max(axis=1))
    np.testing.assert_allclose(judgements, found.judgements.min(axis=1))  # they disagree
