"""Pairs are handed out within the study's overlap, to each rater once, by leases."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
from django.db.models import Count

from attune.catalog.models import Population
from attune.raters.models import Rater
from attune.raters.services import create_rater, withdraw_rater
from attune.ratings.choices import AssignmentState, PairPurpose
from attune.ratings.errors import (
    PopulationError,
    WithdrawnError,
)
from attune.ratings.models import (
    Assignment,
    Pair,
    Rating,
)
from attune.ratings.services import (
    assign_pair,
    close_study,
    expire_assignments,
    open_study,
)
from tests.factories import (
    NOW,
    later,
    make_checkpoint,
    make_gold_pair,
    make_pair,
    make_study,
)
from tests.unit.attune.rating_steps import answer, find_next, hand_out, run_at_once

pytestmark = pytest.mark.django_db

LEASE_S = 900
DAY_S = 24 * 3600


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
