"""Missed gold pairs warn, then exclude; what is excluded can be lifted, and pay is another fact."""

import random
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.utils import timezone

from attune.raters.models import Rater, Role
from attune.raters.services import create_member, create_rater
from attune.ratings.choices import AssignmentState, Choice, PairPurpose
from attune.ratings.errors import TrustError
from attune.ratings.models import Assignment, Rating, Study
from attune.ratings.pairing import Tally
from attune.ratings.pairing_selectors import candidate_pairs, opponent_tallies
from attune.ratings.services import assign_pair, change_rating, record_rating
from attune.ratings.trust import Share
from attune.ratings.trust_models import OpponentTally, RaterExclusion, RaterWarning, WorkDecision
from attune.ratings.trust_selectors import (
    NoticeKind,
    exclusions_of,
    rater_notice,
    rater_trusts,
    rating_raters,
)
from attune.ratings.trust_services import decide_work, exclude_rater, lift_exclusion
from attune.rounds.preflight import preflight
from attune.rounds.services import create_round
from tests.factories import make_checkpoint, make_gold_pair, make_pair, make_study
from tests.unit.attune.rated import RatedStudy, rated_study

pytestmark = pytest.mark.django_db

FOUND, MISSED = Choice.A, Choice.B


@pytest.fixture
def study() -> Study:
    return make_study()


@pytest.fixture
def rater() -> Rater:
    return create_rater()


@pytest.fixture
def actor() -> User:
    return create_member(role=Role.ENGINEER)


def give(study: Study, rater: Rater, choice: str, *, gold: bool = True) -> Rating:
    """The rater's answer, now, to a new pair whose first clip, the whole one, was side A."""
    pair = make_gold_pair(study) if gold else make_pair(study)
    now = timezone.now()
    assignment = Assignment.objects.create(
        pair=pair,
        rater=rater,
        is_swapped=False,
        propensity=1,
        handed_out_at=now,
        lease_until=now + timedelta(minutes=15),
    )
    rating, _ = record_rating(
        rater=rater,
        assignment_id=assignment.pk,
        client_id=uuid4(),
        choice=choice,
        strength=None,
        heard={},
        now=timezone.now(),
    )
    return rating


def give_all(study: Study, rater: Rater, choices: Sequence[str]) -> list[Rating]:
    return [give(study, rater, choice) for choice in choices]


class TestWarnings:
    def test_the_second_miss_warns_and_the_notice_goes_with_the_next_answer(
        self, study: Study, rater: Rater
    ) -> None:
        give(study, rater, MISSED)
        assert rater_notice(rater) is None
        give(study, rater, MISSED)
        warning = RaterWarning.objects.get()
        assert (warning.rule, warning.rule_version) == ("missed-gold", 1)
        assert warning.figures == {"n_missed": 2, "n_gold": 2, "n_latest": 20}
        notice = rater_notice(rater)
        assert notice is not None and notice.kind is NoticeKind.LISTEN_CLOSELY
        give(study, rater, FOUND, gold=False)
        assert rater_notice(rater) is None

    def test_an_answer_to_a_pair_fetched_before_the_warning_does_not_end_it(
        self, study: Study, rater: Rater
    ) -> None:
        pair, now = make_pair(study), timezone.now()
        ahead = Assignment.objects.create(
            pair=pair,
            rater=rater,
            is_swapped=False,
            propensity=1,
            handed_out_at=now,
            lease_until=now + timedelta(minutes=15),
        )
        give_all(study, rater, [MISSED, MISSED])
        Assignment.objects.filter(pk=ahead.pk).update(state=AssignmentState.ANSWERED)
        assert rater_notice(rater) is not None

    def test_the_next_warning_needs_two_more_misses(self, study: Study, rater: Rater) -> None:
        give_all(study, rater, [MISSED] * 3)
        assert RaterWarning.objects.count() == 1
        give(study, rater, MISSED)
        assert RaterWarning.objects.count() == 2

    def test_the_notice_says_nothing_of_what_was_missed(self) -> None:
        assert not {"gold", "miss", "check"} & set(NoticeKind.LISTEN_CLOSELY.value.split("_"))

    def test_answers_that_find_the_damage_warn_nobody(self, study: Study, rater: Rater) -> None:
        give_all(study, rater, [FOUND, FOUND, Choice.BOTH_BAD, Choice.BOTH_BAD, MISSED])
        assert not RaterWarning.objects.exists()

    def test_an_answer_that_is_changed_to_the_damaged_clip_counts_as_missed(
        self, study: Study, rater: Rater
    ) -> None:
        give(study, rater, MISSED)
        rating = give(study, rater, FOUND)
        change_rating(
            rater=rater, rating_id=rating.pk, choice=MISSED, strength=None, now=timezone.now()
        )
        assert RaterWarning.objects.count() == 1


