"""Shares of the rotation, and the decisions that change it."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from django.contrib.auth.models import User

from attune.catalog.errors import ClipOrderError, RotationError
from attune.catalog.models import (
    Checkpoint,
    Population,
    Prompt,
    RotationAction,
    RotationEntry,
    RotationEvent,
    RotationRole,
)
from attune.catalog.rotation import choose_checkpoint, choose_opponents, rotation_shares
from attune.catalog.selectors import get_anchor
from attune.catalog.services import (
    ClipOrder,
    enter_rotation,
    hold_checkpoint,
    promote_checkpoint,
    retire_checkpoint,
    roll_back_checkpoint,
)
from tests.factories import make_anchor, make_checkpoint, make_prompts

PEOPLE = Population.PEOPLE


@dataclass(frozen=True)
class Row:
    checkpoint_id: int
    role: str
    share: float = 1.0


def test_a_canary_gets_its_stated_share_and_the_anchor_the_rest() -> None:
    shares = rotation_shares([Row(1, "anchor"), Row(2, "canary", 0.1)])
    assert shares == pytest.approx({1: 0.9, 2: 0.1})


def test_an_anchor_gives_way_to_a_promoted_checkpoint() -> None:
    """Weights 0.2 and 1.0 of the 0.9 that the canary leaves."""
    shares = rotation_shares([Row(1, "anchor"), Row(2, "canary", 0.1), Row(3, "full")])
    assert shares == pytest.approx({1: 0.15, 2: 0.1, 3: 0.75})


def test_canaries_together_get_at_most_half() -> None:
    rows = [Row(1, "anchor"), Row(2, "canary", 0.6), Row(3, "canary", 0.2)]
    assert rotation_shares(rows) == pytest.approx({1: 0.5, 2: 0.375, 3: 0.125})


def test_a_canary_alone_gets_everything() -> None:
    assert rotation_shares([Row(2, "canary", 0.1)]) == {2: 1.0}


def test_checkpoints_are_chosen_by_share() -> None:
    rows = [Row(1, "anchor"), Row(2, "canary", 0.25)]
    rng = random.Random(3)
    counts = Counter(choose_checkpoint(rows, rng) for _ in range(2000))
    assert counts[2] / 2000 == pytest.approx(0.25, abs=0.04)


def test_nothing_in_rotation_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 entries"):
        choose_checkpoint([], random.Random(0))
    with pytest.raises(ValueError, match="two are needed"):
        choose_opponents([Row(1, "anchor")], random.Random(0))


def test_a_canary_is_in_every_judging_pair_and_meets_the_anchor_most() -> None:
    rows = [Row(1, "anchor"), Row(2, "canary", 0.1), Row(3, "full")]
    rng = random.Random(5)
    drawn = [choose_opponents(rows, rng) for _ in range(1000)]
    assert {first for first, _ in drawn} == {2}
    # Half by rule, and the anchor's sixth of the other half.
    assert Counter(second for _, second in drawn)[1] / 1000 == pytest.approx(7 / 12, abs=0.06)


def test_opponents_differ() -> None:
    rows = [Row(1, "anchor"), Row(3, "full"), Row(4, "full")]
    rng = random.Random(5)
    drawn = [choose_opponents(rows, rng) for _ in range(200)]
    assert all(first != second for first, second in drawn)


def enter(checkpoint: Checkpoint, role: RotationRole = RotationRole.CANARY) -> RotationEntry:
    return enter_rotation(
        checkpoint=checkpoint, population=PEOPLE, role=role, share=0.1, reason="passed the gate"
    )


@pytest.mark.django_db
class TestDecisions:
    def test_entering_leaves_an_event_with_its_reason_and_a_repeat_does_not(self) -> None:
        checkpoint = make_checkpoint()
        assert enter(checkpoint) == enter(checkpoint)
        event = RotationEvent.objects.get()
        assert (event.action, event.reason, event.share, event.actor) == (
            RotationAction.ENTER,
            "passed the gate",
            0.1,
            None,
        )

    def test_entering_again_in_another_role_is_refused(self) -> None:
        checkpoint = make_checkpoint()
        enter(checkpoint)
        with pytest.raises(RotationError, match="as canary: it cannot enter as full"):
            enter(checkpoint, RotationRole.FULL)

    @pytest.mark.parametrize("share", [0, -1, 1.5])
    def test_a_share_outside_0_to_1_is_refused(self, share: float) -> None:
        with pytest.raises(RotationError, match="share"):
            enter_rotation(
                checkpoint=make_checkpoint(),
                population=PEOPLE,
                role=RotationRole.CANARY,
                share=share,
                reason="passed the gate",
            )

    def test_a_blank_reason_is_refused_and_nothing_changes(self) -> None:
        checkpoint = make_checkpoint()
        with pytest.raises(RotationError, match="without a reason"):
            enter_rotation(
                checkpoint=checkpoint,
                population=PEOPLE,
                role=RotationRole.CANARY,
                share=0.1,
                reason="  ",
            )
        assert not RotationEntry.objects.exists()

    def test_a_simulated_checkpoint_never_reaches_people(self) -> None:
        checkpoint = make_checkpoint()
        Checkpoint.objects.update(is_simulated=True)
        with pytest.raises(RotationError, match="simulated ratings"):
            enter(checkpoint)
        assert enter_rotation(
            checkpoint=checkpoint,
            population=Population.REHEARSAL,
            role=RotationRole.CANARY,
            share=0.5,
            reason="passed the gate",
        )

    def test_promotion_makes_a_canary_full_and_names_who_decided(self) -> None:
        checkpoint, actor = make_checkpoint(), User.objects.create(username="engineer")
        enter(checkpoint)
        entry = promote_checkpoint(
            checkpoint=checkpoint, population=PEOPLE, reason="win rate 0.6", actor=actor
        )
        entry.refresh_from_db()
        assert (entry.role, entry.share) == (RotationRole.FULL, 1.0)
        assert RotationEvent.objects.get(action=RotationAction.PROMOTE).actor == actor

    def test_only_a_canary_can_be_promoted(self) -> None:
        with pytest.raises(RotationError, match="only a canary"):
            promote_checkpoint(checkpoint=make_anchor(), population=PEOPLE, reason="win rate")

    def test_holding_changes_nothing_but_the_record(self) -> None:
        checkpoint = make_checkpoint()
        enter(checkpoint)
        entry = hold_checkpoint(checkpoint=checkpoint, population=PEOPLE, reason="more ratings")
        assert (entry.role, entry.share) == (RotationRole.CANARY, 0.1)
        assert RotationEvent.objects.filter(action=RotationAction.HOLD).count() == 1

    def test_rolling_back_removes_the_entry_and_it_may_enter_again(self) -> None:
        checkpoint = make_checkpoint()
        enter(checkpoint)
        roll_back_checkpoint(checkpoint=checkpoint, population=PEOPLE, reason="win rate 0.4")
        assert not RotationEntry.objects.exists()
        assert enter(checkpoint)

    def test_what_is_not_in_rotation_cannot_be_decided_on(self) -> None:
        checkpoint = make_checkpoint("stray")
        for decide in (promote_checkpoint, hold_checkpoint, roll_back_checkpoint):
            with pytest.raises(RotationError, match="'stray' is not in rotation for people"):
                decide(checkpoint=checkpoint, population=PEOPLE, reason="because")

    def test_a_retired_checkpoint_leaves_every_rotation_and_makes_no_clip_again(self) -> None:
        checkpoint = make_checkpoint()
        enter(checkpoint)
        enter_rotation(
            checkpoint=checkpoint,
            population=Population.REHEARSAL,
            role=RotationRole.FULL,
            share=1,
            reason="rehearsed",
        )
        retire_checkpoint(checkpoint=checkpoint, population=PEOPLE, reason="superseded")
        assert not RotationEntry.objects.exists()
        assert RotationEvent.objects.filter(action=RotationAction.RETIRE).count() == 2
        checkpoint.refresh_from_db()
        with pytest.raises(RotationError, match="is retired"):
            enter(checkpoint)
        prompt = Prompt.objects.filter(prompt_set=make_prompts()).first()
        assert prompt is not None
        with pytest.raises(ClipOrderError, match="is retired"):
            ClipOrder(prompt=prompt, checkpoint=checkpoint, duration_s=2, seed=1)

    def test_the_anchor_does_not_leave(self) -> None:
        anchor = make_anchor()
        for leave in (roll_back_checkpoint, retire_checkpoint):
            with pytest.raises(RotationError, match="an anchor does not leave"):
                leave(checkpoint=anchor, population=PEOPLE, reason="because")
        anchor.refresh_from_db()
        assert not anchor.is_retired
        assert get_anchor(PEOPLE) == anchor
