"""Gold pairs and repeats come among the others, as often as the study says, and look the same."""

import random
from collections import Counter
from itertools import pairwise
from uuid import uuid4

import pytest

from attune.catalog.models import Damage
from attune.raters.models import Rater
from attune.raters.services import create_rater
from attune.ratings.choices import AssignmentState, Choice, PairPurpose, Side
from attune.ratings.models import Assignment, Pair, Rating, Study
from attune.ratings.pairing import REPEAT_GAP
from attune.ratings.pairing_selectors import count_missing_gold, gold_pairs, repeat_pairs
from attune.ratings.selectors import count_waiting_pairs, side_clip, study_counts
from attune.ratings.services import (
    assign_pair,
    fill_pool,
    mark_ready_pairs,
    record_rating,
    report_clip,
)
from tests.factories import NOW, later, make_anchor, make_gold_pair, make_pair, make_study

pytestmark = pytest.mark.django_db


def hand_out(study: Study, rater: Rater, rng: random.Random, at: float = 0) -> Assignment | None:
    return assign_pair(study=study, rater=rater, rng=rng, now=later(at))


def answer(rater: Rater, assignment: Assignment, choice: str = Choice.A, at: float = 0) -> Rating:
    rating, _ = record_rating(
        rater=rater,
        assignment_id=assignment.pk,
        client_id=uuid4(),
        choice=choice,
        strength=None,
        heard={},
        now=later(at),
    )
    return rating


def rate_on(study: Study, rater: Rater, n: int, *, seed: int = 0) -> list[Assignment]:
    """What the rater is given in n answers, one a minute."""
    rng, given = random.Random(seed), []
    for minute in range(n):
        assignment = hand_out(study, rater, rng, at=60 * minute)
        assert assignment is not None
        given.append(assignment)
        answer(rater, assignment, at=60 * minute)
    return given


def prepared_study(n_pairs: int, n_gold: int = 0, **fields: float) -> Study:
    study = make_study(**fields)  # type: ignore[arg-type]
    prompts = list(study.prompt_set.prompts.order_by("pk"))
    for index in range(n_pairs):
        make_pair(study, prompt=prompts[index % len(prompts)])
    for index in range(n_gold):
        make_gold_pair(study, prompt=prompts[index % len(prompts)])
    return study


