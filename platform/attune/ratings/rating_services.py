"""Writes that store answers: once, checked, and changeable until a round freezes them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F

from attune.raters.models import Rater
from attune.ratings.assignment_services import (
    check_population,
    has_free_place,
    lock_assignment,
    lock_rater,
)
from attune.ratings.choices import AssignmentState, Choice, Side
from attune.ratings.errors import (
    AnswerError,
    AssignmentClosedError,
    RatingFrozenError,
    RatingNotFoundError,
)
from attune.ratings.listening import Segment, check_listening
from attune.ratings.models import Assignment, ListeningEvent, Pair, Rating, RatingRevision
from attune.ratings.selectors import side_clip

log = structlog.get_logger(__name__)

# An answer given offline is sent when the connection is back; a day is long enough for that.
GRACE = timedelta(hours=24)
STRENGTHS = (1, 2, 3)


def record_rating(
    *,
    rater: Rater,
    assignment_id: UUID,
    client_id: UUID,
    choice: Choice | str,
    strength: int | None,
    heard: Mapping[Side, Sequence[Segment]],
    now: datetime,
) -> tuple[Rating, bool]:
    """(the rating, whether it is new). The same client id stores one rating, however often sent.

    An answer after the lease ran out is kept for a day, as long as nobody else was given the
    place. Raises PopulationError, WithdrawnError, AnswerError, ListeningError,
    AssignmentNotFoundError or AssignmentClosedError.
    """
    answer = check_answer(choice, strength)
    try:
        with transaction.atomic():
            locked = lock_rater(rater)
            earlier = Rating.objects.filter(client_id=client_id).first()
            if earlier is not None:
                return _same_answer(earlier, locked, assignment_id), False
            assignment = lock_assignment(locked, assignment_id)
            rating = _store(
                locked,
                assignment,
                client_id=client_id,
                choice=answer,
                strength=strength,
                heard=heard,
                now=now,
            )
    except IntegrityError as exc:
        earlier = Rating.objects.filter(client_id=client_id).first()
        if earlier is None:
            raise
        if earlier.rater_id != rater.pk:
            raise AssignmentClosedError(
                "this client id was used for another answer", assignment_id=assignment_id
            ) from exc
        return _same_answer(earlier, rater, assignment_id), False
    log.info("rating_recorded", rating=rating.pk, choice=rating.choice)
    return rating, True


@transaction.atomic
def change_rating(
    *, rater: Rater, rating_id: int, choice: Choice | str, strength: int | None, now: datetime
) -> Rating:
    """The changed rating; what it said before is kept. The same answer again changes nothing."""
    answer = check_answer(choice, strength)
    locked = lock_rater(rater)
    rating = (
        Rating.objects.select_for_update(of=("self",))
        .select_related("pair__study")
        .filter(pk=rating_id, rater=locked)
        .first()
    )
    if rating is None:
        raise RatingNotFoundError(rating_id=rating_id)
    check_population(rating.pair.study, locked)
    if rating.is_frozen:
        raise RatingFrozenError(rating_id=rating_id)
    if (rating.choice, rating.strength) == (answer, strength):
        return rating
    RatingRevision.objects.create(rating=rating, choice=rating.choice, strength=rating.strength)
    rating.choice = answer
    rating.strength = strength
    rating.changed_at = now
    rating.save(update_fields=["choice", "strength", "changed_at"])
    log.info("rating_changed", rating=rating.pk, choice=rating.choice)
    return rating


def check_answer(choice: Choice | str, strength: int | None) -> Choice:
    """The choice, if it exists and the strength goes with it. Raises AnswerError."""
    if choice not in Choice.values:
        raise AnswerError(f"choice {choice!r}: expected one of {', '.join(Choice.values)}")
    answer = Choice(choice)
    match answer:
        case Choice.A | Choice.B:
            if strength is not None and strength not in STRENGTHS:
                raise AnswerError(f"strength {strength}: expected 1, 2 or 3, or none")
        case Choice.TIE | Choice.BOTH_BAD:
            if strength is not None:
                raise AnswerError(
                    f"strength {strength} with {answer.value}: only A and B have a strength"
                )
        case _:
            assert_never(answer)
    return answer


def _same_answer(earlier: Rating, rater: Rater, assignment_id: UUID) -> Rating:
    """The earlier rating if it is this rater's answer to this assignment."""
    if earlier.rater_id != rater.pk or earlier.assignment_id != assignment_id:
        raise AssignmentClosedError(
            "this client id was used for another answer", assignment_id=assignment_id
        )
    return earlier


def _store(
    rater: Rater,
    assignment: Assignment,
    *,
    client_id: UUID,
    choice: Choice,
    strength: int | None,
    heard: Mapping[Side, Sequence[Segment]],
    now: datetime,
) -> Rating:
    study = assignment.pair.study
    check_population(study, rater)
    _check_place(assignment, study.overlap, now)
    accepted = check_listening(
        {Side(side): segments for side, segments in heard.items()},
        {side: side_clip(assignment, side).duration_s or 0.0 for side in Side},
        minimum_s=study.minimum_listening_s,
        elapsed_s=(now - assignment.handed_out_at).total_seconds(),
    )
    rating = Rating.objects.create(
        client_id=client_id,
        assignment=assignment,
        pair=assignment.pair,
        rater=rater,
        choice=choice,
        strength=strength,
        is_simulated=rater.is_simulated,
    )
    ListeningEvent.objects.bulk_create(
        ListeningEvent(assignment=assignment, side=side, start_s=start_s, end_s=end_s)
        for side, segments in accepted.items()
        for start_s, end_s in segments
    )
    Assignment.objects.filter(pk=assignment.pk).update(state=AssignmentState.ANSWERED)
    Pair.objects.filter(pk=assignment.pair_id).update(n_ratings=F("n_ratings") + 1)
    return rating


def _check_place(assignment: Assignment, overlap: int, now: datetime) -> None:
    """Raise unless the assignment can still be answered; its pair is locked from here on."""
    state = AssignmentState(assignment.state)
    match state:
        case AssignmentState.ANSWERED | AssignmentState.SKIPPED:
            raise AssignmentClosedError(
                f"this assignment was already {state.value}", assignment_id=assignment.pk
            )
        case AssignmentState.OPEN | AssignmentState.EXPIRED:
            pass
        case _:
            assert_never(state)
    if now > assignment.lease_until + GRACE:
        raise AssignmentClosedError(
            "your time for this pair ran out more than a day ago", assignment_id=assignment.pk
        )
    if not has_free_place(assignment.pair_id, overlap=overlap, besides=assignment.pk):
        raise AssignmentClosedError(
            "your time for this pair ran out, and its place was taken",
            assignment_id=assignment.pk,
        )
