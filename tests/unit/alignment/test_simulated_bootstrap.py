"""Win rates over prompts, by hand and by coverage."""

import numpy as np
import pytest

from alignment.simulation.bootstrap import PairedScore, win_rate_over_prompts


def test_wins_count_one_and_equal_pairs_half() -> None:
    """Two wins, one loss, one equal pair: 2.5 of 4."""
    scores = [
        PairedScore("a", 0.0, 1.0),
        PairedScore("a", 0.0, 1.0),
        PairedScore("b", 1.0, 0.0),
        PairedScore("b", 1.0, 1.0),
    ]
    measured = win_rate_over_prompts(scores, np.random.default_rng(0))
    assert measured.figure == pytest.approx(2.5 / 4)
    assert (measured.n, measured.n_groups) == (4, 2)
    assert measured.low == pytest.approx(0.25) and measured.high == pytest.approx(1.0)


@pytest.mark.parametrize(("aligned", "bounds"), [(1.0, (0.7225, 1.0)), (0.0, (0.0, 0.2775))])
def test_prompts_that_all_agree_still_leave_room(
    aligned: float, bounds: tuple[float, float]
) -> None:
    """Wilson over 10 prompts, not over their 40 pairs: 3.8415 / 13.8415 = 0.2775."""
    scores = [PairedScore(str(n % 10), 0.5, aligned) for n in range(40)]
    measured = win_rate_over_prompts(scores, np.random.default_rng(0))
    assert measured.figure == aligned
    assert (measured.low, measured.high) == pytest.approx(bounds, abs=1e-4)


def test_the_interval_holds_the_truth_when_prompts_differ() -> None:
    """Each prompt has its own win rate; 95% intervals over prompts cover their mean."""
    rng = np.random.default_rng(5)
    n_covered = 0
    for _ in range(60):
        scores = []
        for prompt in range(30):
            wins = rng.random(4) < np.clip(rng.normal(0.65, 0.2), 0.0, 1.0)
            scores += [PairedScore(str(prompt), 0.5, float(win)) for win in wins]
        measured = win_rate_over_prompts(scores, rng)
        n_covered += measured.low <= 0.645 <= measured.high
    assert n_covered >= 51


def test_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 pair, got 0"):
        win_rate_over_prompts([], np.random.default_rng(0))
