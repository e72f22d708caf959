import math

import numpy as np
import pytest
import torch

from alignment.reward.config import TieModel
from alignment.reward.heads import RatedPairs, cross_fit, fit_head, outcome_nll


def nll(margin: float, counts: tuple[int, int, int], tie_model: TieModel | None, share: float):
    margins = torch.tensor([margin], dtype=torch.float64)
    found = outcome_nll(
        margins,
        torch.tensor([counts], dtype=torch.float64),
        tie_model,
        torch.tensor(share, dtype=torch.float64),
    )
    return float(found)


def test_bradley_terry_by_hand() -> None:
    # Odds of 3 to 1: three of four ratings for the chosen clip are just what is expected.
    expected = -(3 * math.log(0.75) + math.log(0.25)) / 4

    assert nll(math.log(3), (3, 1, 0), None, 0.0) == pytest.approx(expected)
    assert nll(math.log(3), (3, 1, 5), None, 0.0) == pytest.approx(expected)


def test_davidson_by_hand() -> None:
    # Equals tie at a third: nu is 1. With a margin of log 4 the parts are 2, 1/2 and 1 of 3.5.
    assert nll(math.log(4), (1, 0, 0), TieModel.DAVIDSON, 1 / 3) == pytest.approx(math.log(3.5 / 2))
    assert nll(math.log(4), (0, 1, 0), TieModel.DAVIDSON, 1 / 3) == pytest.approx(math.log(7))
    assert nll(math.log(4), (0, 0, 1), TieModel.DAVIDSON, 1 / 3) == pytest.approx(math.log(3.5))


def test_rao_kupper_by_hand() -> None:
    # Equals tie at a third: theta is 2. With odds of 4 to 1 a win is 4 / (4 + 2), a defeat
    # 1 / (1 + 8), a tie what is left, 2 / 9.
    assert nll(math.log(4), (1, 0, 0), TieModel.RAO_KUPPER, 1 / 3) == pytest.approx(math.log(1.5))
    assert nll(math.log(4), (0, 1, 0), TieModel.RAO_KUPPER, 1 / 3) == pytest.approx(math.log(9))
    assert nll(math.log(4), (0, 0, 1), TieModel.RAO_KUPPER, 1 / 3) == pytest.approx(math.log(4.5))


@pytest.mark.parametrize("tie_model", list(TieModel))
def test_a_head_finds_odds_and_tie_share_of_one_pair(tie_model: TieModel) -> None:
    # One feature that differs by 1, and ratings just as Davidson's 2, 1/2 and 1 or Rao and
    # Kupper's 6, 1 and 2 foresee them: the weight is log 4 and equals tie at a third.
    counts = {TieModel.DAVIDSON: (4.0, 1.0, 2.0), TieModel.RAO_KUPPER: (6.0, 1.0, 2.0)}
    pairs = RatedPairs(np.ones((1, 1)), np.array([counts[tie_model]]))

    head = fit_head(pairs, 0.0, tie_model)

    assert head.weights[0] == pytest.approx(math.log(4), abs=1e-3)
    assert head.tie_share == pytest.approx(1 / 3, abs=1e-3)


def test_without_ties_a_head_is_bradley_terry() -> None:
    head = fit_head(
        RatedPairs(np.ones((1, 1)), np.array([[3.0, 1.0, 0.0]])), 0.0, TieModel.DAVIDSON
    )

    assert head.weights[0] == pytest.approx(math.log(3), abs=1e-4)
    assert head.tie_share is None


def test_ties_draw_the_scores_of_a_pair_together() -> None:
    decided = fit_head(
        RatedPairs(np.ones((1, 1)), np.array([[3.0, 1.0, 0.0]])), 0.1, TieModel.DAVIDSON
    )
    tied = fit_head(
        RatedPairs(np.ones((1, 1)), np.array([[3.0, 1.0, 8.0]])), 0.1, TieModel.DAVIDSON
    )

    assert 0 < tied.weights[0] < decided.weights[0]


def test_a_penalty_makes_weights_smaller() -> None:
    pairs = RatedPairs(np.ones((1, 1)), np.array([[3.0, 1.0, 0.0]]))
    weights = [fit_head(pairs, p, TieModel.DAVIDSON).weights[0] for p in (0.0, 0.01, 1.0)]

    assert weights[0] > weights[1] > weights[2] > 0


def test_a_weight_counts_a_row_as_often_as_it_says() -> None:
    twice = RatedPairs(np.array([[1.0], [1.0]]), np.array([[1.0, 0, 0], [0, 1.0, 0]]))

    head = fit_head(twice.weighed(np.array([3.0, 1.0])), 0.0, TieModel.DAVIDSON)

    assert head.weights[0] == pytest.approx(math.log(3), abs=1e-4)


def test_no_decided_rating_is_an_error() -> None:
    with pytest.raises(ValueError, match="got 1 pairs without one"):
        fit_head(RatedPairs(np.ones((1, 1)), np.array([[0.0, 0.0, 2.0]])), 0.0, TieModel.DAVIDSON)


def test_cross_validation_prefers_a_strong_penalty_for_noise_and_a_weak_one_for_a_taste() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(200, 40))
    folds = np.arange(200) % 5
    clear = differences * np.sign(differences[:, :1])
    counts = np.tile([1.0, 0.0, 0.0], (200, 1))
    penalties = (1e-4, 1.0)

    noisy = cross_fit(RatedPairs(differences, counts), folds, penalties, TieModel.DAVIDSON)
    taste = cross_fit(RatedPairs(clear, counts), folds, penalties, TieModel.DAVIDSON)

    assert (noisy.penalty, taste.penalty) == (1.0, 1e-4)
    assert taste.nll < 0.4
    assert noisy.nll > 0.6
    assert (taste.margins > 0).mean() > 0.85
