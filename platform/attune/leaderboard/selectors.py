"""Reads of the leaderboard: standings, win rates, and the verdict of people on a canary."""

from collections import Counter, defaultdict
from datetime import timedelta

import numpy as np
from django.db.models import Count, F, Max, Q, QuerySet

from attune.catalog.models import (
    Checkpoint,
    Population,
    RotationAction,
    RotationEntry,
    RotationEvent,
)
from attune.leaderboard.errors import NoParentError, SameCheckpointError
from attune.leaderboard.models import PairCount, Standing
from attune.leaderboard.sequential import SequentialVerdict, decide
from attune.leaderboard.standings import AnswerCount
from attune.leaderboard.win_rates import WinRate, compute_win_rate, wins_and_losses
from attune.ratings.choices import Choice, PairPurpose
from attune.ratings.models import Rating, Study
from attune.ratings.people_gate import PeopleGate, people_gate_of

# Reads draw their intervals from this seed, so that a page reloaded shows the same figures.
READING_SEED = 20_000
STORING_MARGIN = timedelta(seconds=10)


def standings(population: Population | str) -> QuerySet[Standing]:
    """The population's leaderboard, best first."""
    return (
        Standing.objects.filter(population=population)
        .select_related("checkpoint")
        .order_by("-score", "checkpoint_id")
    )


def unjudged_checkpoints(population: Population | str) -> QuerySet[Checkpoint]:
    """The checkpoints in rotation that have no standing yet."""
    judged = Standing.objects.filter(population=population).values("checkpoint_id")
    return Checkpoint.objects.filter(rotation_entries__population=population).exclude(pk__in=judged)


def judging_ratings(population: Population | str) -> QuerySet[Rating]:
    """The ratings that rank checkpoints: of pairs of two, not withdrawn, not repeated."""
    return Rating.objects.filter(
        pair__purpose=PairPurpose.JUDGING,
        pair__study__population=population,
        is_simulated=population == Population.REHEARSAL,
        pair__is_withdrawn=False,
        assignment__is_repeat=False,
        rater__withdrawn_at__isnull=True,
    ).exclude(pair__first_checkpoint=F("pair__second_checkpoint"))


def count_answers(
    population: Population | str,
    *,
    between: tuple[Checkpoint, Checkpoint] | None = None,
    is_held_out: bool | None = None,
) -> list[AnswerCount]:
    """The population's answers by rater and two checkpoints, in one query.

    between: only pairs of these two. is_held_out: only held-out prompts, or only the others.
    """
    found = judging_ratings(population)
    if between is not None:
        one, other = between
        found = found.filter(
            Q(pair__first_checkpoint=one, pair__second_checkpoint=other)
            | Q(pair__first_checkpoint=other, pair__second_checkpoint=one)
        )
    if is_held_out is not None:
        found = found.filter(pair__prompt__is_held_out=is_held_out)
    is_first = Q(choice=Choice.A, assignment__is_swapped=False) | Q(
        choice=Choice.B, assignment__is_swapped=True
    )
    is_second = Q(choice=Choice.B, assignment__is_swapped=False) | Q(
        choice=Choice.A, assignment__is_swapped=True
    )
    rows = (
        found.order_by()
        .values_list("rater_id", "pair__first_checkpoint_id", "pair__second_checkpoint_id")
        .annotate(
            n_first=Count("pk", filter=is_first),
            n_second=Count("pk", filter=is_second),
            n_ties=Count("pk", filter=Q(choice=Choice.TIE)),
            n_both_bad=Count("pk", filter=Q(choice=Choice.BOTH_BAD)),
        )
    )
    return _merge_orders(rows)


def _merge_orders(rows: QuerySet[Rating, tuple[int, ...]]) -> list[AnswerCount]:
    """One count per rater and two checkpoints, whichever of them a pair names first."""
    merged: dict[tuple[int, int, int], Counter[str]] = defaultdict(Counter)
    for rater_id, one, other, n_one_wins, n_other_wins, n_ties, n_both_bad in rows:
        answers = merged[rater_id, min(one, other), max(one, other)]
        answers.update(
            n_first_wins=n_one_wins if one < other else n_other_wins,
            n_second_wins=n_other_wins if one < other else n_one_wins,
            n_ties=n_ties,
            n_both_bad=n_both_bad,
        )
    return [
        AnswerCount(
            rater_id=rater_id,
            first_checkpoint_id=first,
            second_checkpoint_id=second,
            n_first_wins=answers["n_first_wins"],
            n_second_wins=answers["n_second_wins"],
            n_ties=answers["n_ties"],
            n_both_bad=answers["n_both_bad"],
        )
        for (rater_id, first, second), answers in sorted(merged.items())
    ]