class TestMixing:
    def test_about_one_pair_in_ten_is_gold_and_one_a_repeat(self) -> None:
        """60 answers at 0.1 each: 6 of each are expected, give or take 2.3 at one deviation."""
        study = prepared_study(60, 20, gold_share=0.1, repeat_share=0.1)
        given = rate_on(study, create_rater(), 60)
        n_gold = sum(each.pair.purpose == PairPurpose.GOLD for each in given)
        n_repeats = sum(each.is_repeat for each in given)
        assert 1 <= n_gold <= 13
        assert 1 <= n_repeats <= 13

    def test_without_shares_nobody_is_checked(self) -> None:
        study = prepared_study(30, 5, gold_share=0.0, repeat_share=0.0)
        given = rate_on(study, create_rater(), 30)
        assert not any(each.is_repeat or each.pair.purpose == "gold" for each in given)

    def test_the_propensity_is_that_of_the_whole_choice(self) -> None:
        """3 fresh pairs of other prompts and 2 gold: 0.8 / 3 and 0.2 / 2."""
        study = make_study(gold_share=0.2)
        prompts = list(study.prompt_set.prompts.order_by("pk"))
        fresh = [make_pair(study, prompt=prompt).pk for prompt in prompts]
        gold = [make_gold_pair(study, prompt=prompt).pk for prompt in prompts[:2]]
        found = {}
        for seed in range(30):
            assignment = hand_out(study, create_rater(), random.Random(seed))
            assert assignment is not None
            found[assignment.pair_id] = assignment.propensity
            Assignment.objects.all().delete()
        assert {pk: found[pk] for pk in fresh} == pytest.approx(dict.fromkeys(fresh, 0.8 / 3))
        assert {pk: found[pk] for pk in gold} == pytest.approx(dict.fromkeys(gold, 0.1))

    def test_pairs_are_handed_out_as_often_as_their_propensities_say(self) -> None:
        """One of the fresh pairs is in another's hands and so tells less; two are gold."""
        study = make_study(gold_share=0.3, overlap=2)
        prompts = list(study.prompt_set.prompts.order_by("pk"))
        pairs = [make_pair(study, prompt=prompt) for prompt in prompts]
        pairs += [make_gold_pair(study, prompt=prompt) for prompt in prompts[:2]]
        hand_out(study, create_rater(), random.Random(3))
        rng, n, rater = random.Random(8), 250, create_rater()
        counts: Counter[int] = Counter()
        propensities: dict[int, float] = {}
        for _ in range(n):
            assignment = hand_out(study, rater, rng)
            assert assignment is not None
            counts[assignment.pair_id] += 1
            propensities[assignment.pair_id] = assignment.propensity
            assignment.delete()
        assert len(propensities) == len(pairs)
        assert sum(propensities.values()) == pytest.approx(1)
        for pk, propensity in propensities.items():
            deviation = (propensity * (1 - propensity) / n) ** 0.5
            assert abs(counts[pk] / n - propensity) < 4 * deviation

    def test_losing_a_place_does_not_make_gold_pairs_likelier(self) -> None:
        """Of 9 pairs 8 are taken in the moment of choosing: 40 raters still get 4 gold pairs."""
        study = prepared_study(9, 3, gold_share=0.1, overlap=1)
        others, rng = create_rater(), random.Random(6)
        for pair in Pair.objects.filter(purpose="training")[:8]:
            Assignment.objects.create(
                pair=pair,
                rater=others,
                is_swapped=False,
                state=AssignmentState.ANSWERED,
                propensity=1,
                lease_until=later(-3600),
            )
        n_gold = 0
        for _ in range(40):
            assignment = hand_out(study, create_rater(), rng)
            assert assignment is not None
            n_gold += assignment.pair.purpose == PairPurpose.GOLD
            assignment.delete()
        assert n_gold <= 11

    def test_no_prompt_comes_twice_in_a_row_whatever_the_kind(self) -> None:
        study = prepared_study(60, 12, gold_share=0.3, repeat_share=0.3)
        given = rate_on(study, create_rater(), 40)
        prompts = [each.pair.prompt_id for each in given]
        assert all(first != second for first, second in pairwise(prompts))

    def test_the_prompt_that_is_being_rated_is_not_fetched_ahead(self) -> None:
        study, rater, rng = prepared_study(12), create_rater(), random.Random(2)
        for at in range(0, 50, 10):
            first = hand_out(study, rater, rng, at=at)
            assert first is not None
            ahead = assign_pair(
                study=study, rater=rater, rng=rng, now=later(at + 1), after=first.pk
            )
            assert ahead is not None and ahead.pair.prompt_id != first.pair.prompt_id
            answer(rater, first, at=at)
            answer(rater, ahead, at=at)

    def test_a_rater_who_has_answered_all_is_not_kept_with_checks(self) -> None:
        study, rater = prepared_study(8, 9, gold_share=0.2, repeat_share=0.2), create_rater()
        rng = random.Random(0)
        while (assignment := hand_out(study, rater, rng)) is not None:
            answer(rater, assignment)
        fresh = Rating.objects.filter(assignment__is_repeat=False, pair__purpose="training")
        assert fresh.count() == 8
        assert gold_pairs(study=study, rater=rater) or repeat_pairs(study=study, rater=rater)

    def test_two_raters_hear_the_pairs_in_different_orders(self) -> None:
        study = prepared_study(12, overlap=2)
        orders = [
            [each.pair_id for each in rate_on(study, create_rater(), 12, seed=seed)]
            for seed in (1, 2)
        ]
        assert sorted(orders[0]) == sorted(orders[1])
        assert orders[0] != orders[1]


