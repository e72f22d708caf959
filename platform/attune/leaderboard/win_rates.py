"""Counts of answers -> how often one checkpoint wins against another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attune.leaderboard.choices import IntervalMethod
from attune.leaderboard.intervals import win_rate_interval
from attune.leaderboard.standings import AnswerCount


@dataclass(frozen=True)
class WinRate:
    """The share of decided ratings won, with its 95% interval.

    Ties do not count half, nor does both-bad count for either: both are reported beside it.
    Without a decided rating figure, low and high are None. n_raters have decided at least once.
    """

    figure: float | None
    low: float | None
    high: float | None
    n_wins: int
    n_losses: int
    n_ties: int
    n_both_bad: int
    n_raters: int
    interval_method: IntervalMethod

    @property
    def n_decided(self) -> int:
        """Ratings that chose a side."""
        return self.n_wins + self.n_losses


def wins_and_losses(
    counts: Sequence[AnswerCount], checkpoint_id: int
) -> tuple[list[int], list[int]]:
    """Each rater's wins and losses of one checkpoint in `counts`, raters by id."""
    won: dict[int, int] = {}
    lost: dict[int, int] = {}
    for count in sorted(counts, key=lambda count: count.rater_id):
        wins, losses = count.n_first_wins, count.n_second_wins
        if count.second_checkpoint_id == checkpoint_id:
            wins, losses = losses, wins
        won[count.rater_id] = won.get(count.rater_id, 0) + wins
        lost[count.rater_id] = lost.get(count.rater_id, 0) + losses
    return list(won.values()), list(lost.values())


def compute_win_rate(
    counts: Sequence[AnswerCount], checkpoint_id: int, *, rng: np.random.Generator
) -> WinRate:
    """The win rate of one checkpoint, from counts in which it always takes part."""
    wins, losses = wins_and_losses(counts, checkpoint_id)
    n_wins, n_losses = sum(wins), sum(losses)
    interval = win_rate_interval(np.array(wins, float), np.array(losses, float), rng=rng)
    has_decided = n_wins + n_losses > 0
    return WinRate(
        figure=n_wins / (n_wins + n_losses) if has_decided else None,
        low=interval.low if has_decided else None,
        high=interval.high if has_decided else None,
        n_wins=n_wins,
        n_losses=n_losses,
        n_ties=sum(count.n_ties for count in counts),
        n_both_bad=sum(count.n_both_bad for count in counts),
        n_raters=sum(won + lost > 0 for won, lost in zip(wins, losses, strict=True)),
        interval_method=interval.method,
    )
