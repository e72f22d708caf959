"""The chooser takes the most telling pair, always leaves a chance to others, and says which."""

import random
from collections import Counter

import numpy as np
import pytest

from attune.ratings.choices import PairPurpose
from attune.ratings.pairing import (
    Candidate,
    Tally,
    choose_pair,
    information,
    pair_propensities,
    spread_prompts,
    without_prompt,
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
    assert without_prompt([same, other], 1) == [other]
    assert without_prompt([same], 1) == [same]
    assert without_prompt([same, other], None) == [same, other]


def test_prompts_are_used_evenly_and_the_least_used_first() -> None:
    chosen = spread_prompts({1: 2, 2: 0, 3: 1}, 6, random.Random(1))
    assert chosen[0] == 2
    assert Counter(chosen) == {2: 3, 3: 2, 1: 1}


def test_prompts_that_are_used_equally_come_in_random_order() -> None:
    orders = {tuple(spread_prompts({1: 0, 2: 0, 3: 0}, 3, random.Random(i))) for i in range(40)}
    assert len(orders) == 6
