"""Writes that hand pairs to raters.

Order of locks on every path: rater, assignment, pair. SQLite has no row locks and needs none:
its transactions begin IMMEDIATE, one writer at a time.
"""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction

from attune.catalog.draws import UniformSource
from attune.catalog.models import Population
from attune.raters.models import Rater
from attune.ratings.arrival import check_arrival
from attune.ratings.choices import AssignmentState, Side
from attune.ratings.errors import (
    AssignmentNotFoundError,
    PopulationError,
    WithdrawnError,
)
from attune.ratings.models import Assignment, ClipReport, Pair, Study
from attune.ratings.pairing import Kind, Next, Shares, choose_fresh, choose_next
from attune.ratings.pairing_selectors import TAKEN_STATES, supply_for
from attune.ratings.selectors import side_clip

log = structlog.get_logger(__name__)

REMARK_CHARACTERS = 500
EVEN = 0.5


def assign_pair(
    *,
    study: Study,
    rater: Rater,
    rng: UniformSource,
    now: datetime,
    after: UUID | None = None,
) -> Assignment | None:
    """The rater's oldest assignment in hand, with its lease renewed, or a new one.

    `after` fetches ahead: the assignment in hand of this id is passed over, so that a page can
    load the next pair while this one is rated. A rater so never has more than two in hand.

    None when the study is closed or has no fresh pair for this rater now. A fresh pair never has
    more open and answered assignments than the study's overlap: the pair's row is locked and its
    places are counted again before one is taken. Each try is a transaction of its own, so
    that no two pairs are ever locked at once. Gold pairs and repeats take no place: a gold pair
    is for every rater once, a repeat for a rater who has answered the pair before.
    """
    shares = Shares(gold=study.gold_share, repeat=study.repeat_share)
    full: list[int] = []
    lost: Next | None = None
    while True:
        with transaction.atomic():
            locked = lock_rater(rater)
            check_population(study, locked)
            check_arrival(locked, study)
            _expire(study, now)
            assignment = _renew_open_assignment(study, locked, now, after=after)
            if assignment is not None:
                return assignment
            if not Study.objects.filter(pk=study.pk, is_open=True).exists():
                return None
            supply = supply_for(study=study, rater=locked, excluded=full)
            if lost is None:
                chosen = choose_next(supply, rng, shares=shares)
            else:
                chosen = choose_fresh(supply, rng, kind_share=lost.kind_share)
            if chosen is None:
                return None
            is_free = chosen.kind != Kind.FRESH or has_free_place(
                chosen.pair_id, overlap=study.overlap
            )
            if is_free:
                return _hand_out(study, locked, chosen, rng, now=now)
        lost = chosen
        full.append(chosen.pair_id)


@transaction.atomic
def expire_assignments(*, study: Study, now: datetime) -> int:
    """How many assignments of the study lost their place because their lease ran out.

    One that is being answered at this moment is locked and therefore left alone.
    """
    return _expire(study, now)


def _expire(study: Study, now: datetime) -> int:
    stale = (
        Assignment.objects.select_for_update(skip_locked=True, of=("self",))
        .filter(pair__study=study, state=AssignmentState.OPEN, lease_until__lt=now)
        .order_by("pk")
    )
    found = [assignment.pk for assignment in stale]
    if not found:
        return 0
    return Assignment.objects.filter(pk__in=found, state=AssignmentState.OPEN).update(
        state=AssignmentState.EXPIRED
    )


@transaction.atomic
def report_clip(
    *, rater: Rater, assignment_id: UUID, side: Side | str, remark: str, now: datetime
) -> ClipReport:
    """The rater's report; the pair is withdrawn and an unanswered assignment is skipped.

    A report of the same side of the same assignment is stored once. Who reports the damage of a
    gold pair has heard it: the pair stays for other raters.
    """
    locked = lock_rater(rater)
    assignment = lock_assignment(locked, assignment_id)
    check_population(assignment.pair.study, locked)
    report, is_new = ClipReport.objects.get_or_create(
        assignment=assignment, side=Side(side), defaults={"remark": remark[:REMARK_CHARACTERS]}
    )
    Assignment.objects.filter(
        pk=assignment.pk, state__in=[AssignmentState.OPEN, AssignmentState.EXPIRED]
    ).update(state=AssignmentState.SKIPPED)
    if not side_clip(assignment, Side(side)).damage:
        Pair.objects.filter(pk=assignment.pair_id).update(is_withdrawn=True)
    if is_new:
        log.warning("clip_reported", pair=assignment.pair_id, side=report.side, at=now.isoformat())
    return report