class TestGold:
    def test_a_gold_pair_goes_to_every_rater_once(self) -> None:
        study = prepared_study(40, 1, gold_share=0.4)
        for seed in range(3):
            given = rate_on(study, create_rater(), 12, seed=seed)
            assert sum(each.pair.purpose == PairPurpose.GOLD for each in given) == 1
        gold = Pair.objects.get(purpose=PairPurpose.GOLD)
        assert (gold.n_ratings, study.overlap) == (3, 1)

    def test_gold_pairs_are_no_evidence_in_the_counts_of_a_study(self) -> None:
        study = prepared_study(2, 3, gold_share=0.1)
        counts = study_counts([study])[study.pk]
        assert (counts.n_ready, count_waiting_pairs(study)) == (2, 2)

    def test_who_reports_the_damage_withdraws_nothing(self) -> None:
        study, rater = make_study(gold_share=0.4), create_rater()
        make_gold_pair(study)
        gold = Pair.objects.get(purpose=PairPurpose.GOLD)
        assignment = Assignment.objects.create(
            pair=gold, rater=rater, is_swapped=True, propensity=1, lease_until=later(900)
        )
        assert side_clip(assignment, Side.A).damage == Damage.DROPOUTS
        report_clip(rater=rater, assignment_id=assignment.pk, side="A", remark="", now=NOW)
        gold.refresh_from_db()
        assignment.refresh_from_db()
        assert (gold.is_withdrawn, assignment.state) == (False, AssignmentState.SKIPPED)
        report_clip(rater=rater, assignment_id=assignment.pk, side="B", remark="", now=NOW)
        gold.refresh_from_db()
        assert gold.is_withdrawn, "something is wrong with the whole clip itself"

    def test_a_pool_keeps_a_few_more_gold_pairs_than_the_busiest_rater_has_heard(self) -> None:
        make_anchor()
        study = make_study(pool_target=4, gold_share=0.1, judging_share=0.0)
        fill_pool(study=study, rng=random.Random(1))
        assert Pair.objects.filter(purpose=PairPurpose.GOLD).count() == 3
        assert Pair.objects.filter(purpose=PairPurpose.TRAINING).count() == 4
        assert fill_pool(study=study, rng=random.Random(2)) == 0
        rater = create_rater()
        for gold in Pair.objects.filter(purpose=PairPurpose.GOLD)[:2]:
            Assignment.objects.create(
                pair=gold, rater=rater, is_swapped=False, propensity=1, lease_until=NOW
            )
        assert count_missing_gold(study) == 2
        assert fill_pool(study=study, rng=random.Random(3)) >= 2
        assert Pair.objects.filter(purpose=PairPurpose.GOLD).count() == 5

    def test_gold_clips_are_made_after_those_that_raters_wait_for(self) -> None:
        make_anchor()
        study = make_study(pool_target=2, gold_share=0.1, judging_share=0.0)
        fill_pool(study=study, rng=random.Random(1))
        priorities = {
            pair.purpose: pair.first_clip.job.priority
            for pair in Pair.objects.select_related("first_clip__job")
            if pair.first_clip.job
        }
        assert priorities[PairPurpose.GOLD] < priorities[PairPurpose.TRAINING]

    def test_a_gold_pair_is_ready_with_both_clips(self) -> None:
        make_anchor()
        study = make_study(pool_target=1, gold_share=0.1)
        fill_pool(study=study, rng=random.Random(1))
        gold = Pair.objects.filter(purpose=PairPurpose.GOLD).select_related("second_clip")[0]
        assert gold.second_clip.damaged_from_id == gold.first_clip_id
        assert mark_ready_pairs(clips=[gold.first_clip]) == 0


class TestRepeats:
    def test_a_repeat_has_its_sides_swapped_and_comes_some_answers_later(self) -> None:
        study = prepared_study(80, repeat_share=0.4)
        given = rate_on(study, create_rater(), 50)
        first = {each.pair_id: (at, each) for at, each in enumerate(given) if not each.is_repeat}
        repeats = [(at, each) for at, each in enumerate(given) if each.is_repeat]
        assert len(repeats) > 5
        for at, again in repeats:
            heard_at, before = first[again.pair_id]
            assert at - heard_at > REPEAT_GAP
            assert again.is_swapped != before.is_swapped
        assert len({each.pair_id for _, each in repeats}) == len(repeats), "no pair a third time"

    def test_a_repeat_takes_no_place_and_adds_no_rating_to_its_pair(self) -> None:
        study = prepared_study(40, repeat_share=0.4, overlap=1)
        rate_on(study, create_rater(), 30)
        assert Rating.objects.filter(assignment__is_repeat=True).exists()
        assert set(Pair.objects.values_list("n_ratings", flat=True)) == {0, 1}

    def test_gold_pairs_and_withdrawn_ones_do_not_come_again(self) -> None:
        study, rater = prepared_study(20, 4, gold_share=0.3), create_rater()
        given = rate_on(study, rater, 14)
        gold = {each.pair_id for each in given if each.pair.purpose == PairPurpose.GOLD}
        assert gold
        withdrawn = next(each.pair_id for each in given if each.pair_id not in gold)
        Pair.objects.filter(pk=withdrawn).update(is_withdrawn=True)
        found = {known.pair_id for known in repeat_pairs(study=study, rater=rater)}
        assert found
        assert not found & (gold | {withdrawn})

    def test_a_repeat_that_was_left_comes_back_as_it_was(self) -> None:
        study, rater = prepared_study(30, repeat_share=0.4), create_rater()
        rate_on(study, rater, 12)
        rng, at = random.Random(1), 3000.0
        while True:
            left = hand_out(study, rater, rng, at=at)
            assert left is not None
            if left.is_repeat:
                break
            answer(rater, left, at=at)
        known = [each.pair_id for each in repeat_pairs(study=study, rater=rater)]
        assert left.pair_id not in known
        Assignment.objects.filter(pk=left.pk).update(state=AssignmentState.EXPIRED)
        known = [each.pair_id for each in repeat_pairs(study=study, rater=rater)]
        assert left.pair_id in known