class TestExclusions:
    def test_the_fifth_miss_excludes_by_name_and_version(self, study: Study, rater: Rater) -> None:
        give_all(study, rater, [MISSED] * 4)
        assert not RaterExclusion.objects.exists()
        give(study, rater, Choice.TIE)
        exclusion = RaterExclusion.objects.get()
        assert (exclusion.rule, exclusion.rule_version, exclusion.made_by) == (
            "missed-gold",
            1,
            None,
        )
        assert exclusion.figures["n_missed"] == 5
        assert exclusion.reason == "5 of the latest 5 gold pairs were missed"

    def test_an_excluded_rater_is_excluded_once_and_goes_on(
        self, study: Study, rater: Rater
    ) -> None:
        give_all(study, rater, [MISSED] * 7)
        assert RaterExclusion.objects.count() == 1
        make_pair(study)
        rng, now = random.Random(1), timezone.now()
        assert assign_pair(study=study, rater=rater, rng=rng, now=now) is not None

    def test_lifting_names_who_and_why_and_forgives_what_was_missed(
        self, study: Study, rater: Rater, actor: User
    ) -> None:
        give_all(study, rater, [MISSED] * 5)
        lifted = lift_exclusion(
            rater=rater, actor=actor, reason="their headphones were broken", now=timezone.now()
        )
        assert (lifted.lifted_by, lifted.lift_reason) == (actor, "their headphones were broken")
        give(study, rater, MISSED)
        assert not RaterExclusion.objects.filter(lifted_at=None).exists()
        give_all(study, rater, [MISSED] * 4)
        assert RaterExclusion.objects.filter(lifted_at=None).count() == 1
        assert [each.lifted_at is None for each in exclusions_of(rater)] == [True, False]

    def test_people_exclude_by_hand_with_a_reason_and_once(self, rater: Rater, actor: User) -> None:
        first = exclude_rater(rater=rater, actor=actor, reason="asked for it", now=timezone.now())
        again = exclude_rater(rater=rater, actor=actor, reason="once more", now=timezone.now())
        assert (first.rule, first.made_by, again) == ("by-hand", actor, first)
        with pytest.raises(TrustError, match="a reason of 0 characters"):
            exclude_rater(rater=create_rater(), actor=actor, reason="  ", now=timezone.now())

    def test_there_is_nothing_to_lift_without_an_exclusion(self, rater: Rater, actor: User) -> None:
        with pytest.raises(TrustError, match="there is nothing to lift"):
            lift_exclusion(rater=rater, actor=actor, reason="why not", now=timezone.now())

    def test_the_database_keeps_one_standing_exclusion_and_its_reason(
        self, rater: Rater, actor: User
    ) -> None:
        exclude_rater(rater=rater, actor=actor, reason="asked for it", now=timezone.now())
        with pytest.raises(IntegrityError):
            RaterExclusion.objects.create(rater=rater, rule="x", rule_version=1, reason="x")


class TestDatasets:
    @pytest.fixture(autouse=True)
    def _few_preferences_are_enough(self, settings: Any) -> None:
        settings.ATTUNE_MINIMUM_PREFERENCES = 4

    @pytest.fixture
    def world(self, tmp_path: Path) -> RatedStudy:
        """Six preferences of rater 0, then three of rater 1."""
        world = rated_study(tmp_path)
        world.rate_pairs([Choice.A] * 6)
        for _ in range(3):
            world.rate(world.add_pair(), rater=1)
        return world

    def test_answers_of_an_excluded_rater_are_left_out_and_come_back_when_it_is_lifted(
        self, world: RatedStudy, actor: User
    ) -> None:
        assert preflight(world.study, world.base).n_usable == 9
        exclude_rater(rater=world.rater(1), actor=actor, reason="a test", now=timezone.now())
        found = preflight(world.study, world.base)
        assert (found.n_usable, found.counts["excluded_rater"]) == (6, 3)
        lift_exclusion(rater=world.rater(1), actor=actor, reason="it is over", now=timezone.now())
        found = preflight(world.study, world.base)
        assert (found.n_usable, found.counts["excluded_rater"]) == (9, 0)

    def test_a_frozen_dataset_stays_as_it_is(self, world: RatedStudy, actor: User) -> None:
        round = create_round(study=world.study, base_checkpoint=world.base, config={})
        before = (round.dataset_sha256, round.preferences.count())
        exclude_rater(rater=world.rater(1), actor=actor, reason="too late", now=timezone.now())
        round.refresh_from_db()
        assert (round.dataset_sha256, round.preferences.count()) == before
        assert before[1] == 9


