"""Agreement of a policy with preferences, by hand."""

import pytest
import torch

from alignment.scoring import PreferenceScores, measure_agreement, wilson_interval


def test_agreement_is_about_what_changed_since_the_parent() -> None:
    parent = PreferenceScores(torch.tensor([-2.0, -3.0, -1.0]), torch.tensor([-1.0, -4.0, -1.0]))
    policy = PreferenceScores(torch.tensor([-1.5, -3.0, -1.0]), torch.tensor([-1.0, -3.0, -1.0]))
    found = measure_agreement(policy, parent)  # changes +0.5, -1 and 0: won, lost, tied
    assert found.accuracy == pytest.approx(1.5 / 3)
    assert found.n == 3
    assert found.chosen_nll == pytest.approx(5.5 / 3)
    assert found.parent_chosen_nll == pytest.approx(2.0)
    assert found.nll_increase == pytest.approx(5.5 / 6 - 1)
    assert found.low < found.accuracy < found.high


def test_wilsons_interval_is_that_of_the_books() -> None:
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-3)
    assert wilson_interval(0, 5)[0] == 0.0
    assert wilson_interval(5, 5)[1] == 1.0
    with pytest.raises(ValueError, match="at least 1 trial, got 0"):
        wilson_interval(0, 0)
