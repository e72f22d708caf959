"""Pairs are handed out within the study's overlap, answers are stored once and kept apart."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection
from django.db.models import Count

from attune.catalog.models import Population
from attune.raters.models import Rater
from attune.raters.services import create_rater, withdraw_rater
from attune.ratings.choices import AssignmentState, Choice, PairPurpose, Side
from attune.ratings.errors import (
    AnswerError,
    AssignmentClosedError,
    AssignmentNotFoundError,
    ListeningError,
    PopulationError,
    RatingFrozenError,
    RatingNotFoundError,
    StudyError,
    WithdrawnError,
)
from attune.ratings.models import (
    Assignment,
    ClipReport,
    ListeningEvent,
    Pair,
    Rating,
    RatingRevision,
    Study,
)
from attune.ratings.services import (
    assign_pair,
    change_rating,
    close_study,
    create_study,
    expire_assignments,
    open_study,
    record_rating,
    report_clip,
    update_study,
)
from tests.factories import (
    NOW,
    later,
    make_checkpoint,
    make_gold_pair,
    make_pair,
    make_prompts,
    make_study,
)

pytestmark = pytest.mark.django_db

LEASE_S = 900
DAY_S = 24 * 3600


def hand_out(
    study: Study, rater: Rater, *, at: float = 0, after: UUID | None = None, seed: int = 1
) -> Assignment:
    assignment = find_next(study, rater, at=at, after=after, seed=seed)
    assert assignment is not None
    return assignment


def find_next(
    study: Study, rater: Rater, *, at: float = 0, after: UUID | None = None, seed: int = 1
) -> Assignment | None:
    rng = random.Random(seed)
    return assign_pair(study=study, rater=rater, rng=rng, now=later(at), after=after)


def answer(
    rater: Rater,
    assignment: Assignment,
    choice: str = Choice.A,
    *,
    client_id: UUID | None = None,
    strength: int | None = None,
    heard: Mapping[Side, Sequence[tuple[float, float]]] | None = None,
    at: float = 60,
) -> Rating:
    rating, _ = record_rating(
        rater=rater,
        assignment_id=assignment.pk,
        client_id=client_id or uuid4(),
        choice=choice,
        strength=strength,
        heard=heard or {},
        now=later(at),
    )
    return rating


def run_at_once(works: Sequence[Callable[[], object]]) -> list[Exception]:
    """Runs all works in threads that start together; returns what they raised."""
    errors: list[Exception] = []
    start = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        start.wait()
        try:
            work()
        except Exception as exc:
            errors.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


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


class TestAssigning:
    def test_a_pair_is_handed_out_with_lease_side_and_propensity(self) -> None:
        study = make_study()
        pair = make_pair(study)
        assignment = hand_out(study, create_rater())
        assert (assignment.pair, assignment.propensity) == (pair, 1.0)
        assert (assignment.handed_out_at, assignment.lease_until) == (NOW, later(LEASE_S))

    def test_a_reload_shows_the_same_assignment_and_renews_its_lease(self) -> None:
        study, rater = make_study(), create_rater()
        for _ in range(5):
            make_pair(study)
        first = hand_out(study, rater)
        again = hand_out(study, rater, at=600, seed=2)
        assert again == first
        assert (again.lease_until, again.is_swapped) == (later(600 + LEASE_S), first.is_swapped)

    def test_the_next_pair_can_be_fetched_ahead_and_no_more(self) -> None:
        study, rater = make_study(overlap=2), create_rater()
        for _ in range(5):
            make_pair(study)
        first = hand_out(study, rater)
        ahead = hand_out(study, rater, at=1, after=first.pk)
        assert ahead.pair != first.pair
        assert hand_out(study, rater, at=2, after=first.pk) == ahead
        assert hand_out(study, rater, at=3) == first
        assert Assignment.objects.count() == 2

    def test_with_room_for_two_raters_a_pair_is_not_fetched_twice_by_one(self) -> None:
        study, rater = make_study(overlap=2), create_rater()
        make_pair(study)
        first = hand_out(study, rater)
        assert find_next(study, rater, after=first.pk) is None

    def test_a_pair_goes_to_as_many_raters_as_the_overlap_says(self) -> None:
        study = make_study(overlap=2)
        make_pair(study)
        assert [find_next(study, create_rater()) is not None for _ in range(3)] == [
            True,
            True,
            False,
        ]

    def test_pairs_that_are_pending_withdrawn_or_of_another_study_are_not_handed_out(self) -> None:
        study = make_study()
        Pair.objects.filter(pk=make_pair(study).pk).update(is_ready=False)
        Pair.objects.filter(pk=make_pair(study).pk).update(is_withdrawn=True)
        make_pair(make_study())
        assert find_next(study, create_rater()) is None

    def test_a_rater_never_gets_a_pair_again_that_was_answered(self) -> None:
        study, rater = make_study(overlap=3), create_rater()
        make_pair(study)
        answer(rater, hand_out(study, rater))
        assert find_next(study, rater, at=100) is None

    def test_a_pair_that_was_left_goes_to_another_rater(self) -> None:
        study, one, two = make_study(), create_rater(), create_rater()
        make_pair(study)
        left = hand_out(study, one)
        assert find_next(study, two, at=LEASE_S) is None
        taken = hand_out(study, two, at=LEASE_S + 1)
        left.refresh_from_db()
        assert left.state == AssignmentState.EXPIRED
        assert taken.pair == left.pair

    def test_a_pair_that_was_left_may_come_back_to_the_same_rater(self) -> None:
        study, rater = make_study(), create_rater()
        make_pair(study)
        left = hand_out(study, rater)
        again = hand_out(study, rater, at=LEASE_S + 1, seed=9)
        assert (again.pk, again.state, again.is_swapped) == (left.pk, "open", left.is_swapped)
        assert again.lease_until == later(2 * LEASE_S + 1)

    def test_the_same_prompt_does_not_come_twice_in_a_row_when_there_is_another(self) -> None:
        study, rater = make_study(), create_rater()
        prompts = list(study.prompt_set.prompts.order_by("pk"))
        for prompt in (*prompts, *prompts):
            make_pair(study, prompt=prompt)
        seen: list[int] = []
        for index in range(6):
            assignment = hand_out(study, rater, at=index, seed=index)
            seen.append(assignment.pair.prompt_id)
            answer(rater, assignment, at=index)
        # The sixth may have no choice left.
        assert all(first != second for first, second in pairwise(seen[:5]))

    def test_a_side_is_as_likely_as_the_other(self) -> None:
        study = make_study(overlap=60)
        make_pair(study)
        rng = random.Random(4)
        n_swapped = 0
        for _ in range(60):
            assignment = assign_pair(study=study, rater=create_rater(), rng=rng, now=NOW)
            assert assignment is not None
            n_swapped += assignment.is_swapped
        assert 18 < n_swapped < 42

    def test_the_most_telling_judging_pair_comes_more_often(self) -> None:
        """Of 2 candidates one is known: 0.1 + 0.8 against 0.1."""
        study = make_study(overlap=50)
        one, two, three = (make_checkpoint() for _ in range(3))
        known, unknown = (
            make_pair(study, checkpoints=(two, one)),
            make_pair(study, checkpoints=(one, three)),
        )
        for index in range(10):
            rater = create_rater()
            Pair.objects.filter(pk=unknown.pk).update(is_ready=False)
            answer(rater, hand_out(study, rater), "A" if index % 2 else "TIE")
        Pair.objects.update(is_ready=True)
        found = {hand_out(study, create_rater(), seed=seed).pair_id for seed in range(3)}
        assert unknown.pk in found
        propensities = dict(
            Assignment.objects.filter(state="open").values_list("pair_id", "propensity")
        )
        assert propensities[unknown.pk] == pytest.approx(0.9)
        assert propensities.get(known.pk, 0.1) == pytest.approx(0.1)

    def test_a_closed_study_hands_out_nothing_new_but_keeps_what_is_in_hand(self) -> None:
        study, rater = make_study(), create_rater()
        make_pair(study)
        make_pair(study)
        held = hand_out(study, rater)
        close_study(study=study)
        assert find_next(study, create_rater()) is None
        assert hand_out(study, rater) == held
        assert answer(rater, held)
        open_study(study=study)
        assert find_next(study, rater) is not None

    def test_a_rater_who_withdrew_gets_nothing(self) -> None:
        study, rater = make_study(), create_rater()
        make_pair(study)
        held = hand_out(study, rater)
        withdraw_rater(rater=rater, now=NOW)
        with pytest.raises(WithdrawnError):
            find_next(study, rater)
        with pytest.raises(WithdrawnError):
            answer(rater, held)

    @pytest.mark.parametrize("population", list(Population))
    def test_populations_never_mix(self, population: Population) -> None:
        study = make_study(population=population)
        pair = make_pair(study)
        stranger = create_rater(is_simulated=population == Population.PEOPLE)
        with pytest.raises(PopulationError, match=r"^this study is not open to you$"):
            find_next(study, stranger)
        smuggled = Assignment.objects.create(
            pair=pair, rater=stranger, is_swapped=False, propensity=1, lease_until=later(LEASE_S)
        )
        with pytest.raises(PopulationError):
            answer(stranger, smuggled)
        assert not Rating.objects.exists()

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("overlap", [1, 2])
    def test_raters_who_come_at_once_never_exceed_the_overlap(self, overlap: int) -> None:
        study = make_study(overlap=overlap)
        pairs = [make_pair(study) for _ in range(3)]
        raters = [create_rater() for _ in range(8)]
        got: list[Assignment | None] = []

        def come(rater: Rater, seed: int) -> Callable[[], object]:
            return lambda: got.append(find_next(study, rater, seed=seed))

        errors = run_at_once([come(rater, seed) for seed, rater in enumerate(raters)])
        assert errors == []
        held = Counter(assignment.pair_id for assignment in got if assignment)
        assert sum(held.values()) == min(len(raters), overlap * len(pairs))
        assert max(held.values()) <= overlap

    @pytest.mark.django_db(transaction=True)
    def test_of_a_hundred_raters_at_once_no_pair_has_more_than_its_overlap(self) -> None:
        """50 pairs with 2 places each for 100 raters who answer one pair and take another."""
        study = make_study(overlap=2, gold_share=0.1)
        prompts = list(study.prompt_set.prompts.order_by("pk"))
        for index in range(50):
            make_pair(study, prompt=prompts[index % len(prompts)])
        for prompt in prompts:
            make_gold_pair(study, prompt=prompt)
        raters = [create_rater() for _ in range(100)]

        def come(rater: Rater, seed: int) -> None:
            first = find_next(study, rater, seed=seed)
            if first is not None:
                answer(rater, first, at=0)
                find_next(study, rater, at=1, seed=seed + 1000)

        works = [partial(come, rater, seed) for seed, rater in enumerate(raters)]
        assert run_at_once(works) == []
        held: Counter[int] = Counter()
        of_rater: Counter[tuple[int, int]] = Counter()
        for assignment in Assignment.objects.select_related("pair"):
            of_rater[assignment.rater_id, assignment.pair_id] += 1
            held[assignment.pair_id] += assignment.pair.purpose != PairPurpose.GOLD
        assert set(of_rater.values()) == {1}, "nobody gets a pair twice"
        assert max(held.values()) == 2
        assert held.total() == 100, "no place is lost either"
        for pair in Pair.objects.annotate(n=Count("ratings")):
            assert pair.n_ratings == pair.n

    @pytest.mark.django_db(transaction=True)
    def test_one_rater_in_many_windows_gets_one_assignment(self) -> None:
        study, rater = make_study(), create_rater()
        for _ in range(6):
            make_pair(study)
        works = [partial(find_next, study, rater, seed=seed) for seed in range(6)]
        assert run_at_once(works) == []
        assert Assignment.objects.count() == 1

    def test_expiring_leaves_leases_that_still_run(self) -> None:
        study = make_study(overlap=2)
        make_pair(study)
        hand_out(study, create_rater())
        hand_out(study, create_rater(), at=100)
        assert expire_assignments(study=study, now=later(LEASE_S + 50)) == 1
        states = Assignment.objects.order_by("handed_out_at").values_list("state", flat=True)
        assert list(states) == ["expired", "open"]


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
