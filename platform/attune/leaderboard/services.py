"""Writes of the leaderboard: it is rebuilt from ratings, never edited."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from django.db import transaction

from attune.catalog.models import Population
from attune.leaderboard.models import PairCount, Standing
from attune.leaderboard.selectors import count_answers
from attune.leaderboard.standings import AnswerCount, StandingFigures, compute_standings


def refresh_leaderboard(
    *, population: Population | str, now: datetime, rng: np.random.Generator
) -> list[StandingFigures]:
    """Rebuilds one population's counts and standings from its ratings; returns the standings.

    The other population's rows are not touched. May run twice, or in two workers at once:
    the later one's rows stand.
    """
    with transaction.atomic():
        counts = count_answers(population)
        figures = compute_standings(counts, rng=rng)
        _store_counts(population, counts)
        _store_standings(population, figures, now)
    return figures


def _store_counts(population: Population | str, counts: Sequence[AnswerCount]) -> None:
    PairCount.objects.filter(population=population).delete()
    PairCount.objects.bulk_create(
        (
            PairCount(
                population=population,
                rater_id=count.rater_id,
                first_checkpoint_id=count.first_checkpoint_id,
                second_checkpoint_id=count.second_checkpoint_id,
                n_first_wins=count.n_first_wins,
                n_second_wins=count.n_second_wins,
                n_ties=count.n_ties,
                n_both_bad=count.n_both_bad,
            )
            for count in counts
        ),
        batch_size=500,
        update_conflicts=True,
        unique_fields=["population", "rater", "first_checkpoint", "second_checkpoint"],
        update_fields=["n_first_wins", "n_second_wins", "n_ties", "n_both_bad"],
    )


def _store_standings(
    population: Population | str, figures: Sequence[StandingFigures], now: datetime
) -> None:
    Standing.objects.filter(population=population).delete()
    Standing.objects.bulk_create(
        (
            Standing(
                population=population,
                checkpoint_id=figure.checkpoint_id,
                score=figure.score,
                low=figure.low,
                high=figure.high,
                n_wins=figure.n_wins,
                n_losses=figure.n_losses,
                n_ties=figure.n_ties,
                n_both_bad=figure.n_both_bad,
                n_raters=figure.n_raters,
                interval_method=figure.interval_method,
                groups=list(figure.groups),
                refreshed_at=now,
            )
            for figure in sorted(figures, key=lambda figure: figure.checkpoint_id)
        ),
        update_conflicts=True,
        unique_fields=["population", "checkpoint"],
        update_fields=[
            *("score", "low", "high", "n_wins", "n_losses", "n_ties", "n_both_bad"),
            *("n_raters", "interval_method", "groups", "refreshed_at"),
        ],
    )
