"""Counts of answers -> standings: score, interval, groups that cannot be told apart."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from attune.leaderboard.bradley_terry import Meetings, fit_davidson, indistinguishable_groups
from attune.leaderboard.choices import IntervalMethod
from attune.leaderboard.intervals import central_interval, draw_scores, interval_method


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """One rater's answers to pairs of two checkpoints; `first` has the smaller id."""

    rater_id: int
    first_checkpoint_id: int
    second_checkpoint_id: int
    n_first_wins: int
    n_second_wins: int
    n_ties: int
    n_both_bad: int

    @property
    def n_ranked(self) -> int:
        """Answers that say something about which of the two is better."""
        return self.n_first_wins + self.n_second_wins + self.n_ties


@dataclass(frozen=True)
class StandingFigures:
    """One checkpoint's score and counts; the interval is None when nothing ranks it."""

    checkpoint_id: int
    score: float
    low: float | None
    high: float | None
    n_wins: int
    n_losses: int
    n_ties: int
    n_both_bad: int
    n_raters: int
    interval_method: IntervalMethod
    groups: tuple[int, ...]


def compute_standings(
    counts: Sequence[AnswerCount], *, rng: np.random.Generator
) -> list[StandingFigures]:
    """The standings of all checkpoints that were answered about, best first."""
    checkpoint_ids = sorted(
        {count.first_checkpoint_id for count in counts}
        | {count.second_checkpoint_id for count in counts}
    )
    if not checkpoint_ids:
        return []
    ranked = [count for count in counts if count.n_ranked]
    meetings = meetings_of(ranked, checkpoint_ids)
    scores = fit_davidson(meetings).scores[0]
    samples, method = (
        draw_scores(meetings, rng=rng) if ranked else ([scores[None]], interval_method(0))
    )
    groups = indistinguishable_groups(samples)

    tallies = _tally(counts)
    standings = []
    for index, checkpoint_id in enumerate(checkpoint_ids):
        score, tally = float(scores[index]), tallies[checkpoint_id]
        low = high = None
        if tally.n_wins + tally.n_losses + tally.n_ties:
            bounds = [central_interval(draws[:, index]) for draws in samples]
            low = min(score, *(low for low, _ in bounds))
            high = max(score, *(high for _, high in bounds))
        standings.append(
            StandingFigures(
                checkpoint_id=checkpoint_id,
                score=score,
                low=low,
                high=high,
                n_wins=tally.n_wins,
                n_losses=tally.n_losses,
                n_ties=tally.n_ties,
                n_both_bad=tally.n_both_bad,
                n_raters=len(tally.raters),
                interval_method=method,
                groups=tuple(number for number, group in enumerate(groups, 1) if index in group),
            )
        )
    return sorted(standings, key=lambda standing: (-standing.score, standing.checkpoint_id))


def meetings_of(counts: Sequence[AnswerCount], checkpoint_ids: Sequence[int]) -> Meetings:
    """The counts as arrays; checkpoints are indexed by their place in `checkpoint_ids`."""
    place = {checkpoint_id: index for index, checkpoint_id in enumerate(checkpoint_ids)}
    raters = {rater: row for row, rater in enumerate(sorted({c.rater_id for c in counts}))}
    twos = sorted({(c.first_checkpoint_id, c.second_checkpoint_id) for c in counts})
    columns = {two: column for column, two in enumerate(twos)}
    answers = np.zeros((len(raters), len(twos), 3))
    for count in counts:
        column = columns[count.first_checkpoint_id, count.second_checkpoint_id]
        answers[raters[count.rater_id], column] += (
            count.n_first_wins,
            count.n_second_wins,
            count.n_ties,
        )
    return Meetings(
        n_checkpoints=len(checkpoint_ids),
        first=np.array([place[first] for first, _ in twos], dtype=np.int64),
        second=np.array([place[second] for _, second in twos], dtype=np.int64),
        counts=answers,
    )


@dataclass
class _Tally:
    """What one checkpoint was answered."""

    n_wins: int = 0
    n_losses: int = 0
    n_ties: int = 0
    n_both_bad: int = 0
    raters: set[int] = field(default_factory=set)

    def add(self, *, n_wins: int, n_losses: int, count: AnswerCount) -> None:
        self.n_wins += n_wins
        self.n_losses += n_losses
        self.n_ties += count.n_ties
        self.n_both_bad += count.n_both_bad
        self.raters.add(count.rater_id)


def _tally(counts: Sequence[AnswerCount]) -> dict[int, _Tally]:
    tallies: dict[int, _Tally] = defaultdict(_Tally)
    for count in counts:
        first, second = count.n_first_wins, count.n_second_wins
        tallies[count.first_checkpoint_id].add(n_wins=first, n_losses=second, count=count)
        tallies[count.second_checkpoint_id].add(n_wins=second, n_losses=first, count=count)
    return tallies
