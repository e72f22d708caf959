import math
from pathlib import Path

import numpy as np
import pytest

from alignment.outcomes import Counts
from alignment.reward.agreement import SelfAgreement, self_agreement
from alignment.reward.calibration import (
    DecidedRatings,
    expected_calibration_error,
    fit_temperature,
    helpful_temperature,
    log_loss,
    reliability_bins,
)
from alignment.reward.config import RewardConfig, TieModel
from alignment.reward.report import draw_calibration, measure
from alignment.runs import Preference


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def ratings(*rows: tuple[float, float, float]) -> DecidedRatings:
    """Each row: the probability of the chosen clip, ratings for it, ratings against it."""
    margins, chosen, rejected = np.array(rows, dtype=np.float64).T
    return DecidedRatings(np.array([logit(p) for p in margins]), chosen, rejected)


# Bins of a tenth. 0.55 and its mirror 0.45 share the first: 100 ratings, of which 30 + 40
# favoured the likelier clip. 0.85 is in the fourth: 50 ratings, 40 of them foreseen.
BY_HAND = ratings((0.55, 30, 20), (0.45, 10, 40), (0.85, 40, 10))


def test_bins_by_hand() -> None:
    first, second = reliability_bins(BY_HAND)

    assert (first.low, first.high) == pytest.approx((0.5, 0.6))
    assert (first.n, first.predicted, first.observed) == pytest.approx((100, 0.55, 0.7))
    assert (second.low, second.high) == pytest.approx((0.8, 0.9))
    assert (second.n, second.predicted, second.observed) == pytest.approx((50, 0.85, 0.8))
    # Wilson at 70 of 100.
    assert (first.observed_low, first.observed_high) == pytest.approx((0.604, 0.781), abs=1e-3)


def test_calibration_error_by_hand() -> None:
    # Gaps of 0.15 over 100 ratings and 0.05 over 50.
    assert expected_calibration_error(reliability_bins(BY_HAND)) == pytest.approx(17.5 / 150)


def test_an_undecided_model_is_right_half_the_time() -> None:
    (only,) = reliability_bins(ratings((0.5, 3, 1)))

    assert (only.predicted, only.observed) == (0.5, 0.5)


def test_log_loss_by_hand() -> None:
    expected = -(3 * math.log(0.75) + math.log(0.25)) / 4

    assert log_loss(ratings((0.75, 3, 1))) == pytest.approx(expected)
    assert log_loss(ratings((0.5, 3, 1))) == pytest.approx(math.log(2))


def test_a_temperature_makes_too_sure_a_model_as_sure_as_it_should_be() -> None:
    # It says 0.9 (log-odds of log 9) where 3 of 4 (log 3) come true: twice too sure.
    sure = ratings((0.9, 75, 25), (0.1, 25, 75))

    assert fit_temperature(sure) == pytest.approx(2.0, abs=1e-3)
    assert helpful_temperature(sure) == pytest.approx(2.0, abs=1e-3)


def test_a_temperature_that_does_not_help_is_left_at_one() -> None:
    right = ratings((0.75, 75, 25), (0.25, 25, 75))

    assert helpful_temperature(right) == 1.0


def test_accuracy_counts_pairs_and_calibration_counts_ratings() -> None:
    margins = np.array([1.0, -1.0, 0.0, 2.0])
    # Right, wrong, a coin's half, and a pair that is undecided itself.
    counts = np.array([[3.0, 1, 0], [1, 0, 0], [2, 0, 0], [1, 1, 4]])

    found = measure(margins, counts, (), TieModel.DAVIDSON)

    assert found is not None
    assert (found.accuracy.right, found.accuracy.n) == (1.5, 3)
    assert (found.n_ratings, found.n_ties) == (9, 4)
    assert found.outcome_nll is None


def test_nothing_decided_gives_no_figures() -> None:
    assert measure(np.zeros(1), np.array([[0.0, 0.0, 1.0]]), (), TieModel.DAVIDSON) is None


def row(counts: Counts, raters: tuple[int, ...]) -> Preference:
    return Preference("1", (0,), Path("a"), Path("b"), counts=counts, raters=raters)


def test_self_agreement_compares_every_two_ratings_of_one_rater() -> None:
    rows = [
        row(Counts(chosen=2), (1,)),  # one comparison, alike
        row(Counts(chosen=2, tie=1), (2,)),  # three comparisons, one alike
        row(Counts(chosen=1, rejected=1), (3, 4)),  # two people
        row(Counts(chosen=1), (5,)),
    ]

    found = self_agreement(RewardConfig(), rows)

    assert found.share is not None
    assert (found.source, found.share.right, found.share.n) == ("repeats", 2, 4)


def test_self_agreement_is_the_settings_where_they_know_it_and_unknown_else() -> None:
    known = self_agreement(RewardConfig(self_agreement=0.8, self_agreement_n=50), [])
    unknown = self_agreement(RewardConfig(), [row(Counts(chosen=1), (1,))])

    assert known.to_json() == {
        "source": "config",
        "share": 0.8,
        "interval": [0.67, 0.888],
        "n": 50,
    }
    assert unknown == SelfAgreement(unknown.source)
    assert unknown.to_json() == {"source": "unknown"}


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    found = measure(
        np.array([1.0, -1.0]), np.array([[3.0, 1, 0], [1, 0, 0]]), (), TieModel.DAVIDSON
    )
    assert found is not None

    agreement = self_agreement(RewardConfig(self_agreement=0.8, self_agreement_n=50), [])
    draw_calibration(tmp_path / "calibration.png", found, agreement)

    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")
