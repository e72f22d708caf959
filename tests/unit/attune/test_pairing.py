"""The chooser takes the most telling pair, always leaves a chance to others, and says which."""

import random
from collections import Counter

import numpy as np
import pytest

from attune.ratings.choices import PairPurpose
from attune.ratings.pairing import (
    Answered,
    Candidate,
    Kind,
    Known,
    Shares,
    Supply,
    Tally,
    choose_next,
    choose_pair,
    information,
    kind_propensities,
    of_other_prompts,
    pair_propensities,
    pairs_to_repeat,
    spread_prompts,
)


def candidate(
    pair_id: int = 1,
    *,
    opponents: tuple[int, int] = (1, 1),
    n_taken: int = 0,
    prompt_id: int = 1,
) -> Candidate:
    is_training = opponents[0] == opponents[1]
    return Candidate(
        pair_id=pair_id,
        prompt_id=prompt_id,
        purpose=PairPurpose.TRAINING if is_training else PairPurpose.JUDGING,
        opponents=opponents,
        n_taken=n_taken,
    )


def test_information_of_a_fresh_pair_is_a_36th() -> None:
    """Beta(1, 1): variance 1/12; two pseudo-answers and one more: a third of it goes."""
    assert information(candidate(opponents=(1, 2)), {}) == pytest.approx(1 / 36)


def test_close_and_little_known_opponents_tell_more() -> None:
    tallies = {
        (1, 2): Tally(5, 5),
        (1, 3): Tally(10, 0),
        (1, 4): Tally(50, 50),
        (1, 5): Tally(0, 0, n_ties=10),
    }
    values = [information(candidate(opponents=(1, k)), tallies) for k in (6, 2, 5, 3, 4)]
    assert values == sorted(values, reverse=True)
    assert values[1] == values[2], "ten ties and five wins each say the same of the win rate"


def test_a_pair_that_has_answers_tells_less() -> None:
    assert information(candidate(n_taken=1), {}) == information(candidate(), {}) / 2


def test_propensities_are_exact_by_hand() -> None:
    """4 candidates, uniform share 0.2: 0.05 each. Training (3 of 4): 0.6 to the two best.
    Judging (1 of 4): 0.2 to its only one."""
    candidates = [
        candidate(1),
        candidate(2),
        candidate(3, n_taken=1),
        candidate(4, opponents=(1, 2)),
    ]
    found = pair_propensities(candidates, {}, uniform_share=0.2)
    assert found == pytest.approx([0.35, 0.35, 0.05, 0.25])
    assert sum(found) == pytest.approx(1)


def test_a_uniform_share_of_one_makes_all_equal() -> None:
    candidates = [candidate(1), candidate(2, n_taken=3)]
    assert pair_propensities(candidates, {}, uniform_share=1) == [0.5, 0.5]


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="uniform_share"):
        pair_propensities([candidate()], {}, uniform_share=share)


@pytest.mark.parametrize("rng", [random.Random(7), np.random.default_rng(7)])
def test_pairs_are_chosen_as_often_as_their_propensity_says(
    rng: random.Random | np.random.Generator,
) -> None:
    candidates = [candidate(1), candidate(2, n_taken=1), candidate(3, opponents=(1, 2))]
    expected = pair_propensities(candidates, {})
    n = 4000
    counts: Counter[int] = Counter()
    for _ in range(n):
        chosen = choose_pair(candidates, {}, rng)
        assert chosen.propensity == pytest.approx(expected[chosen.index])
        counts[chosen.index] += 1
    for index, propensity in enumerate(expected):
        deviation = (propensity * (1 - propensity) / n) ** 0.5
        assert abs(counts[index] / n - propensity) < 4 * deviation


def test_one_candidate_is_certain() -> None:
    assert choose_pair([candidate()], {}, random.Random(0)).propensity == 1.0


def test_no_candidate_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 candidates"):
        choose_pair([], {}, random.Random(0))


def test_the_last_prompt_is_left_out_unless_there_is_no_other() -> None:
    same, other = candidate(1, prompt_id=1), candidate(2, prompt_id=2)
    assert of_other_prompts(Supply([same, other]), 1).fresh == [other]
    assert of_other_prompts(Supply([same]), 1).fresh == [same]
    assert of_other_prompts(Supply([same, other]), None).fresh == [same, other]


def test_gold_pairs_and_repeats_of_the_last_prompt_wait_even_alone() -> None:
    supply = Supply([candidate(1, prompt_id=1)], gold=[Known(2, 1)], repeats=[Known(3, 1)])
    found = of_other_prompts(supply, 1)
    assert (found.gold, found.repeats) == ([], [])
    assert of_other_prompts(supply, 2).gold == [Known(2, 1)]


