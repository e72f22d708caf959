"""Writes that store answers: once, checked, and changeable until a round freezes them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F, Sum
from django.utils.translation import gettext as _

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
from attune.ratings.listening import Heard, Segment, check_listening, check_pace
from attune.ratings.models import Assignment, ListeningEvent, Pair, Rating, RatingRevision, Study
from attune.ratings.pairing_selectors import EVIDENCE
from attune.ratings.selectors import side_clip
from attune.ratings.trust_services import review_answer

log = structlog.get_logger(__name__)

# An answer given offline is sent when the connection is back; a day is long enough for that.
GRACE = timedelta(hours=24)
STRENGTHS = (1, 2, 3)
PACE_ANSWERS = 10


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
                _("this client id was used for another answer"), assignment_id=assignment_id
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
    rating = lock_changeable_rating(locked, rating_id)
    _check_strength(rating.pair.study, strength)
    if (rating.choice, rating.strength) == (answer, strength):
        return rating
    RatingRevision.objects.create(rating=rating, choice=rating.choice, strength=rating.strength)
    was = Choice(rating.choice)
    rating.choice = answer
    rating.strength = strength
    rating.changed_at = now
    rating.save(update_fields=["choice", "strength", "changed_at"])
    review_answer(rating=rating, now=now, was=was)
    log.info("rating_changed", rating=rating.pk, choice=rating.choice)
    return rating


def lock_changeable_rating(rater: Rater, rating_id: int) -> Rating:
    """The rater's own rating, locked, if it can still be changed.

    Raises RatingNotFoundError, PopulationError, WithdrawnError, or RatingFrozenError once a round
    has used it, or a newer answer was given in a study without a history.
    """
    rating = (
        Rating.objects.select_for_update(of=("self",))
        .select_related("pair__study")
        .filter(pk=rating_id, rater=rater)
        .first()
    )
    if rating is None:
        raise RatingNotFoundError(rating_id=rating_id)
    study = rating.pair.study
    check_population(study, rater)
    newer = Rating.objects.filter(rater=rater, pair__study=study, pk__gt=rating_id)
    if rating.is_frozen or (not study.shows_history and newer.exists()):
        raise RatingFrozenError(rating_id=rating_id)
    return rating


def check_answer(choice: Choice | str, strength: int | None) -> Choice:
    """The choice, if it exists and the strength goes with it. Raises AnswerError."""
    if choice not in Choice.values:
        raise AnswerError(
            _("choice %(choice)s: expected one of %(allowed)s")
            % {"choice": repr(choice), "allowed": ", ".join(Choice.values)}
        )
    answer = Choice(choice)
    match answer:
        case Choice.A | Choice.B:
            if strength is not None and strength not in STRENGTHS:
                raise AnswerError(
                    _("strength %(strength)s: expected 1, 2 or 3, or none") % {"strength": strength}
                )
        case Choice.TIE | Choice.BOTH_BAD:
            if strength is not None:
                raise AnswerError(
                    _("strength %(strength)s with %(choice)s: only A and B have a strength")
                    % {"strength": strength, "choice": answer.value}
                )
        case _:
            assert_never(answer)
    return answer


def _same_answer(earlier: Rating, rater: Rater, assignment_id: UUID) -> Rating:
    """The earlier rating if it is this rater's answer to this assignment."""
    if earlier.rater_id != rater.pk or earlier.assignment_id != assignment_id:
        raise AssignmentClosedError(
            _("this client id was used for another answer"), assignment_id=assignment_id
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
    _check_strength(study, strength)
    _check_place(assignment, study.overlap, now)
    accepted = check_listening(
        {Side(side): segments for side, segments in heard.items()},
        {side: side_clip(assignment, side).duration_s or 0.0 for side in Side},
        minimum_s=study.minimum_listening_s,
        elapsed_s=(now - assignment.handed_out_at).total_seconds(),
    )
    this = Heard(since=assignment.handed_out_at, heard_s=_seconds(accepted))
    if this.heard_s > 0:
        check_pace(_heard_lately(rater), this, now=now)
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
    if not assignment.is_repeat:
        Pair.objects.filter(pk=assignment.pair_id).update(n_ratings=F("n_ratings") + 1)
    review_answer(rating=rating, now=now)
    return rating


def _check_strength(study: Study, strength: int | None) -> None:
    if strength is not None and not study.asks_strength:
        raise AnswerError(_("this study does not ask how much better a clip was"))


def _seconds(heard: Mapping[Side, Sequence[Segment]]) -> float:
    return sum(end_s - start_s for segments in heard.values() for start_s, end_s in segments)


def _heard_lately(rater: Rater) -> list[Heard]:
    """How long the rater's last answered pairs were heard, newest first."""
    events = F("assignment__listening_events__end_s") - F("assignment__listening_events__start_s")
    latest = (
        Rating.objects.filter(rater=rater)
        .order_by("-created_at", "-pk")
        .values_list("pk", flat=True)[:PACE_ANSWERS]
    )
    rows = (
        Rating.objects.filter(pk__in=list(latest))
        .annotate(heard_s=Sum(events))
        .order_by("-created_at", "-pk")
        .values_list("assignment__handed_out_at", "heard_s")
    )
    return [Heard(since=since, heard_s=heard_s or 0.0) for since, heard_s in rows]


def _check_place(assignment: Assignment, overlap: int, now: datetime) -> None:
    """Raise unless the assignment can still be answered; its pair is locked from here on."""
    state = AssignmentState(assignment.state)
    match state:
        case AssignmentState.ANSWERED | AssignmentState.SKIPPED:
            raise AssignmentClosedError(
                _("this pair was answered or skipped before"), assignment_id=assignment.pk
            )
        case AssignmentState.OPEN | AssignmentState.EXPIRED:
            pass
        case _:
            assert_never(state)
    if now > assignment.lease_until + GRACE:
        raise AssignmentClosedError(
            _("your time for this pair ran out more than a day ago"), assignment_id=assignment.pk
        )
    # Gold pairs and repeats take no place from anybody.
    takes_place = not assignment.is_repeat and assignment.pair.purpose in EVIDENCE
    if takes_place and not has_free_place(
        assignment.pair_id, overlap=overlap, besides=assignment.pk
    ):
        raise AssignmentClosedError(
            _("your time for this pair ran out, and its place was taken"),
            assignment_id=assignment.pk,
        )
