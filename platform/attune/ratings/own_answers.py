"""Reads of what a rater answered in the sitting that goes on, and may still change."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from attune.raters.models import Rater
from attune.ratings.choices import Aspect, Choice
from attune.ratings.errors import AssignmentNotFoundError
from attune.ratings.models import Assignment, Rating
from attune.ratings.sessions import count_session

MOST_LISTED = 20


@dataclass(frozen=True)
class OwnAnswer:
    """One answer as its rater may know it. `aspects` holds those answered, in the study's order."""

    id: int
    assignment_id: UUID
    prompt: str
    choice: Choice
    strength: int | None
    asked: tuple[Aspect, ...]
    aspects: Mapping[Aspect, Choice]
    answered_at: datetime


def changeable_answers(rater: Rater, *, now: datetime) -> list[OwnAnswer]:
    """The sitting's answers that no round has frozen, newest first, at most 20.

    Of a study without a history only the newest answer can be changed.
    """
    newest = list(
        Rating.objects.filter(rater=rater)
        .select_related("pair__study", "pair__prompt")
        .prefetch_related("aspects")
        .order_by("-created_at", "-pk")[:MOST_LISTED]
    )
    n_in_sitting = count_session((rating.created_at for rating in newest), now)
    seen: set[int] = set()
    answers = []
    for rating in newest[:n_in_sitting]:
        study = rating.pair.study
        is_newest = study.pk not in seen
        seen.add(study.pk)
        if not rating.is_frozen and (is_newest or study.shows_history):
            answers.append(_own_answer(rating))
    return answers


def get_own_assignment(rater: Rater, assignment_id: UUID) -> Assignment:
    """The rater's assignment with all that a page shows of it. AssignmentNotFoundError if none."""
    assignment = (
        Assignment.objects.select_related(
            "rater", "pair__study", "pair__prompt", "pair__first_clip", "pair__second_clip"
        )
        .filter(pk=assignment_id, rater=rater)
        .first()
    )
    if assignment is None:
        raise AssignmentNotFoundError(assignment_id=assignment_id)
    return assignment


def _own_answer(rating: Rating) -> OwnAnswer:
    given = {row.aspect: Choice(row.choice) for row in rating.aspects.all()}
    asked = tuple(Aspect(name) for name in rating.pair.study.aspects)
    return OwnAnswer(
        id=rating.pk,
        assignment_id=rating.assignment_id,
        prompt=rating.pair.prompt.text,
        choice=Choice(rating.choice),
        strength=rating.strength,
        asked=asked,
        aspects={aspect: given[aspect] for aspect in asked if aspect in given},
        answered_at=rating.created_at,
    )
