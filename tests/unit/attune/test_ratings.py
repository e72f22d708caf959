"""Answers are stored once, can be changed until a round uses them, and are kept apart."""

from functools import partial
from uuid import uuid4

import pytest
from django.db import IntegrityError

from attune.catalog.models import Population
from attune.raters.models import Rater
from attune.raters.services import create_rater
from attune.ratings.choices import AssignmentState, Choice, Side
from attune.ratings.errors import (
    AnswerError,
    AssignmentClosedError,
    AssignmentNotFoundError,
    ListeningError,
    RatingFrozenError,
    RatingNotFoundError,
    StudyError,
)
from attune.ratings.models import (
    Assignment,
    ClipReport,
    ListeningEvent,
    Rating,
    RatingRevision,
)
from attune.ratings.services import (
    change_rating,
    create_study,
    expire_assignments,
    record_rating,
    report_clip,
    update_study,
)
from tests.factories import (
    NOW,
    later,
    make_pair,
    make_prompts,
    make_study,
)
from tests.unit.attune.rating_steps import answer, find_next, hand_out, run_at_once

pytestmark = pytest.mark.django_db

LEASE_S = 900
DAY_S = 24 * 3600


class TestStudies:
    def test_a_setting_that_is_not_allowed_is_named(self) -> None:
        prompt_set = make_prompts()
        with pytest.raises(StudyError, match="judging_share") as caught:
            create_study(
                slug="s",
                name="s",
                population=Population.PEOPLE,
                prompt_set=prompt_set,
                judging_share=1.5,
            )
        assert caught.value.slug == "s"

    def test_an_unknown_population_and_a_taken_slug_are_refused(self) -> None:
        study = make_study()
        for slug, population in (("other", "dogs"), (study.slug, "people")):
            with pytest.raises(StudyError):
                create_study(
                    slug=slug, name="s", population=population, prompt_set=study.prompt_set
                )

    def test_settings_change_but_not_whose_ratings_are_collected(self) -> None:
        study = make_study()
        assert update_study(study=study, overlap=3, is_open=False).overlap == 3
        with pytest.raises(StudyError, match="population cannot be changed"):
            update_study(study=study, population=Population.REHEARSAL)
        with pytest.raises(StudyError, match="overlap"):
            update_study(study=study, overlap=0)
        study.refresh_from_db()
        assert (study.overlap, study.is_open) == (3, False)


