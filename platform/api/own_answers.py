"""What raters see and add of their own answers: a list, single aspects, remarks."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema, Status
from pydantic import Field, FiniteFloat

from api.access import RATERS, allow, get_rater
from api.ratings import AssignmentAnswer, RemarkAnswer, assignment_answer
from api.shapes import Request
from attune.ratings.choices import Aspect, Choice, Side
from attune.ratings.own_answers import OwnAnswer, changeable_answers, get_own_assignment
from attune.ratings.remark_services import MAXIMUM_CHARACTERS
from attune.ratings.selectors import get_assignment_view
from attune.ratings.services import add_remark, rate_aspect, remove_remark

router = Router(tags=["ratings"], auth=allow(RATERS))


class OwnAnswerShape(Schema):
    """An answer that can still be changed; `aspects` tells each asked one's answer, or null."""

    id: int
    assignment: UUID
    prompt: str
    choice: Choice
    strength: int | None
    aspects: dict[Aspect, Choice | None]
    answered_at: datetime


class AspectRequest(Request):
    """What is answered about one aspect."""

    choice: Choice


class AspectAnswer(Schema):
    """A stored answer about one aspect; `created` is false where it replaced another."""

    aspect: Aspect
    choice: Choice
    created: bool


class RemarkRequest(Request):
    """Words about one moment of one side. Sent twice with one `client_id`, stored once."""

    client_id: UUID
    assignment: UUID
    side: Side
    at_s: Annotated[FiniteFloat, Field(ge=0)]
    text: Annotated[str, Field(min_length=1, max_length=MAXIMUM_CHARACTERS)]


@router.get("answers", response=list[OwnAnswerShape])
def list_own_answers(request: HttpRequest) -> list[OwnAnswerShape]:
    """The answers of this sitting that their rater may still change, newest first."""
    return [_shape(own) for own in changeable_answers(get_rater(request), now=timezone.now())]


@router.get("assignments/{uuid:assignment_id}", response=AssignmentAnswer)
def read_assignment(request: HttpRequest, assignment_id: UUID) -> AssignmentAnswer:
    """One of the rater's own pairs as it was handed out, to hear it again."""
    assignment = get_own_assignment(get_rater(request), assignment_id)
    return assignment_answer(get_assignment_view(assignment, now=timezone.now()))


@router.put(
    "ratings/{int:rating_id}/aspects/{aspect}", response={200: AspectAnswer, 201: AspectAnswer}
)
def put_aspect(
    request: HttpRequest, rating_id: int, aspect: Aspect, body: AspectRequest
) -> Status[AspectAnswer]:
    """Stores what the rater answers about an aspect, until a round has frozen the rating."""
    stored, created = rate_aspect(
        rater=get_rater(request),
        rating_id=rating_id,
        aspect=aspect,
        choice=body.choice,
        now=timezone.now(),
    )
    answer = AspectAnswer(
        aspect=Aspect(stored.aspect), choice=Choice(stored.choice), created=created
    )
    return Status(201 if created else 200, answer)


@router.post("remarks", response={200: RemarkAnswer, 201: RemarkAnswer})
def create_remark(request: HttpRequest, body: RemarkRequest) -> Status[RemarkAnswer]:
    """Pins words to a moment of a clip: 201 the first time, 200 for the same client id again."""
    remark, created = add_remark(
        rater=get_rater(request),
        assignment_id=body.assignment,
        client_id=body.client_id,
        side=body.side,
        at_s=body.at_s,
        text=body.text,
    )
    answer = RemarkAnswer(
        client_id=remark.client_id, side=Side(remark.side), at_s=remark.at_s, text=remark.text
    )
    return Status(201 if created else 200, answer)


@router.delete("remarks/{uuid:client_id}", response={204: None})
def delete_remark(request: HttpRequest, client_id: UUID) -> Status[None]:
    """Takes a remark away, until a round has frozen the rating that it belongs to."""
    remove_remark(rater=get_rater(request), client_id=client_id)
    return Status(204, None)


def _shape(own: OwnAnswer) -> OwnAnswerShape:
    return OwnAnswerShape(
        id=own.id,
        assignment=own.assignment_id,
        prompt=own.prompt,
        choice=own.choice,
        strength=own.strength,
        aspects={aspect: own.aspects.get(aspect) for aspect in own.asked},
        answered_at=own.answered_at,
    )