def win_rate(
    checkpoint: Checkpoint,
    against: Checkpoint,
    population: Population | str,
    *,
    is_held_out: bool | None = None,
) -> WinRate:
    """How often `checkpoint` wins against `against`, from all ratings up to now."""
    if checkpoint.pk == against.pk:
        raise SameCheckpointError(f"checkpoint {checkpoint.name} was set against itself")
    counts = count_answers(population, between=(checkpoint, against), is_held_out=is_held_out)
    return compute_win_rate(counts, checkpoint.pk, rng=np.random.default_rng(READING_SEED))


def win_rates(population: Population | str) -> dict[tuple[int, int], WinRate]:
    """The matrix of win rates as of the last refresh, by (checkpoint id, against id)."""
    by_two: dict[tuple[int, int], list[AnswerCount]] = defaultdict(list)
    for row in PairCount.objects.filter(population=population).order_by("pk"):
        count = AnswerCount(
            rater_id=row.rater_id,
            first_checkpoint_id=row.first_checkpoint_id,
            second_checkpoint_id=row.second_checkpoint_id,
            n_first_wins=row.n_first_wins,
            n_second_wins=row.n_second_wins,
            n_ties=row.n_ties,
            n_both_bad=row.n_both_bad,
        )
        by_two[row.first_checkpoint_id, row.second_checkpoint_id].append(count)
    matrix: dict[tuple[int, int], WinRate] = {}
    for (first, second), counts in by_two.items():
        for one, other in ((first, second), (second, first)):
            rng = np.random.default_rng(READING_SEED)
            matrix[one, other] = compute_win_rate(counts, one, rng=rng)
    return matrix


def get_opponent(checkpoint: Checkpoint, population: Population | str) -> Checkpoint:
    """The checkpoint that people judge this one against: its nearest ancestor in rotation.

    That is its parent, unless the parent has left: then no more ratings against it will come. The
    parent stands where no ancestor is in rotation. NoParentError without a parent.
    """
    if checkpoint.parent is None:
        raise NoParentError(f"checkpoint {checkpoint.name} has no parent to be judged against")
    in_rotation = set(
        RotationEntry.objects.filter(population=population).values_list("checkpoint_id", flat=True)
    )
    ancestor: Checkpoint | None = checkpoint.parent
    while ancestor is not None and ancestor.pk not in in_rotation:
        ancestor = ancestor.parent
    return ancestor or checkpoint.parent


def gate_of_people(
    checkpoint: Checkpoint, population: Population | str, opponent: Checkpoint | None = None
) -> SequentialVerdict:
    """Promote, hold or roll back: the ratings against the checkpoint's opponent, peeking-safe.

    opponent: as `get_opponent` found it, where somebody asked already.
    """
    opponent = opponent or get_opponent(checkpoint, population)
    asked = people_gate(checkpoint)
    counts = count_answers(population, between=(checkpoint, opponent))
    wins, losses = wins_and_losses(counts, checkpoint.pk)
    return decide(wins, losses, alpha=asked.alpha, minimum_ratings=asked.minimum_ratings)


def people_gate(checkpoint: Checkpoint) -> PeopleGate:
    """What is asked before anything is decided: by the study of the round that made it."""
    study = Study.objects.filter(rounds__produced_checkpoint=checkpoint).first()
    return people_gate_of({} if study is None else study.gate)


def decision_events(entry: RotationEntry) -> QuerySet[RotationEvent]:
    """What was decided about a checkpoint in rotation since it entered, oldest first."""
    events = RotationEvent.objects.filter(
        population=entry.population, checkpoint_id=entry.checkpoint_id
    ).order_by("pk")
    entered = events.filter(action=RotationAction.ENTER).last()
    return events if entered is None else events.filter(pk__gt=entered.pk)


def is_held_by_hand(entry: RotationEntry) -> bool:
    """Whether an engineer's hold keeps the site from deciding about a canary."""
    return decision_events(entry).filter(action=RotationAction.HOLD, actor__isnull=False).exists()


def needs_refresh(population: Population | str) -> bool:
    """Whether a rating that ranks checkpoints may be newer than the leaderboard.

    A rating may be stored some seconds after the time it carries, so the last seconds before
    a refresh are looked at once more. Withdrawals alone wait for the next rating.
    """
    refreshed_at = Standing.objects.filter(population=population).aggregate(
        latest=Max("refreshed_at")
    )["latest"]
    found = judging_ratings(population)
    if refreshed_at is not None:
        since = refreshed_at - STORING_MARGIN
        found = found.filter(Q(created_at__gte=since) | Q(changed_at__gte=since))
    return found.exists()