class TestAnswering:
    def test_an_answer_is_stored_with_what_was_heard(self) -> None:
        study, rater = make_study(minimum_listening_s=1.0), create_rater()
        pair = make_pair(study)
        assignment = hand_out(study, rater)
        heard = {Side.A: [(0.0, 1.0), (0.5, 1.5)], Side.B: [(0.0, 2.0)]}
        rating = answer(rater, assignment, Choice.B, strength=3, heard=heard)
        assert (rating.choice, rating.strength, rating.pair) == ("B", 3, pair)
        events = ListeningEvent.objects.order_by("pk").values_list("side", "start_s", "end_s")
        assert list(events) == [("A", 0, 1.5), ("B", 0, 2)]
        assignment.refresh_from_db()
        pair.refresh_from_db()
        assert (assignment.state, pair.n_ratings) == (AssignmentState.ANSWERED, 1)

    def test_an_answer_without_listening_is_refused_and_can_be_given_again(self) -> None:
        study, rater = make_study(minimum_listening_s=1.0), create_rater()
        make_pair(study)
        assignment = hand_out(study, rater)
        with pytest.raises(ListeningError, match="side A was heard for"):
            answer(rater, assignment)
        heard = {Side.A: [(0.0, 2.0)], Side.B: [(0.0, 2.0)]}
        with pytest.raises(ListeningError, match=r"4\.0 s of listening in 2\.0 s"):
            answer(rater, assignment, heard=heard, at=2)
        assert not Rating.objects.exists()
        assert answer(rater, assignment, heard=heard, at=4)

    @pytest.mark.parametrize("choice", list(Choice))
    def test_every_choice_is_stored_as_it_was_given(self, choice: Choice) -> None:
        study, rater = make_study(), create_rater()
        make_pair(study)
        assert answer(rater, hand_out(study, rater), choice).choice == choice
        assert Rating.objects.get().choice == choice.value

    @pytest.mark.parametrize(
        ("choice", "strength"),
        [("C", None), ("a", None), ("A", 0), ("B", 4), ("TIE", 1), ("BOTH_BAD", 2)],
    )
    def test_a_choice_or_strength_that_does_not_exist_is_refused(
        self, choice: str, strength: int | None
    ) -> None:
        study, rater = make_study(), create_rater()
        make_pair(study)
        with pytest.raises(AnswerError):
            answer(rater, hand_out(study, rater), choice, strength=strength)

    def test_the_database_refuses_a_tie_with_a_strength(self) -> None:
        study, rater = make_study(), create_rater()
        make_pair(study)
        answer(rater, hand_out(study, rater), Choice.TIE)
        with pytest.raises(IntegrityError, match="strength_is_1_to_3"):
            Rating.objects.update(strength=2)

    def test_sent_twice_an_answer_is_stored_once(self) -> None:
        study, rater = make_study(), create_rater()
        pair = make_pair(study)
        assignment, client_id = hand_out(study, rater), uuid4()
        first = answer(rater, assignment, "A", client_id=client_id)
        second, is_new = record_rating(
            rater=rater,
            assignment_id=assignment.pk,
            client_id=client_id,
            choice="B",
            strength=None,
            heard={},
            now=later(90),
        )
        pair.refresh_from_db()
        assert (second, is_new, second.choice, pair.n_ratings) == (first, False, "A", 1)

    @pytest.mark.django_db(transaction=True)
    def test_a_double_click_is_one_rating_and_both_get_it(self) -> None:
        study, rater = make_study(), create_rater()
        pair = make_pair(study)
        assignment, client_id = hand_out(study, rater), uuid4()
        stored: list[tuple[Rating, bool]] = []

        def send() -> None:
            stored.append(
                record_rating(
                    rater=rater,
                    assignment_id=assignment.pk,
                    client_id=client_id,
                    choice="A",
                    strength=None,
                    heard={},
                    now=later(9),
                )
            )

        assert run_at_once([send] * 4) == []
        assert {rating.pk for rating, _ in stored} == {Rating.objects.get().pk}
        assert sorted(is_new for _, is_new in stored) == [False, False, False, True]
        pair.refresh_from_db()
        assert pair.n_ratings == 1

    def test_a_second_answer_to_an_assignment_is_refused(self) -> None:
        study, rater = make_study(), create_rater()
        make_pair(study)
        assignment = hand_out(study, rater)
        answer(rater, assignment)
        with pytest.raises(AssignmentClosedError, match="answered or skipped before"):
            answer(rater, assignment)

    def test_a_client_id_stands_for_one_answer_of_one_rater(self) -> None:
        study, one, two = make_study(), create_rater(), create_rater()
        make_pair(study)
        make_pair(study)
        client_id = uuid4()
        answer(one, hand_out(study, one), client_id=client_id)
        for rater in (one, two):
            with pytest.raises(AssignmentClosedError, match="used for another answer"):
                answer(rater, hand_out(study, rater, at=1), client_id=client_id)
            Assignment.objects.filter(state="open").update(state="skipped")
            make_pair(study)
        assert Rating.objects.count() == 1

    def test_another_raters_assignment_is_not_found(self) -> None:
        study = make_study()
        make_pair(study)
        assignment = hand_out(study, create_rater())
        with pytest.raises(AssignmentNotFoundError):
            answer(create_rater(), assignment)
        with pytest.raises(AssignmentNotFoundError):
            report_clip(rater=create_rater(), assignment_id=uuid4(), side="A", remark="", now=NOW)

    def test_a_late_answer_is_kept_while_its_place_is_free(self) -> None:
        study, rater = make_study(), create_rater()
        make_pair(study)
        assignment = hand_out(study, rater)
        expire_assignments(study=study, now=later(LEASE_S + 1))
        assert answer(rater, assignment, at=LEASE_S + DAY_S)

    def test_a_late_answer_is_refused_when_another_rater_has_the_place(self) -> None:
        study, late, other = make_study(), create_rater(), create_rater()
        make_pair(study)
        assignment = hand_out(study, late)
        hand_out(study, other, at=LEASE_S + 1)
        with pytest.raises(AssignmentClosedError, match="its place was taken"):
            answer(late, assignment, at=LEASE_S + 2)

    def test_an_answer_after_more_than_a_day_is_refused(self) -> None:
        study, rater = make_study(), create_rater()
        make_pair(study)
        assignment = hand_out(study, rater)
        with pytest.raises(AssignmentClosedError, match="more than a day ago"):
            answer(rater, assignment, at=LEASE_S + DAY_S + 1)

    @pytest.mark.django_db(transaction=True)
    def test_a_late_answer_and_a_new_rater_at_once_share_one_place(self) -> None:
        for round_number in range(5):
            study, late, other = make_study(), create_rater(), create_rater()
            pair = make_pair(study)
            assignment = hand_out(study, late)
            at = LEASE_S + 1.0 + round_number
            errors = run_at_once(
                [
                    partial(answer, late, assignment, at=at),
                    partial(find_next, study, other, at=at),
                ]
            )
            assert all(isinstance(error, AssignmentClosedError) for error in errors), errors
            held = pair.assignments.filter(state__in=["open", "answered"])
            assert held.count() == 1

    @pytest.mark.parametrize("is_simulated", [False, True])
    def test_a_rating_says_for_ever_whether_its_rater_was_simulated(
        self, is_simulated: bool
    ) -> None:
        population = Population.REHEARSAL if is_simulated else Population.PEOPLE
        study, rater = make_study(population=population), create_rater(is_simulated=is_simulated)
        make_pair(study)
        rating = answer(rater, hand_out(study, rater))
        Rater.objects.update(is_simulated=not is_simulated)
        rating.refresh_from_db()
        assert rating.is_simulated is is_simulated


