"""Win rates and standings: figures, intervals, and what was resampled for them."""

import numpy as np
import pytest

from attune.leaderboard.choices import IntervalMethod
from attune.leaderboard.intervals import interval_method, win_rate_interval
from attune.leaderboard.standings import AnswerCount, compute_standings
from attune.leaderboard.win_rates import compute_win_rate
from attune.ratings.wilson import wilson_interval


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def count(rater_id: int, wins: int, losses: int, *, ties: int = 0, bad: int = 0) -> AnswerCount:
    """One rater's answers to pairs of checkpoints 3 and 9; wins are those of 3."""
    return AnswerCount(rater_id, 3, 9, wins, losses, ties, bad)


def test_wilson_by_hand() -> None:
    """8 of 10: centre (0.8 + 0.19207) / 1.38415 = 0.7167, reach 0.2266."""
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(0, 5)[0] == 0.0
    assert wilson_interval(5, 5)[1] == 1.0


def test_what_is_resampled_depends_on_how_many_raters_there_are() -> None:
    methods = [interval_method(n) for n in (0, 1, 2, 7, 8, 100)]
    ratings, wider, raters = (
        IntervalMethod.RATINGS,
        IntervalMethod.WIDER,
        IntervalMethod.RATERS,
    )
    assert methods == [ratings, ratings, wider, wider, raters, raters]


def test_one_rater_gets_wilsons_interval() -> None:
    interval = win_rate_interval(np.array([8.0]), np.array([2.0]), rng=rng())
    assert (interval.low, interval.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_two_raters_who_agree_do_not_give_an_interval_of_width_zero() -> None:
    interval = win_rate_interval(np.array([5.0, 5.0]), np.array([5.0, 5.0]), rng=rng())
    assert interval.method is IntervalMethod.WIDER
    assert (interval.low, interval.high) == pytest.approx(wilson_interval(10, 20))


@pytest.mark.parametrize(("won", "lost"), [(3.0, 0.0), (0.0, 3.0), (2.0, 2.0)])
def test_many_raters_who_all_agree_do_not_give_an_interval_of_width_zero(
    won: float, lost: float
) -> None:
    """Resampling 12 equal raters gives the same share each time."""
    interval = win_rate_interval(np.full(12, won), np.full(12, lost), rng=rng())
    assert interval.method is IntervalMethod.WIDER
    expected = wilson_interval(round(12 * won), round(12 * (won + lost)))
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert interval.high - interval.low > 0.05


def test_raters_who_differ_widen_the_interval_beyond_wilsons() -> None:
    """20 raters of 20 ratings, ten always for and ten always against."""
    wins = np.array([20.0] * 10 + [0.0] * 10)
    interval = win_rate_interval(wins, 20 - wins, rng=rng())
    wilson = wilson_interval(200, 400)
    assert interval.method is IntervalMethod.RATERS
    assert interval.high - interval.low > 3 * (wilson[1] - wilson[0])
    # The share among 20 such raters has a standard error of sqrt(0.25 / 20) = 0.112.
    assert interval.low == pytest.approx(0.5 - 1.96 * 0.112, abs=0.05)


def test_raters_who_only_tied_are_not_resampled() -> None:
    wins, losses = np.array([6.0, 0.0, 0.0]), np.array([4.0, 0.0, 0.0])
    assert win_rate_interval(wins, losses, rng=rng()).method is IntervalMethod.RATINGS


def test_a_win_rate_counts_ties_and_both_bad_beside_it_not_in_it() -> None:
    counts = [count(1, 6, 2, ties=5, bad=7), count(2, 2, 2, ties=1)]
    rate = compute_win_rate(counts, 3, rng=rng())
    assert rate.figure == pytest.approx(8 / 12)
    assert (rate.n_wins, rate.n_losses, rate.n_decided) == (8, 4, 12)
    assert (rate.n_ties, rate.n_both_bad, rate.n_raters) == (6, 7, 2)
    assert rate.low is not None
    assert rate.high is not None
    assert rate.low < 8 / 12 < rate.high


def test_the_win_rate_of_the_other_is_the_complement() -> None:
    counts = [count(rater, rater, 10 - rater) for rater in range(1, 10)]
    one = compute_win_rate(counts, 3, rng=rng())
    other = compute_win_rate(counts, 9, rng=rng())
    assert other.high is not None
    assert one.low == pytest.approx(1 - other.high)


def test_nothing_decided_has_no_figure() -> None:
    rate = compute_win_rate([count(1, 0, 0, ties=4)], 3, rng=rng())
    assert (rate.figure, rate.low, rate.high, rate.n_decided, rate.n_raters) == (
        None, None, None, 0, 0
    )  # fmt: skip
    assert rate.n_ties == 4


def test_standings_have_scores_counts_and_intervals_around_the_score() -> None:
    counts = [count(rater, 2, 7, ties=1, bad=1) for rater in range(10)]
    best, last = compute_standings(counts, rng=rng())
    assert (best.checkpoint_id, last.checkpoint_id) == (9, 3)
    assert best.score + last.score == pytest.approx(2000)
    assert (best.n_wins, best.n_losses, best.n_ties, best.n_both_bad) == (70, 20, 10, 10)
    assert (best.n_raters, best.interval_method) == (10, IntervalMethod.RATERS)
    for standing in (best, last):
        assert standing.low is not None
        assert standing.high is not None
        assert standing.low <= standing.score <= standing.high
    assert set(best.groups).isdisjoint(last.groups)


def test_both_bad_alone_ranks_nobody_and_is_counted() -> None:
    counts = [count(1, 0, 0, bad=5)]
    standings = compute_standings(counts, rng=rng())
    assert [(s.score, s.low, s.n_both_bad, s.n_raters) for s in standings] == [
        (1000.0, None, 5, 1), (1000.0, None, 5, 1)
    ]  # fmt: skip
    assert standings[0].groups == standings[1].groups == (1,)


def test_both_bad_moves_no_score() -> None:
    without = compute_standings([count(1, 6, 2)], rng=rng())
    beside = compute_standings([count(1, 6, 2), count(2, 0, 0, bad=50)], rng=rng())
    assert [s.score for s in without] == [s.score for s in beside]


def test_no_answers_give_no_standings() -> None:
    assert compute_standings([], rng=rng()) == []


def test_the_same_generator_gives_the_same_standings() -> None:
    counts = [count(rater, rater, 5) for rater in range(6)]
    assert compute_standings(counts, rng=rng()) == compute_standings(counts, rng=rng())