class TestWork:
    def test_accepting_work_and_using_it_are_two_facts(
        self, study: Study, rater: Rater, actor: User
    ) -> None:
        give_all(study, rater, [MISSED] * 5)
        decision = decide_work(
            rater=rater,
            study=study,
            is_accepted=True,
            actor=actor,
            reason="worked through the study",
            now=timezone.now(),
        )
        assert (decision.is_accepted, decision.n_ratings) == (True, 5)
        assert RaterExclusion.objects.filter(lifted_at=None).count() == 1
        lift_exclusion(rater=rater, actor=actor, reason="headphones", now=timezone.now())
        assert WorkDecision.objects.get().is_accepted


class TestFigures:
    def test_the_figures_of_a_rater_come_from_their_answers_alone(
        self, study: Study, rater: Rater, actor: User
    ) -> None:
        other = create_rater()
        give_all(study, rater, [FOUND, FOUND, MISSED])
        give(study, rater, Choice.TIE, gold=False)
        give(study, other, Choice.B, gold=False)
        exclude_rater(rater=other, actor=actor, reason="a test", now=timezone.now())
        first, second = rater_trusts(rating_raters(study=study))
        assert (first.rater, first.n_ratings, first.exclusion) == (rater, 4, None)
        assert (first.figures.gold, first.figures.ties) == (Share(2, 3), Share(1, 4))
        assert second.exclusion is not None
        assert list(rating_raters(study=make_study())) == []


class TestTallies:
    def count(self, study: Study) -> tuple[int, int, int]:
        tally = OpponentTally.objects.get(population=study.population)
        return tally.n_first, tally.n_second, tally.n_ties

    def answer_judging(
        self,
        study: Study,
        choice: str,
        *,
        is_swapped: bool,
        is_turned: bool,
        is_repeat: bool = False,
    ) -> Rating:
        """An answer about the study's two checkpoints, which the pair may name the other way."""
        if not hasattr(self, "opponents"):
            self.opponents = (make_checkpoint(), make_checkpoint())
        one, two = self.opponents[::-1] if is_turned else self.opponents
        rater, now = create_rater(), timezone.now()
        assignment = Assignment.objects.create(
            pair=make_pair(study, checkpoints=(one, two)),
            rater=rater,
            is_swapped=is_swapped,
            is_repeat=is_repeat,
            propensity=1,
            lease_until=now + timedelta(minutes=1),
        )
        rating, _ = record_rating(
            rater=rater,
            assignment_id=assignment.pk,
            client_id=uuid4(),
            choice=choice,
            strength=None,
            heard={},
            now=now,
        )
        return rating

    @pytest.mark.parametrize(
        ("choice", "is_swapped", "is_turned", "expected"),
        [
            ("A", False, False, (1, 0, 0)),
            ("A", True, False, (0, 1, 0)),
            ("A", False, True, (0, 1, 0)),
            ("A", True, True, (1, 0, 0)),
            ("B", False, False, (0, 1, 0)),
            ("TIE", True, False, (0, 0, 1)),
        ],
    )
    def test_an_answer_counts_for_the_checkpoint_it_was_for(
        self,
        study: Study,
        choice: str,
        is_swapped: bool,
        is_turned: bool,
        expected: tuple[int, int, int],
    ) -> None:
        self.answer_judging(study, choice, is_swapped=is_swapped, is_turned=is_turned)
        assert self.count(study) == expected

    def test_a_changed_answer_is_counted_once(self, study: Study) -> None:
        rating = self.answer_judging(study, "A", is_swapped=False, is_turned=False)
        for choice, expected in (("TIE", (0, 0, 1)), ("B", (0, 1, 0)), ("BOTH_BAD", (0, 0, 0))):
            change_rating(
                rater=rating.rater,
                rating_id=rating.pk,
                choice=choice,
                strength=None,
                now=timezone.now(),
            )
            assert self.count(study) == expected

    def test_repeats_and_training_pairs_are_not_counted(self, study: Study) -> None:
        self.answer_judging(study, "A", is_swapped=False, is_turned=False, is_repeat=True)
        give(study, create_rater(), Choice.A, gold=False)
        assert not OpponentTally.objects.exists()

    def test_the_chooser_reads_the_tallies(self, study: Study) -> None:
        rating = self.answer_judging(study, "A", is_swapped=False, is_turned=False)
        pair = make_pair(study, checkpoints=self.opponents)
        candidates = candidate_pairs(study=study, rater=rating.rater)
        assert [candidate.pair_id for candidate in candidates] == [pair.pk]
        found = opponent_tallies(population=study.population, candidates=candidates)
        assert found == {(self.opponents[0].pk, self.opponents[1].pk): Tally(1, 0, 0)}
        assert pair.purpose == PairPurpose.JUDGING
