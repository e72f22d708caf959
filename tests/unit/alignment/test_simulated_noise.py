"""Simulated raters agree with their taste as often as was asked."""

import math

import numpy as np
import pytest

from alignment.simulation.noise import (
    CalibrationError,
    TieNoise,
    calibrate_scale,
    calibrate_ties,
    chooses_a,
    mean_agreement,
    probability_of_a,
)


@pytest.mark.parametrize("agreement", [0.6, 0.75, 0.9])
@pytest.mark.parametrize("spread", [0.01, 1.0, 300.0])
def test_the_stated_agreement_is_reached_within_two_points(agreement: float, spread: float) -> None:
    rng = np.random.default_rng(3)
    differences = spread * rng.standard_normal(400)
    scale = calibrate_scale(differences.tolist(), agreement)
    assert mean_agreement(scale, differences) == pytest.approx(agreement, abs=1e-6)
    agreed = [
        chooses_a(difference, 0.0, scale, rng) == (difference > 0.0)
        for difference in np.tile(differences, 20)
    ]
    assert np.mean(agreed) == pytest.approx(agreement, abs=0.02)


def test_an_agreement_of_one_half_is_a_coin() -> None:
    rng = np.random.default_rng(4)
    scale = calibrate_scale([5.0, -7.0], 0.5)
    assert scale == 0.0
    assert np.mean([chooses_a(9.0, 0.0, scale, rng) for _ in range(4000)]) == pytest.approx(
        0.5, abs=0.03
    )


def test_an_agreement_of_one_never_errs() -> None:
    scale = calibrate_scale([0.5, -2.0], 1.0)
    assert math.isinf(scale)
    assert probability_of_a(1.0, 0.9, scale) == 1.0
    assert probability_of_a(0.9, 1.0, scale) == 0.0
    assert probability_of_a(1.0, 1.0, scale) == 0.5


def test_a_clearer_pair_is_judged_more_surely() -> None:
    """With scale ln 3, one unit of difference gives odds of 3 to 1."""
    scale = math.log(3.0)
    assert probability_of_a(1.0, 0.0, scale) == pytest.approx(0.75)
    assert probability_of_a(0.0, 1.0, scale) == pytest.approx(0.25)
    assert probability_of_a(2.0, 0.0, scale) == pytest.approx(0.9)


def test_too_many_equal_pairs_are_named_with_what_can_be_reached() -> None:
    with pytest.raises(CalibrationError, match=r"2 of 4 pairs have equal scores, 0\.75 is"):
        calibrate_scale([0.0, 0.0, 1.0, 2.0], 0.8)


@pytest.mark.parametrize("agreement", [0.4, 1.1])
def test_an_agreement_outside_half_to_one_is_refused(agreement: float) -> None:
    with pytest.raises(CalibrationError, match=r"agreement is 0\.5 to 1"):
        calibrate_scale([1.0], agreement)


def test_calibrating_on_nothing_is_refused() -> None:
    with pytest.raises(CalibrationError, match="no pair was heard"):
        calibrate_scale([], 0.75)


@pytest.mark.parametrize(("agreement", "tie_share"), [(0.75, 0.2), (0.6, 0.5), (0.5, 0.3)])
def test_decided_answers_agree_and_ties_occur_as_stated(agreement: float, tie_share: float) -> None:
    differences = 40.0 * np.random.default_rng(5).standard_normal(300)
    noise = calibrate_ties(differences.tolist(), agreement, tie_share)
    first, second, tie = noise.probabilities(np.abs(differences)).mean(axis=0)
    assert first / (first + second) == pytest.approx(agreement, abs=1e-6)
    assert tie == pytest.approx(tie_share, abs=1e-6)


def test_the_three_answers_have_rao_and_kuppers_odds() -> None:
    """Threshold 2 and a difference of ln 4: 4/(4+2), 1/(1+2*4), and what remains."""
    noise = TieNoise(scale=1.0, threshold=2.0)
    chances = noise.probabilities(np.array([math.log(4.0)]))[0]
    assert chances == pytest.approx([2 / 3, 1 / 9, 2 / 9])


def test_without_ties_the_noise_is_bradley_and_terrys() -> None:
    noise = calibrate_ties([1.0, -2.0, 3.0], 0.8, 0.0)
    chances = noise.probabilities(np.array([1.0]))[0]
    assert chances[0] == pytest.approx(probability_of_a(1.0, 0.0, noise.scale))
    assert chances[2] == pytest.approx(0.0, abs=1e-12)


def test_a_rater_who_never_errs_follows_every_difference() -> None:
    noise = calibrate_ties([1.0, -2.0], 1.0, 0.0)
    assert noise.probabilities(np.array([0.1, -0.1])).tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("tie_share", [-0.1, 1.0])
def test_a_tie_share_outside_its_bounds_is_refused(tie_share: float) -> None:
    with pytest.raises(CalibrationError, match="tie share is 0 to below 1"):
        calibrate_ties([1.0], 0.75, tie_share)


def test_ties_that_leave_no_room_for_agreement_are_refused() -> None:
    with pytest.raises(CalibrationError, match="no pair has different scores"):
        calibrate_ties([0.0, 0.0], 0.75, 0.2)
