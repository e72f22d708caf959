"""The gate of people: peeking is safe, better is promoted, worse goes back."""

import math

import numpy as np
import pytest
from scipy.special import betaln

from attune.leaderboard.sequential import (
    ALPHA,
    PRIOR_A,
    PRIOR_B,
    GateDecision,
    confidence_sequence,
    decide,
    design_effect,
    log_evidence,
    ratings_to_decide,
)


def ever_decided(share: float, *, n_simulations: int, n_ratings: int, seed: int) -> np.ndarray:
    """Per simulation and peek, log M(0.5) after each rating, [simulations, ratings]."""
    rng = np.random.default_rng(seed)
    wins = np.cumsum(rng.random((n_simulations, n_ratings)) < share, axis=1)
    losses = np.arange(1, n_ratings + 1) - wins
    mixture = betaln(PRIOR_A + wins, PRIOR_B + losses) - betaln(PRIOR_A, PRIOR_B)
    return mixture - (wins + losses) * math.log(0.5)


def test_the_evidence_of_one_win_by_hand() -> None:
    """B(11, 10) / B(10, 10) = 10 / 20, over p0 = 0.25: M = 2."""
    assert log_evidence(1, 0, 0.25) == pytest.approx(math.log(2))
    assert log_evidence(0, 0, 0.3) == 0.0


def test_peeking_after_every_rating_promotes_an_equal_canary_at_most_alpha_of_the_time() -> None:
    evidence = ever_decided(0.5, n_simulations=1000, n_ratings=1000, seed=1)
    false = (evidence >= math.log(1 / ALPHA)).any(axis=1).mean()
    assert false <= ALPHA


def test_the_test_of_fixed_size_would_not_survive_such_peeking() -> None:
    """The same ratings, tested anew after each with the usual 95% interval."""
    rng = np.random.default_rng(1)
    n = np.arange(1, 1001)
    share = np.cumsum(rng.random((1000, 1000)) < 0.5, axis=1) / n
    rejected = np.abs(share - 0.5) > 1.96 * 0.5 / np.sqrt(n)
    assert rejected[:, 20:].any(axis=1).mean() > 3 * ALPHA


def test_the_interval_leaves_out_one_half_exactly_when_the_evidence_reaches_its_limit() -> None:
    for n_wins in range(0, 101, 4):
        low, high = confidence_sequence(n_wins, 100 - n_wins)
        is_refuted = log_evidence(n_wins, 100 - n_wins, 0.5) >= math.log(1 / ALPHA)
        assert is_refuted == (low > 0.5 or high < 0.5), n_wins


def test_the_interval_holds_the_share_and_tightens() -> None:
    widths = []
    for n in (10, 100, 1000, 10_000):
        low, high = confidence_sequence(0.6 * n, 0.4 * n)
        assert low < 0.6 < high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert confidence_sequence(0, 0) == (0.0, 1.0)
    assert confidence_sequence(5, 0)[1] == 1.0
    assert confidence_sequence(0, 5)[0] == 0.0


def test_a_better_canary_is_promoted_a_worse_one_rolled_back_and_an_open_one_held() -> None:
    raters = 20
    assert decide([7] * raters, [3] * raters).decision is GateDecision.PROMOTE
    assert decide([3] * raters, [7] * raters).decision is GateDecision.ROLL_BACK
    held = decide([3] * 10, [2] * 10)
    assert held.decision is GateDecision.HOLD
    assert held.n_more is not None
    assert held.n_more > 0
    assert f"about {held.n_more} more" in held.sentence


def test_with_as_many_more_ratings_as_announced_the_decision_falls() -> None:
    n_more = ratings_to_decide(60, 40, effect=1.0)
    assert n_more is not None
    n = 100 + n_more
    assert log_evidence(0.6 * n, 0.4 * n, 0.5) >= math.log(1 / ALPHA)
    assert log_evidence(0.6 * (n - 1), 0.4 * (n - 1), 0.5) < math.log(1 / ALPHA)


def test_an_equal_canary_is_too_close_to_tell() -> None:
    verdict = decide([250, 250], [250, 250])
    assert verdict.n_more is None
    assert "too close" in verdict.sentence


def test_a_canary_without_ratings_is_held_with_an_estimate() -> None:
    verdict = decide([], [])
    assert verdict.decision is GateDecision.HOLD
    assert verdict.n_more is not None


@pytest.mark.parametrize(("wins", "losses"), [([200, 0], [0, 0]), ([0], [200])])
def test_one_rater_alone_neither_promotes_nor_rolls_back(
    wins: list[int], losses: list[int]
) -> None:
    verdict = decide(wins, losses)
    assert verdict.decision is GateDecision.HOLD
    assert verdict.n_more == 1
    assert "1 of the 2 raters needed has decided: hold" in verdict.sentence


def test_two_raters_are_enough_to_decide() -> None:
    assert decide([20, 20], [2, 2]).decision is GateDecision.PROMOTE
    assert decide([2, 2], [20, 20]).decision is GateDecision.ROLL_BACK


def test_the_design_effect_by_hand() -> None:
    """Two raters of 10, one all for and one all against: (5^2 + 5^2) * 2 / (20 / 4) = 20."""
    assert design_effect([10, 0], [0, 10]) == pytest.approx(20.0)
    assert design_effect([5, 5], [5, 5]) == 1.0
    assert design_effect([10], [0]) == 1.0
    assert design_effect([0, 0], [0, 0]) == 1.0


def test_raters_who_disagree_delay_the_decision_and_never_hasten_it() -> None:
    agreed = decide([7] * 10, [3] * 10)
    split = decide([10] * 7 + [0] * 3, [0] * 7 + [10] * 3)
    assert agreed.decision is GateDecision.PROMOTE
    assert split.decision is GateDecision.HOLD
    rng = np.random.default_rng(2)
    for _ in range(200):
        wins = rng.integers(0, 12, size=6)
        losses = rng.integers(0, 12, size=6)
        low, high = confidence_sequence(int(wins.sum()), int(losses.sum()))
        if low <= 0.5 <= high:
            assert decide(wins.tolist(), losses.tolist()).decision is GateDecision.HOLD
