"""Canaries that the site decides about by itself: what it does, records, and leaves alone."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from attune.catalog.models import (
    Checkpoint,
    Population,
    RotationAction,
    RotationEntry,
    RotationEvent,
    RotationRole,
)
from attune.catalog.services import (
    enter_rotation,
    hold_checkpoint,
    promote_checkpoint,
    roll_back_checkpoint,
)
from attune.leaderboard.canaries import holds_due, judge_canary
from attune.leaderboard.selectors import gate_of_people, get_opponent
from attune.leaderboard.sequential import GateDecision, decide
from attune.ratings.choices import Choice
from attune.ratings.models import Study
from attune.ratings.people_gate import PeopleGate, PeopleGateError, people_gate_of
from attune.rounds.models import Round
from tests.unit.attune.rated import RatedStudy, rated_study
from workers.tasks import judge_canaries

PEOPLE = Population.PEOPLE


@pytest.fixture
def world(tmp_path: Path, db: None) -> RatedStudy:
    return rated_study(tmp_path)


@pytest.fixture
def canary(world: RatedStudy) -> RotationEntry:
    """A canary that a round of the study made; twelve ratings may decide about it."""
    world.study.gate = {"minimum_ratings": 12}
    world.study.save()
    checkpoint = world.add_checkpoint("aligned", parent=world.base)
    Round.objects.create(
        name="aligned",
        study=world.study,
        population=PEOPLE,
        method="dpo",
        base_checkpoint=world.base,
        produced_checkpoint=checkpoint,
        state="done",
    )
    return enter_rotation(
        checkpoint=checkpoint,
        population=PEOPLE,
        role=RotationRole.CANARY,
        share=0.1,
        reason="Passed the gate.",
    )


def rate(world: RatedStudy, canary: Checkpoint, *, wins: int, losses: int) -> None:
    """Ratings of the canary against its parent, by three raters in turn."""
    for number in range(wins + losses):
        pair = world.add_pair(canary, world.base)
        choice = Choice.A if number < wins else Choice.B
        world.rate(pair, choice, rater=number % 3)


def decisions() -> list[tuple[str, str | None]]:
    """What was decided after the canary entered, and by whom."""
    events = RotationEvent.objects.exclude(action=RotationAction.ENTER).order_by("pk")
    return [(event.action, event.actor and event.actor.username) for event in events]


def test_a_canary_that_wins_is_promoted_with_its_figures_on_record(
    world: RatedStudy, canary: RotationEntry
) -> None:
    rate(world, canary.checkpoint, wins=18, losses=0)
    judge_canaries()
    canary.refresh_from_db()
    assert canary.role == RotationRole.FULL
    event = RotationEvent.objects.get(action=RotationAction.PROMOTE)
    assert event.actor is None
    assert event.reason.startswith("Decided by ratings against base: 18 of 18 decided ratings won")
    assert (event.figures["n_wins"], event.figures["parent"]) == (18, "base")
    assert event.figures["low"] > 0.5


def test_a_canary_that_loses_leaves_and_the_anchor_stays(
    world: RatedStudy, canary: RotationEntry
) -> None:
    rate(world, canary.checkpoint, wins=0, losses=18)
    judge_canaries()
    assert decisions() == [("roll_back", None)]
    assert list(RotationEntry.objects.values_list("checkpoint__name", "role")) == [
        ("base", RotationRole.ANCHOR)
    ]


def test_a_canary_whose_parent_left_is_judged_against_the_nearest_ancestor_that_stayed(
    world: RatedStudy, canary: RotationEntry
) -> None:
    """base <- aligned <- second: once aligned is rolled back, no rating against it will come."""
    aligned = canary.checkpoint
    second = world.add_checkpoint("second", parent=aligned)
    Round.objects.create(
        name="second",
        study=world.study,
        population=PEOPLE,
        method="dpo",
        base_checkpoint=aligned,
        produced_checkpoint=second,
        state="done",
    )
    entry = enter_rotation(
        checkpoint=second,
        population=PEOPLE,
        role=RotationRole.CANARY,
        share=0.1,
        reason="Passed the gate.",
    )
    rate(world, second, wins=18, losses=0)
    assert get_opponent(second, PEOPLE) == aligned
    assert judge_canary(entry=entry) is None, "no rating against its parent yet"
    roll_back_checkpoint(checkpoint=aligned, population=PEOPLE, reason="hums")
    assert get_opponent(second, PEOPLE) == world.base
    assert judge_canary(entry=entry) is RotationAction.PROMOTE
    event = RotationEvent.objects.get(action=RotationAction.PROMOTE)
    assert event.reason.startswith("Decided by ratings against base: 18 of 18")
    assert (event.figures["parent"], event.figures["against"]) == ("aligned", "base")


def test_deciding_twice_decides_once(world: RatedStudy, canary: RotationEntry) -> None:
    rate(world, canary.checkpoint, wins=18, losses=0)
    assert judge_canary(entry=canary) is RotationAction.PROMOTE
    assert judge_canary(entry=canary) is None
    judge_canaries()
    assert decisions() == [("promote", None)]


def test_an_open_canary_is_held_on_record_once_for_each_doubling(
    world: RatedStudy, canary: RotationEntry
) -> None:
    rate(world, canary.checkpoint, wins=5, losses=5)
    judge_canaries()
    assert decisions() == [], "ten of the twelve ratings asked for"
    rate(world, canary.checkpoint, wins=1, losses=1)
    judge_canaries()
    judge_canaries()
    assert decisions() == [("hold", None)]
    rate(world, canary.checkpoint, wins=6, losses=6)
    judge_canaries()
    judge_canaries()
    assert decisions() == [("hold", None)] * 2
    canary.refresh_from_db()
    assert canary.role == RotationRole.CANARY


def test_holds_fall_due_at_the_fewest_ratings_and_at_each_doubling() -> None:
    assert [holds_due(n, 30) for n in (0, 29, 30, 59, 60, 119, 120)] == [0, 0, 1, 1, 2, 2, 3]
    assert holds_due(0, 0) == 0


def test_clear_ratings_wait_until_as_many_as_asked_for_are_there(
    world: RatedStudy, canary: RotationEntry
) -> None:
    world.study.gate = {"minimum_ratings": 40}
    world.study.save()
    rate(world, canary.checkpoint, wins=18, losses=0)
    judge_canaries()
    assert decisions() == []
    verdict = gate_of_people(canary.checkpoint, PEOPLE)
    assert (verdict.decision, verdict.n_more) == (GateDecision.HOLD, 22)
    assert "40 are asked for: hold, 22 more are needed" in verdict.sentence


def test_a_study_without_automatic_decisions_only_says_what_it_would_do(
    world: RatedStudy, canary: RotationEntry
) -> None:
    world.study.gate = {"minimum_ratings": 12, "automatic": False}
    world.study.save()
    rate(world, canary.checkpoint, wins=18, losses=0)
    judge_canaries()
    assert decisions() == []
    assert gate_of_people(canary.checkpoint, PEOPLE).decision is GateDecision.PROMOTE


def test_what_an_engineer_holds_stays_until_an_engineer_decides(
    world: RatedStudy, canary: RotationEntry
) -> None:
    engineer = User.objects.create(username="engineer")
    checkpoint = canary.checkpoint
    hold_checkpoint(
        checkpoint=checkpoint, population=PEOPLE, reason="A rater is under doubt.", actor=engineer
    )
    rate(world, checkpoint, wins=18, losses=0)
    judge_canaries()
    assert decisions() == [("hold", "engineer")]
    promote_checkpoint(
        checkpoint=checkpoint, population=PEOPLE, reason="It was in order.", actor=engineer
    )
    judge_canaries()
    assert decisions() == [("hold", "engineer"), ("promote", "engineer")]


def test_a_stricter_study_waits_for_more(world: RatedStudy, canary: RotationEntry) -> None:
    """18 wins of 18: B(28, 10) / B(10, 10) * 2^18 is about 70, above 20 and below 10000."""
    world.study.gate = {"minimum_ratings": 12, "alpha": 0.0001}
    world.study.save()
    rate(world, canary.checkpoint, wins=18, losses=0)
    judge_canaries()
    assert decisions() == [("hold", None)]
    world.study.gate = {"minimum_ratings": 12}
    world.study.save()
    judge_canaries()
    assert decisions() == [("hold", None), ("promote", None)]


def test_a_canary_without_a_parent_is_left_to_engineers(world: RatedStudy) -> None:
    entry = enter_rotation(
        checkpoint=world.add_checkpoint("stray"),
        population=PEOPLE,
        role=RotationRole.CANARY,
        share=0.1,
        reason="By hand.",
    )
    assert judge_canary(entry=entry) is None


def test_settings_of_the_gate_of_people_are_read_and_checked() -> None:
    assert people_gate_of({}) == PeopleGate(automatic=True, alpha=0.05, minimum_ratings=30)
    given = {"automatic": 0.0, "alpha": 0.01, "minimum_ratings": 50.0, "diversity": 0.9}
    assert people_gate_of(given) == PeopleGate(automatic=False, alpha=0.01, minimum_ratings=50)
    for gate, message in (
        ({"automatic": "yes"}, "automatic is true or false, got 'yes'"),
        ({"alpha": 0}, "alpha is 0.0001 to 0.5, got 0"),
        ({"alpha": "0.05"}, "alpha must be a number"),
        ({"minimum_ratings": 2.5}, "whole number, got 2.5"),
        ({"minimum_ratings": -1}, "minimum_ratings is 0 to 1000000, got -1"),
    ):
        with pytest.raises(PeopleGateError, match=message):
            people_gate_of(gate)


# --- How often it errs, and how often it finds a better canary


def fate(share: float, rng: np.random.Generator, *, spread: float, n_raters: int = 7) -> str:
    """What becomes of a canary in 200 ratings, looked at after every tenth from 30 on.

    share: how often the middle rater prefers it; spread: how far raters lie around it, in
    logits.
    """
    logits = np.log(share / (1 - share)) + spread * rng.standard_normal(n_raters)
    rater = rng.integers(n_raters, size=200)
    won = rng.random(200) < 1 / (1 + np.exp(-logits[rater]))
    for n in range(30, 201, 10):
        wins = np.bincount(rater[:n][won[:n]], minlength=n_raters)
        losses = np.bincount(rater[:n][~won[:n]], minlength=n_raters)
        decision = decide(wins.tolist(), losses.tolist(), minimum_ratings=30).decision
        if decision is not GateDecision.HOLD:
            return decision.value
    return "hold"


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_an_equal_canary_is_promoted_less_than_one_time_in_twenty(spread: float) -> None:
    rng = np.random.default_rng(0)
    fates = [fate(0.5, rng, spread=spread) for _ in range(100)]
    assert fates.count("promote") <= 5
    assert fates.count("hold") >= 90


def test_a_canary_as_good_as_a_rehearsed_round_is_nearly_always_promoted() -> None:
    rng = np.random.default_rng(0)
    fates = [fate(0.84, rng, spread=0.5) for _ in range(50)]
    assert fates.count("promote") >= 48
    assert fates.count("roll_back") == 0


def test_what_is_wrong_with_one_canary_leaves_the_others_to_be_judged(
    world: RatedStudy, canary: RotationEntry
) -> None:
    rate(world, canary.checkpoint, wins=18, losses=0)
    broken = enter_rotation(
        checkpoint=world.add_checkpoint("broken", parent=world.base),
        population=PEOPLE,
        role=RotationRole.CANARY,
        share=0.1,
        reason="Passed the gate.",
    )
    other = Study.objects.create(
        slug="other",
        name="other",
        population=PEOPLE,
        prompt_set=world.study.prompt_set,
        clip_duration_s=2.0,
        gate={"alpha": "a word"},
    )
    Round.objects.create(
        name="broken",
        study=other,
        population=PEOPLE,
        method="dpo",
        base_checkpoint=world.base,
        produced_checkpoint=broken.checkpoint,
        state="done",
    )
    # The broken one comes first.
    first, second = canary, RotationEntry.objects.get(pk=broken.pk)
    RotationEntry.objects.filter(pk=first.pk).delete()
    first.pk = second.pk + 1
    first.save(force_insert=True)
    judge_canaries()
    first.refresh_from_db()
    assert first.role == RotationRole.FULL


def test_a_decision_locks_the_checkpoint_before_its_entry_as_engineers_do(
    canary: RotationEntry,
) -> None:
    def tables(act: Callable[[], object]) -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            act()
        read = [re.match(r'SELECT .*? FROM "(\w+)"', query["sql"]) for query in queries]
        return [found[1] for found in read if found][:2]

    order = ["catalog_checkpoint", "catalog_rotationentry"]
    assert tables(lambda: judge_canary(entry=canary)) == order
    hold = {"checkpoint": canary.checkpoint, "population": PEOPLE, "reason": "Wait."}
    assert tables(lambda: hold_checkpoint(**hold)) == order
