"""Standings and win rates, always of one population and always with counts and intervals."""

from datetime import datetime

from django.db.models import F, Sum
from django.http import HttpRequest
from ninja import Router, Schema
from ninja.errors import HttpError

from api.access import READERS, allow
from api.clips import get_checkpoint
from attune.catalog.models import Population, RotationRole
from attune.catalog.selectors import rotation_entries
from attune.leaderboard.choices import IntervalMethod
from attune.leaderboard.models import PairCount
from attune.leaderboard.selectors import gate_of_people, get_opponent, win_rate
from attune.leaderboard.selectors import standings as all_standings
from attune.leaderboard.sequential import GateDecision

router = Router(tags=["leaderboard"], auth=allow(READERS))


class StandingAnswer(Schema):
    """One checkpoint's score; two that share a group number cannot be told apart."""

    checkpoint: str
    role: RotationRole | None
    score: float
    low: float | None
    high: float | None
    n_wins: int
    n_losses: int
    n_ties: int
    n_both_bad: int
    n_raters: int
    interval_method: IntervalMethod
    groups: list[int]


class LeaderboardAnswer(Schema):
    """One population's standings, best first, as of the last refresh."""

    population: Population
    n_ratings: int
    n_raters: int
    refreshed_at: datetime | None
    standings: list[StandingAnswer]


class VerdictAnswer(Schema):
    """What the ratings say about a canary; looking often does not spoil it."""

    decision: GateDecision
    low: float
    high: float
    n_more: int | None
    sentence: str


class WinRateAnswer(Schema):
    """The share of decided ratings won. Ties count for neither side."""

    checkpoint: str
    against: str
    population: Population
    figure: float | None
    low: float | None
    high: float | None
    n_wins: int
    n_losses: int
    n_decided: int
    n_ties: int
    n_both_bad: int
    n_raters: int
    interval_method: IntervalMethod
    verdict: VerdictAnswer | None


@router.get("leaderboard", response=LeaderboardAnswer)
def read_leaderboard(
    request: HttpRequest, population: Population = Population.PEOPLE
) -> LeaderboardAnswer:
    """How the checkpoints stand; people's ratings and simulated ones are never mixed."""
    roles = {
        entry.checkpoint_id: RotationRole(entry.role) for entry in rotation_entries(population)
    }
    rows = list(all_standings(population))
    counts = PairCount.objects.filter(population=population)
    n_ratings = counts.aggregate(
        n=Sum(F("n_first_wins") + F("n_second_wins") + F("n_ties") + F("n_both_bad"))
    )["n"]
    return LeaderboardAnswer(
        population=population,
        n_ratings=n_ratings or 0,
        n_raters=counts.values("rater").distinct().count(),
        refreshed_at=rows[0].refreshed_at if rows else None,
        standings=[
            StandingAnswer(
                checkpoint=row.checkpoint.name,
                role=roles.get(row.checkpoint_id),
                score=row.score,
                low=row.low,
                high=row.high,
                n_wins=row.n_wins,
                n_losses=row.n_losses,
                n_ties=row.n_ties,
                n_both_bad=row.n_both_bad,
                n_raters=row.n_raters,
                interval_method=IntervalMethod(row.interval_method),
                groups=row.groups,
            )
            for row in rows
        ],
    )


@router.get("win-rates", response=WinRateAnswer)
def read_win_rate(
    request: HttpRequest,
    checkpoint: str,
    against: str | None = None,
    population: Population = Population.PEOPLE,
    held_out: bool | None = None,
) -> WinRateAnswer:
    """How often a checkpoint wins, against its parent when no other is named.

    Where the parent has left rotation, against its nearest ancestor that has not.
    """
    judged = get_checkpoint(checkpoint)
    opponent = get_opponent(judged, population) if judged.parent is not None else None
    other = opponent if against is None else get_checkpoint(against)
    if other is None:
        raise HttpError(422, f"checkpoint {judged.name} has no parent: name one in against")
    found = win_rate(judged, other, population, is_held_out=held_out)
    verdict = None
    if other == opponent:
        said = gate_of_people(judged, population)
        verdict = VerdictAnswer(
            decision=said.decision,
            low=said.low,
            high=said.high,
            n_more=said.n_more,
            sentence=said.sentence,
        )
    return WinRateAnswer(
        checkpoint=judged.name,
        against=other.name,
        population=population,
        figure=found.figure,
        low=found.low,
        high=found.high,
        n_wins=found.n_wins,
        n_losses=found.n_losses,
        n_decided=found.n_decided,
        n_ties=found.n_ties,
        n_both_bad=found.n_both_bad,
        n_raters=found.n_raters,
        interval_method=found.interval_method,
        verdict=verdict,
    )
