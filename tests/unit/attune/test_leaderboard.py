"""The leaderboard in the database: what is counted, rebuilt, and read."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from attune.catalog.models import Checkpoint, Population
from attune.catalog.services import enter_rotation
from attune.leaderboard.errors import NoParentError, SameCheckpointError
from attune.leaderboard.models import PairCount, Standing
from attune.leaderboard.selectors import (
    count_answers,
    gate_of_people,
    needs_refresh,
    standings,
    unjudged_checkpoints,
    win_rate,
    win_rates,
)
from attune.leaderboard.sequential import GateDecision
from attune.leaderboard.services import refresh_leaderboard
from attune.ratings.choices import Choice
from attune.ratings.models import Rating
from tests.unit.attune.rated import RatedStudy, rated_study

pytestmark = pytest.mark.django_db

PEOPLE, REHEARSAL = Population.PEOPLE, Population.REHEARSAL


@pytest.fixture
def world(tmp_path: Path) -> RatedStudy:
    return rated_study(tmp_path)


@pytest.fixture
def aligned(world: RatedStudy) -> Checkpoint:
    return world.add_checkpoint("aligned", parent=world.base)


def refresh(population: Population = PEOPLE, *, after_s: float = 0.0) -> None:
    now = timezone.now() + timedelta(seconds=after_s)
    refresh_leaderboard(population=population, now=now, rng=np.random.default_rng(0))


def judge(
    world: RatedStudy,
    one: Checkpoint,
    other: Checkpoint,
    wins: int,
    losses: int,
    *,
    rater: int = 0,
) -> None:
    """Ratings by one rater of pairs that name `one` first, every second one shown swapped."""
    for number in range(wins + losses):
        is_swapped = number % 2 == 1
        choice = Choice.A if (number < wins) != is_swapped else Choice.B
        pair = world.add_pair(one, other)
        world.rate(pair, choice, rater=rater, is_swapped=is_swapped)


def test_wins_belong_to_the_clip_that_was_heard_whatever_its_side_and_place(
    world: RatedStudy, aligned: Checkpoint
) -> None:
    judge(world, world.base, aligned, wins=3, losses=1)
    judge(world, aligned, world.base, wins=4, losses=2)
    (count,) = count_answers(PEOPLE)
    assert (count.first_checkpoint_id, count.second_checkpoint_id) == (world.base.pk, aligned.pk)
    assert (count.n_first_wins, count.n_second_wins) == (3 + 2, 1 + 4)


def test_all_answers_are_counted_in_one_query(
    world: RatedStudy, aligned: Checkpoint, django_assert_num_queries: Any
) -> None:
    judge(world, world.base, aligned, wins=3, losses=1)
    world.rate(world.add_pair(world.base, aligned), Choice.A, rater=1)
    with django_assert_num_queries(1):
        assert len(count_answers(PEOPLE)) == 2


def test_ties_and_both_bad_have_their_own_counts(world: RatedStudy, aligned: Checkpoint) -> None:
    for choice in (Choice.TIE, Choice.TIE, Choice.BOTH_BAD, Choice.A):
        world.rate(world.add_pair(aligned, world.base), choice)
    rate = win_rate(aligned, world.base, PEOPLE)
    assert (rate.n_wins, rate.n_losses, rate.n_ties, rate.n_both_bad) == (1, 0, 2, 1)
    assert rate.figure == 1.0


def test_training_pairs_repeats_withdrawn_pairs_and_raters_rank_nobody(
    world: RatedStudy, aligned: Checkpoint
) -> None:
    world.rate(world.add_pair())
    repeated = world.rate(world.add_pair(world.base, aligned))
    repeated.assignment.is_repeat = True
    repeated.assignment.save()
    reported = world.rate(world.add_pair(world.base, aligned))
    reported.pair.is_withdrawn = True
    reported.pair.save()
    gone = world.rate(world.add_pair(world.base, aligned), rater=1)
    gone.rater.withdrawn_at = timezone.now()
    gone.rater.save()
    assert count_answers(PEOPLE) == []


def test_the_two_populations_never_mix(tmp_path: Path) -> None:
    people = rated_study(tmp_path)
    rehearsal = rated_study(tmp_path, population=REHEARSAL, slug="rehearsal")
    aligned = people.add_checkpoint("aligned", parent=people.base)
    judge(people, people.base, aligned, wins=5, losses=1)
    judge(rehearsal, people.base, aligned, wins=1, losses=9)
    refresh(PEOPLE)
    assert not Standing.objects.filter(population=REHEARSAL).exists()
    refresh(REHEARSAL)
    before = list(PairCount.objects.filter(population=REHEARSAL).values())
    refresh(PEOPLE)
    assert list(PairCount.objects.filter(population=REHEARSAL).values()) == before
    assert [standing.checkpoint.name for standing in standings(PEOPLE)] == ["base", "aligned"]
    assert [standing.checkpoint.name for standing in standings(REHEARSAL)] == ["aligned", "base"]
    # A rating that claims the other population is in neither.
    Rating.objects.filter(pair__study=people.study).update(is_simulated=True)
    assert count_answers(PEOPLE) == []
    assert len(count_answers(REHEARSAL)) == 1


def test_a_refresh_twice_gives_the_same_rows(world: RatedStudy, aligned: Checkpoint) -> None:
    judge(world, aligned, world.base, wins=8, losses=4)
    now = timezone.now()

    def rows() -> list[dict[str, Any]]:
        refresh_leaderboard(population=PEOPLE, now=now, rng=np.random.default_rng(0))
        found: list[Any] = [*PairCount.objects.values(), *standings(PEOPLE).values()]
        return [{key: value for key, value in row.items() if key != "id"} for row in found]

    assert rows() == rows()
    assert Standing.objects.count() == 2


def test_a_refresh_forgets_what_no_longer_counts(world: RatedStudy, aligned: Checkpoint) -> None:
    judge(world, aligned, world.base, wins=2, losses=1)
    refresh()
    Rating.objects.all().delete()
    refresh()
    assert not Standing.objects.exists()
    assert not PairCount.objects.exists()


def test_standings_carry_interval_counts_and_groups(world: RatedStudy, aligned: Checkpoint) -> None:
    judge(world, aligned, world.base, wins=40, losses=4)
    refresh()
    best, last = standings(PEOPLE)
    assert (best.checkpoint, best.n_wins, best.n_losses) == (aligned, 40, 4)
    assert best.low is not None
    assert best.low > 1000
    assert (best.groups, last.groups) == ([1], [2])
    assert (best.n_raters, best.interval_method) == (1, "ratings")


def test_a_checkpoint_in_rotation_that_nobody_judged_is_listed_apart(
    world: RatedStudy, aligned: Checkpoint
) -> None:
    assert list(unjudged_checkpoints(PEOPLE)) == [world.base]
    enter_rotation(
        checkpoint=aligned, population=PEOPLE, role="canary", share=0.1, reason="A trial."
    )
    judge(world, aligned, world.base, wins=1, losses=1)
    refresh()
    assert list(unjudged_checkpoints(PEOPLE)) == []


def test_a_win_rate_may_look_at_held_out_prompts_alone(
    world: RatedStudy, aligned: Checkpoint
) -> None:
    held_out = world.add_prompt(is_held_out=True)
    world.rate(world.add_pair(aligned, world.base, prompt=held_out), Choice.A)
    world.rate(world.add_pair(aligned, world.base), Choice.B)
    assert win_rate(aligned, world.base, PEOPLE).figure == 0.5
    assert win_rate(aligned, world.base, PEOPLE, is_held_out=True).figure == 1.0
    assert win_rate(aligned, world.base, PEOPLE, is_held_out=False).figure == 0.0


def test_a_win_rate_against_itself_is_refused(world: RatedStudy) -> None:
    with pytest.raises(SameCheckpointError, match="base was set against itself"):
        win_rate(world.base, world.base, PEOPLE)


def test_the_matrix_agrees_with_single_win_rates(world: RatedStudy, aligned: Checkpoint) -> None:
    third = world.add_checkpoint("third", parent=world.base)
    judge(world, aligned, world.base, wins=6, losses=2)
    judge(world, third, aligned, wins=1, losses=2)
    refresh()
    matrix = win_rates(PEOPLE)
    assert len(matrix) == 4
    for one, other in ((aligned, world.base), (world.base, aligned), (third, aligned)):
        assert matrix[one.pk, other.pk] == win_rate(one, other, PEOPLE)


def test_only_a_newer_judging_rating_asks_for_a_refresh(
    world: RatedStudy, aligned: Checkpoint
) -> None:
    assert not needs_refresh(PEOPLE)
    world.rate(world.add_pair())
    assert not needs_refresh(PEOPLE)
    judge(world, aligned, world.base, wins=1, losses=0)
    assert needs_refresh(PEOPLE)
    assert not needs_refresh(REHEARSAL)
    refresh(after_s=1)
    assert needs_refresh(PEOPLE), "another rating may have been on its way just then"
    refresh(after_s=30)
    assert not needs_refresh(PEOPLE)
    Rating.objects.update(changed_at=timezone.now() + timedelta(seconds=31))
    assert needs_refresh(PEOPLE)


def test_people_promote_a_canary_that_wins_and_hold_one_without_ratings(
    world: RatedStudy, aligned: Checkpoint
) -> None:
    assert gate_of_people(aligned, PEOPLE).decision is GateDecision.HOLD
    judge(world, aligned, world.base, wins=15, losses=2)
    judge(world, aligned, world.base, wins=15, losses=2, rater=1)
    verdict = gate_of_people(aligned, PEOPLE)
    assert verdict.decision is GateDecision.PROMOTE
    assert (verdict.n_wins, verdict.n_losses) == (30, 4)
    assert gate_of_people(aligned, REHEARSAL).decision is GateDecision.HOLD
    with pytest.raises(NoParentError, match="base has no parent"):
        gate_of_people(world.base, PEOPLE)
