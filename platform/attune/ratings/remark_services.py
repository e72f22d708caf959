"""Writes about remarks: a rater's words, pinned to a moment of a clip."""

import math
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from attune.raters.models import Rater
from attune.ratings.assignment_services import check_population, lock_assignment, lock_rater
from attune.ratings.choices import AssignmentState, Side
from attune.ratings.errors import (
    AssignmentClosedError,
    RemarkError,
    RemarkFrozenError,
    RemarkNotFoundError,
)
from attune.ratings.listening import EDGE_TOLERANCE_S
from attune.ratings.models import Assignment, Rating, Remark
from attune.ratings.selectors import side_clip

log = structlog.get_logger(__name__)

MAXIMUM_CHARACTERS = 300
MAXIMUM_PER_ASSIGNMENT = 20


def add_remark(
    *,
    rater: Rater,
    assignment_id: UUID,
    client_id: UUID,
    side: Side | str,
    at_s: float,
    text: str,
) -> tuple[Remark, bool]:
    """(the remark, whether it is new). The same client id stores one remark, however often sent.

    Raises RemarkError, RemarkFrozenError, AssignmentNotFoundError or AssignmentClosedError.
    """
    try:
        with transaction.atomic():
            locked = lock_rater(rater)
            assignment = lock_assignment(locked, assignment_id)
            check_population(assignment.pair.study, locked)
            earlier = Remark.objects.filter(client_id=client_id).first()
            if earlier is not None:
                return _same_remark(earlier, assignment), False
            words = text.strip()
            _check(assignment, side, at_s, words)
            remark = Remark.objects.create(
                client_id=client_id, assignment=assignment, side=Side(side), at_s=at_s, text=words
            )
    except IntegrityError as exc:  # another rater's remark took the client id meanwhile
        raise RemarkError(_("this client id was used for another remark")) from exc
    log.info("remark_added", assignment=str(assignment_id), side=remark.side)
    return remark, True


@transaction.atomic
def remove_remark(*, rater: Rater, client_id: UUID) -> None:
    """Takes the rater's own remark away, unless a round has used the answer it belongs to."""
    locked = lock_rater(rater)
    remark = Remark.objects.filter(client_id=client_id, assignment__rater=locked).first()
    if remark is None:
        raise RemarkNotFoundError(client_id=client_id)
    _check_not_frozen(lock_assignment(locked, remark.assignment_id))
    remark.delete()
    log.info("remark_removed", assignment=str(remark.assignment_id))


@transaction.atomic
def erase_remarks(*, rater: Rater) -> int:
    """How many remarks of the rater lost their words; where and when they were made stays."""
    n_erased = Remark.objects.filter(assignment__rater=rater).exclude(text="").update(text="")
    log.info("remarks_erased", n=n_erased)
    return n_erased


def _same_remark(earlier: Remark, assignment: Assignment) -> Remark:
    if earlier.assignment_id != assignment.pk:
        raise RemarkError(_("this client id was used for another remark"))
    return earlier


def _check(assignment: Assignment, side: Side | str, at_s: float, words: str) -> None:
    """Raise unless the rater may say this, there, about this assignment."""
    if assignment.state == AssignmentState.SKIPPED:
        raise AssignmentClosedError(
            _("this pair was skipped: remarks on it are not kept"), assignment_id=assignment.pk
        )
    _check_not_frozen(assignment)
    if side not in Side.values:
        raise RemarkError(_("side %(side)s: expected A or B") % {"side": repr(side)})
    duration_s = side_clip(assignment, Side(side)).duration_s or 0.0
    if not math.isfinite(at_s) or not 0 <= at_s <= duration_s + EDGE_TOLERANCE_S:
        raise RemarkError(
            _("a remark at %(at)s s: expected a moment within 0 to %(end)s s")
            % {"at": at_s, "end": f"{duration_s:.2f}"}
        )
    if not 0 < len(words) <= MAXIMUM_CHARACTERS:
        raise RemarkError(
            _("a remark of %(n)s characters: expected 1 to %(most)s")
            % {"n": len(words), "most": MAXIMUM_CHARACTERS}
        )
    if assignment.remarks.count() >= MAXIMUM_PER_ASSIGNMENT:
        raise RemarkError(
            _("a pair takes at most %(most)s remarks") % {"most": MAXIMUM_PER_ASSIGNMENT}
        )


def _check_not_frozen(assignment: Assignment) -> None:
    if Rating.objects.filter(assignment=assignment, is_frozen=True).exists():
        raise RemarkFrozenError(assignment_id=assignment.pk)