FULL = Supply(
    fresh=[candidate(1), candidate(2, n_taken=1), candidate(3, opponents=(1, 2))],
    gold=[Known(11, 7), Known(12, 8)],
    repeats=[Known(21, 9, is_swapped=True)],
)
TENTHS = Shares(gold=0.1, repeat=0.1)


def test_kinds_without_a_pair_leave_their_share_to_fresh_pairs() -> None:
    assert kind_propensities(FULL, TENTHS) == pytest.approx(
        {Kind.FRESH: 0.8, Kind.GOLD: 0.1, Kind.REPEAT: 0.1}
    )
    no_gold = Supply(FULL.fresh, repeats=FULL.repeats)
    assert kind_propensities(no_gold, TENTHS) == pytest.approx(
        {Kind.FRESH: 0.9, Kind.GOLD: 0.0, Kind.REPEAT: 0.1}
    )
    assert kind_propensities(FULL, Shares())[Kind.FRESH] == 1.0


def test_without_a_fresh_pair_nobody_is_kept_busy_with_checks() -> None:
    supply = Supply([], gold=FULL.gold, repeats=FULL.repeats)
    assert choose_next(supply, random.Random(0), shares=TENTHS) is None


def test_the_stored_probability_is_the_true_one_whatever_is_chosen() -> None:
    """Fresh: 0.8 x (0.2/3 + 0.8 x 2/3) for 1, 0.8 x 0.2/3 for 2, 0.8 x (0.2/3 + 0.8/3) for 3."""
    expected = {1: 0.48, 2: 0.8 * 0.2 / 3, 3: 0.8 / 3, 11: 0.05, 12: 0.05, 21: 0.1}
    rng, n = random.Random(11), 20_000
    counts: Counter[int] = Counter()
    for _ in range(n):
        chosen = choose_next(FULL, rng, shares=TENTHS)
        assert chosen is not None
        assert chosen.propensity == pytest.approx(expected[chosen.pair_id])
        counts[chosen.pair_id] += 1
    assert sum(expected.values()) == pytest.approx(1)
    for pair_id, propensity in expected.items():
        deviation = (propensity * (1 - propensity) / n) ** 0.5
        assert abs(counts[pair_id] / n - propensity) < 4 * deviation


def test_the_same_supply_and_numbers_choose_the_same() -> None:
    def chosen(seed: int) -> list[object]:
        rng = random.Random(seed)
        return [choose_next(FULL, rng, shares=TENTHS) for _ in range(30)]

    assert chosen(3) == chosen(3)
    assert chosen(3) != chosen(4)


def test_a_repeat_keeps_the_sides_it_is_to_have_and_others_leave_them_open() -> None:
    rng = random.Random(5)
    sides = {
        chosen.kind: chosen.is_swapped
        for chosen in (choose_next(FULL, rng, shares=TENTHS) for _ in range(200))
        if chosen is not None
    }
    assert sides == {Kind.FRESH: None, Kind.GOLD: None, Kind.REPEAT: True}


def test_pairs_come_again_swapped_and_not_at_once() -> None:
    answers = [
        Answered(pair_id=pair_id, prompt_id=1, is_swapped=pair_id == 1, may_repeat=pair_id != 2)
        for pair_id in (5, 4, 3, 2, 1, 0)
    ]
    assert pairs_to_repeat(answers, gap=3) == [Known(1, 1, False), Known(0, 1, True)]
    assert pairs_to_repeat(answers[:3], gap=3) == []


@pytest.mark.parametrize(
    ("gold", "repeat", "uniform"), [(0.5, 0.5, 0.2), (-0.1, 0, 0.2), (0, 0, 0)]
)
def test_shares_that_leave_nothing_to_fresh_pairs_are_refused(
    gold: float, repeat: float, uniform: float
) -> None:
    with pytest.raises(ValueError, match="expected"):
        Shares(gold=gold, repeat=repeat, uniform=uniform)


def test_prompts_are_used_evenly_and_the_least_used_first() -> None:
    chosen = spread_prompts({1: 2, 2: 0, 3: 1}, 6, random.Random(1))
    assert chosen[0] == 2
    assert Counter(chosen) == {2: 3, 3: 2, 1: 1}


def test_prompts_that_are_used_equally_come_in_random_order() -> None:
    orders = {tuple(spread_prompts({1: 0, 2: 0, 3: 0}, 3, random.Random(i))) for i in range(40)}
    assert len(orders) == 6
