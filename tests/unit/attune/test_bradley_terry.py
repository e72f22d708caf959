"""The Davidson fit against hand-worked and slowly fitted twins, and its bootstrap."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from attune.leaderboard.bradley_terry import (
    POINTS_PER_LOGIT,
    PRIOR_SD_LOGITS,
    Floats,
    Meetings,
    bootstrap_raters,
    bootstrap_ratings,
    fit_davidson,
    indistinguishable_groups,
)
from attune.leaderboard.intervals import central_interval

MEETINGS = [(0, 1), (0, 2), (1, 2)]


def meet(n_checkpoints: int, *rows: tuple[int, int, int, int, int]) -> Meetings:
    """One rater's meetings: (first, second, first wins, second wins, ties)."""
    return Meetings(
        n_checkpoints=n_checkpoints,
        first=np.array([row[0] for row in rows]),
        second=np.array([row[1] for row in rows]),
        counts=np.array([[row[2:] for row in rows]], dtype=float),
    )


def random_meetings(n_checkpoints: int, *, seed: int, has_ties: bool) -> Meetings:
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(n_checkpoints, 1)
    counts = rng.poisson(4.0, size=(5, len(first), 3)).astype(float)
    counts[..., 0] += rng.poisson(3.0, size=counts.shape[:2])
    counts[..., 2] *= has_ties
    return Meetings(n_checkpoints, first, second, counts)


def fit_slowly(meetings: Meetings) -> Floats:
    """theta by a general optimiser on the likelihood, meeting by meeting as in the paper."""
    totals = meetings.counts.sum(axis=0)

    def loss(x: Floats) -> float:
        theta, log_nu = x[:-1], x[-1]
        total = float(np.sum(x**2)) / (2 * PRIOR_SD_LOGITS**2)
        for i, j, (won, lost, tied) in zip(meetings.first, meetings.second, totals, strict=True):
            s_i, s_j = math.exp(theta[i]), math.exp(theta[j])
            tie = math.exp(log_nu) * math.sqrt(s_i * s_j) if totals[:, 2].any() else 0.0
            d = s_i + s_j + tie
            total -= won * math.log(s_i / d) + lost * math.log(s_j / d)
            total -= tied * math.log(tie / d) if tied else 0.0
        return total

    found = minimize(loss, np.zeros(meetings.n_checkpoints + 1), method="BFGS", tol=1e-10)
    theta: Floats = found.x[:-1]
    return theta - theta.mean()


def test_two_checkpoints_are_apart_by_the_log_odds() -> None:
    """3000 : 1000 is log 3 logits, 190.85 points; so many ratings leave the prior no say."""
    scores = fit_davidson(meet(2, (0, 1, 3000, 1000, 0))).scores[0]
    assert scores[0] - scores[1] == pytest.approx(190.85, abs=0.05)
    assert scores.mean() == pytest.approx(1000)


def test_three_checkpoints_stand_as_worked_by_hand() -> None:
    """The docstring's example, a thousand times over: 59.6 points above and below."""
    meetings = meet(3, (0, 1, 3000, 1000, 0), (0, 2, 2000, 2000, 0), (1, 2, 2000, 2000, 0))
    assert fit_davidson(meetings).scores[0] == pytest.approx([1059.6, 940.4, 1000.0], abs=0.05)


