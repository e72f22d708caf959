"""Rounds that start by themselves: when, on which base, and who is on record for it."""

from pathlib import Path
from typing import Any

import pytest

from attune.catalog.services import enter_rotation, promote_checkpoint
from attune.raters.models import Role
from attune.raters.services import create_member
from attune.ratings.choices import Choice
from attune.rounds.errors import ConfigError, RoundError
from attune.rounds.models import Round, RoundSchedule
from attune.rounds.schedule import (
    find_scheduled_base,
    get_due,
    set_schedule,
    start_scheduled_round,
)
from attune.rounds.services import fail_round
from tests.unit.attune.rated import RatedStudy, rated_study
from workers.tasks import start_scheduled_rounds

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(tmp_path: Path, settings: Any) -> RatedStudy:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    return rated_study(tmp_path)


def every(world: RatedStudy, n: int, **fields: Any) -> RoundSchedule:
    return set_schedule(study=world.study, is_on=True, every_n_preferences=n, **fields)


def test_nothing_starts_by_itself_unless_somebody_turned_it_on(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 20)
    start_scheduled_rounds()
    assert not Round.objects.exists()
    schedule = set_schedule(study=world.study, is_on=False, every_n_preferences=8)
    assert start_scheduled_round(schedule=schedule) is None


def test_a_round_starts_once_at_every_n_new_preferences_and_says_why(world: RatedStudy) -> None:
    engineer = create_member(role=Role.ENGINEER)
    schedule = every(world, 10, config={"n_epochs": 1}, changed_by=engineer)
    world.rate_pairs([Choice.A] * 9 + [Choice.TIE] * 5)
    start_scheduled_rounds()
    assert not Round.objects.exists()
    assert get_due(schedule).n_new == 9
    world.rate_pairs([Choice.B])
    start_scheduled_rounds()
    start_scheduled_rounds()
    round = Round.objects.get()
    assert (round.config, round.created_by) == ({"n_epochs": 1}, None)
    assert round.started_because == (
        f"schedule of first, set by {engineer.get_username()}: 10 new preferences on base, "
        "10 asked for"
    )
    assert get_due(schedule).running == round

    fail_round(round=round, error="out of memory")
    start_scheduled_rounds()
    assert Round.objects.count() == 1, "the same preferences would fail again"
    world.rate_pairs([Choice.A] * 10)
    start_scheduled_rounds()
    assert Round.objects.count() == 2


def test_the_base_is_what_was_promoted_last(world: RatedStudy) -> None:
    assert find_scheduled_base(world.study) == world.base
    for name in ("first-tuned", "second-tuned"):
        tuned = world.add_checkpoint(name, parent=world.base)
        enter_rotation(
            checkpoint=tuned, population="people", role="canary", share=0.1, reason="Passed."
        )
        if name == "first-tuned":
            assert find_scheduled_base(world.study) == world.base, "a canary is being judged"
        promote_checkpoint(checkpoint=tuned, population="people", reason="Better.")
        assert find_scheduled_base(world.study) == tuned
    schedule = every(world, 8)
    world.rate_pairs([Choice.A] * 9)
    assert start_scheduled_round(schedule=schedule) is None, "these are the anchor's clips"
    for _ in range(8):
        world.rate(world.add_pair(tuned, tuned))
    round = start_scheduled_round(schedule=schedule)
    assert round is not None
    assert round.base_checkpoint == tuned


def test_a_refused_round_leaves_its_reason_and_is_tried_again(world: RatedStudy) -> None:
    schedule = every(world, 4)
    world.rate_pairs([Choice.A] * 5)
    assert start_scheduled_round(schedule=schedule) is None
    schedule.refresh_from_db()
    assert "5 usable preferences, 8 needed" in schedule.last_refusal
    world.rate_pairs([Choice.A] * 3)
    assert start_scheduled_round(schedule=schedule) is not None
    schedule.refresh_from_db()
    assert schedule.last_refusal == ""


def test_a_schedule_that_could_start_nothing_is_refused(world: RatedStudy) -> None:
    with pytest.raises(RoundError, match="one of dpo, kto, expert, reward, got 'grpo'"):
        every(world, 8, method="grpo")
    with pytest.raises(RoundError, match="waits for 1 to 1000000 preferences, got 0"):
        every(world, 0)
    with pytest.raises(ConfigError, match="unknown setting"):
        every(world, 8, config={"speed": 2})


def test_a_closed_study_starts_nothing(world: RatedStudy) -> None:
    every(world, 8)
    world.rate_pairs([Choice.A] * 8)
    world.study.is_open = False
    world.study.save()
    start_scheduled_rounds()
    assert not Round.objects.exists()