def check_population(study: Study, rater: Rater) -> None:
    """Raise unless the rater belongs to the population whose ratings the study collects."""
    if rater.withdrawn_at is not None:
        raise WithdrawnError(pseudonym=rater.pseudonym)
    if (study.population == Population.REHEARSAL) != rater.is_simulated:
        raise PopulationError(
            study=study.slug, population=study.population, is_simulated=rater.is_simulated
        )


def lock_rater(rater: Rater) -> Rater:
    """The fresh row, locked until the transaction ends: one rater does one thing at a time."""
    return Rater.objects.select_for_update(no_key=True).get(pk=rater.pk)


def lock_assignment(rater: Rater, assignment_id: UUID) -> Assignment:
    """The rater's own assignment, locked; AssignmentNotFoundError if it is not theirs."""
    assignment = (
        Assignment.objects.select_for_update(of=("self",))
        .select_related("pair__study", "pair__first_clip", "pair__second_clip", "pair__prompt")
        .filter(pk=assignment_id, rater=rater)
        .first()
    )
    if assignment is None:
        raise AssignmentNotFoundError(assignment_id=assignment_id)
    return assignment


def has_free_place(pair_id: int, *, overlap: int, besides: UUID | None = None) -> bool:
    """True if the pair, now locked, may take one more rater than those who hold a place.

    An open assignment holds its place until it is marked expired, however old its lease is:
    its answer may be on the way.
    """
    pair = Pair.objects.select_for_update(no_key=True).get(pk=pair_id)
    if pair.is_withdrawn and besides is None:
        return False
    held = pair.assignments.filter(state__in=TAKEN_STATES, is_repeat=False)
    if besides is not None:
        held = held.exclude(pk=besides)
    return held.count() < overlap


def _renew_open_assignment(
    study: Study, rater: Rater, now: datetime, *, after: UUID | None
) -> Assignment | None:
    in_hand = Assignment.objects.filter(rater=rater, pair__study=study, state=AssignmentState.OPEN)
    if after is not None:
        in_hand = in_hand.exclude(pk=after)
    oldest = in_hand.order_by("handed_out_at").values_list("pk", flat=True).first()
    if oldest is None:
        return None
    lease_until = now + timedelta(seconds=study.assignment_lease_s)
    Assignment.objects.filter(pk=oldest).update(lease_until=lease_until)
    return _with_its_clips(oldest)


def _with_its_clips(pk: UUID) -> Assignment:
    """The assignment with all that its rater is shown, in one query."""
    return Assignment.objects.select_related(
        "rater", "pair__study", "pair__prompt", "pair__first_clip", "pair__second_clip"
    ).get(pk=pk)


def _hand_out(
    study: Study, rater: Rater, chosen: Next, rng: UniformSource, *, now: datetime
) -> Assignment:
    """A new assignment, or the one that this rater let expire, as it was, with a new lease."""
    lease_until = now + timedelta(seconds=study.assignment_lease_s)
    is_swapped = rng.random() < EVEN if chosen.is_swapped is None else chosen.is_swapped
    given = {"propensity": min(chosen.propensity, 1.0), "lease_until": lease_until}
    # The rater's row is locked: nobody else can make this assignment meanwhile.
    same = {"rater": rater, "pair_id": chosen.pair_id, "is_repeat": chosen.kind == Kind.REPEAT}
    found = Assignment.objects.filter(**same).values_list("pk", flat=True).first()
    if found is None:
        pk = Assignment.objects.create(**same, **given, is_swapped=is_swapped, handed_out_at=now).pk
    else:
        pk = found
        Assignment.objects.filter(pk=pk).update(**given, state=AssignmentState.OPEN)
    log.info("pair_assigned", assignment=str(pk), kind=chosen.kind, is_new=found is None)
    return _with_its_clips(pk)