def test_equal_strengths_give_the_tie_parameter_by_hand() -> None:
    """With s_i = s_j, P(tie) = nu / (2 + nu): 2000 ties of 6000 give nu = 1, 4000 give nu = 4."""
    for n_ties, nu in ((2000, 1.0), (4000, 4.0)):
        decided = (6000 - n_ties) // 2
        fit = fit_davidson(meet(2, (0, 1, decided, decided, n_ties)))
        assert np.exp(fit.log_nu[0]) == pytest.approx(nu, rel=1e-3)
        assert fit.theta[0] == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_without_ties_the_fit_is_plain_bradley_terry(seed: int) -> None:
    meetings = random_meetings(4, seed=seed, has_ties=False)
    fit = fit_davidson(meetings)
    assert np.isneginf(fit.log_nu).all()
    assert fit.theta[0] == pytest.approx(fit_slowly(meetings), abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_with_ties_the_fit_maximises_davidsons_likelihood(seed: int) -> None:
    meetings = random_meetings(4, seed=seed, has_ties=True)
    assert fit_davidson(meetings).theta[0] == pytest.approx(fit_slowly(meetings), abs=1e-4)


def test_ties_are_no_wins_yet_draw_two_checkpoints_together() -> None:
    without = fit_davidson(meet(2, (0, 1, 30, 10, 0))).theta[0, 0]
    with_ties = fit_davidson(meet(2, (0, 1, 30, 10, 40))).theta[0, 0]
    assert with_ties == pytest.approx(without, rel=0.05), "ties leave the odds of a win alone"
    decided = ((0, 1, 30, 10, 0), (0, 2, 20, 20, 0))
    apart = fit_davidson(meet(3, *decided)).theta[0]
    drawn = fit_davidson(meet(3, *decided, (1, 2, 0, 0, 40))).theta[0]
    assert abs(drawn[1] - drawn[2]) < 0.6 * abs(apart[1] - apart[2])


def test_a_checkpoint_that_never_lost_stays_finite_and_moves_with_evidence() -> None:
    few = fit_davidson(meet(2, (0, 1, 3, 0, 0))).scores[0, 0]
    many = fit_davidson(meet(2, (0, 1, 300, 0, 0))).scores[0, 0]
    assert 1000 < few < many < 1000 + 5 * PRIOR_SD_LOGITS * POINTS_PER_LOGIT


def test_a_checkpoint_that_met_nobody_stands_in_the_middle() -> None:
    assert fit_davidson(meet(3, (0, 1, 30, 10, 5))).scores[0, 2] == pytest.approx(1000)


def test_many_sets_at_once_are_fitted_as_each_alone() -> None:
    meetings = random_meetings(5, seed=9, has_ties=True)
    together = fit_davidson(meetings, meetings.counts).theta
    for counts, theta in zip(meetings.counts, together, strict=True):
        assert fit_davidson(meetings, counts[None]).theta[0] == pytest.approx(theta, abs=1e-8)


def test_the_order_of_the_two_does_not_matter() -> None:
    one = fit_davidson(meet(2, (0, 1, 7, 2, 3))).theta
    other = fit_davidson(meet(2, (1, 0, 2, 7, 3))).theta
    assert one == pytest.approx(other)


def test_a_rater_is_drawn_with_all_answers() -> None:
    """Two raters who disagree entirely: a draw is all one's, all the other's, or both's."""
    meetings = Meetings(2, np.array([0]), np.array([1]), np.array([[[10.0, 0, 0]], [[0, 10.0, 0]]]))
    draws = bootstrap_raters(meetings, n_draws=200, rng=np.random.default_rng(0))[:, 0]
    assert len(np.unique(draws.round(3))) == 3
    assert np.mean(np.isclose(draws, 1000, atol=1e-3)) == pytest.approx(0.5, abs=0.12)


def test_the_rater_bootstrap_covers_more_than_the_rating_bootstrap_when_tastes_differ() -> None:
    """20 raters of 60 ratings whose taste for one checkpoint varies by 0.8 logits, 60 times."""
    rng = np.random.default_rng(5)
    n_raters, n_simulations = 20, 60
    first, second = np.array(MEETINGS).T
    truth = np.array([0.4, -0.1, -0.3])
    # Averaged over raters the odds shrink; the target is what infinitely many would give.
    many = rng.normal(0, 0.8, size=(200_000, 3)) + truth
    shares = np.array([_logistic(many[:, i] - many[:, j]).mean() for i, j in MEETINGS])
    exact = np.stack([shares, 1 - shares, np.zeros(3)], axis=1)[None] * 1e6
    target = fit_davidson(Meetings(3, first, second, exact)).scores[0, 0]
    covered = {"raters": 0, "ratings": 0}
    for _ in range(n_simulations):
        theta = rng.normal(0, 0.8, size=(n_raters, 3)) + truth
        wins = rng.binomial(20, _logistic(theta[:, first] - theta[:, second])).astype(float)
        counts = np.stack([wins, 20 - wins, np.zeros_like(wins)], axis=2)
        meetings = Meetings(3, first, second, counts)
        for name, bootstrap in (("raters", bootstrap_raters), ("ratings", bootstrap_ratings)):
            low, high = central_interval(bootstrap(meetings, n_draws=300, rng=rng)[:, 0])
            covered[name] += low <= target <= high
    assert covered["raters"] >= 0.83 * n_simulations, covered
    assert covered["ratings"] <= 0.75 * n_simulations, covered


def _logistic(logit: Floats) -> Floats:
    return 1 / (1 + np.exp(-logit))


def test_groups_hold_what_cannot_be_told_apart() -> None:
    """Scores with a spread of 10: 0 and 1 overlap, 1 and 2 overlap, 0 and 2 do not; 3 is far."""
    noise = np.random.default_rng(0).normal(0, 10, size=(4000, 4))
    draws = np.array([1020, 1000, 980, 500]) + noise
    assert indistinguishable_groups([draws]) == [[0, 1], [1, 2], [3]]
    assert indistinguishable_groups([draws[:, ::-1]]) == [[3, 2], [2, 1], [0]]


def test_one_sample_that_cannot_tell_two_apart_keeps_them_together() -> None:
    rng = np.random.default_rng(0)
    sharp = np.array([1020, 1000]) + rng.normal(0, 1, size=(500, 2))
    blunt = np.array([1020, 1000]) + rng.normal(0, 50, size=(500, 2))
    assert indistinguishable_groups([sharp]) == [[0], [1]]
    assert indistinguishable_groups([sharp, blunt]) == [[0, 1]]


def test_counts_of_a_wrong_shape_are_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"expected counts \[R, 1, 3\], got \(2, 2, 3\)"):
        Meetings(2, np.array([0]), np.array([1]), np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="cannot meet itself"):
        Meetings(2, np.array([1]), np.array([1]), np.zeros((2, 1, 3)))