class TestChanging:
    def rating(self, choice: str = "A") -> tuple[Rater, Rating]:
        study, rater = make_study(), create_rater()
        make_pair(study)
        return rater, answer(rater, hand_out(study, rater), choice)

    def change(
        self, rater: Rater, rating: Rating, choice: str, strength: int | None = None
    ) -> Rating:
        return change_rating(
            rater=rater, rating_id=rating.pk, choice=choice, strength=strength, now=later(120)
        )

    def test_an_answer_can_be_changed_and_what_it_said_is_kept(self) -> None:
        rater, rating = self.rating()
        self.change(rater, rating, "B", 2)
        self.change(rater, rating, "TIE")
        rating.refresh_from_db()
        assert (rating.choice, rating.strength, rating.changed_at) == ("TIE", None, later(120))
        revisions = RatingRevision.objects.order_by("pk").values_list("choice", "strength")
        assert list(revisions) == [("A", None), ("B", 2)]

    def test_the_same_answer_again_leaves_no_trace(self) -> None:
        rater, rating = self.rating()
        assert self.change(rater, rating, "A").changed_at is None
        assert not RatingRevision.objects.exists()

    def test_a_frozen_rating_stays_as_it_is(self) -> None:
        rater, rating = self.rating()
        Rating.objects.update(is_frozen=True)
        with pytest.raises(RatingFrozenError, match=r"^this answer can no longer be changed$"):
            self.change(rater, rating, "B")
        assert Rating.objects.get().choice == "A"

    def test_another_raters_rating_is_not_found(self) -> None:
        _, rating = self.rating()
        with pytest.raises(RatingNotFoundError):
            self.change(create_rater(), rating, "B")


class TestReporting:
    def report(self, rater: Rater, assignment: Assignment, side: str = "B") -> ClipReport:
        return report_clip(
            rater=rater, assignment_id=assignment.pk, side=side, remark="silence", now=NOW
        )

    def test_a_report_skips_the_assignment_and_withdraws_the_pair(self) -> None:
        study, rater = make_study(overlap=3), create_rater()
        pair = make_pair(study)
        assignment = hand_out(study, rater)
        report = self.report(rater, assignment)
        assert self.report(rater, assignment) == report
        assert (report.side, report.remark) == ("B", "silence")
        assignment.refresh_from_db()
        pair.refresh_from_db()
        assert (assignment.state, pair.is_withdrawn) == (AssignmentState.SKIPPED, True)
        assert find_next(study, create_rater()) is None
        with pytest.raises(AssignmentClosedError, match="answered or skipped before"):
            answer(rater, assignment)

    def test_a_report_after_the_answer_keeps_the_answer(self) -> None:
        study, rater = make_study(), create_rater()
        make_pair(study)
        assignment = hand_out(study, rater)
        rating = answer(rater, assignment)
        self.report(rater, assignment)
        assignment.refresh_from_db()
        assert assignment.state == AssignmentState.ANSWERED
        assert Rating.objects.get() == rating
