"""The rotation: which checkpoints make new clips, and the decisions about them."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field, FiniteFloat

from api.access import ENGINEERS, READERS, allow, caller
from api.clips import get_checkpoint
from api.shapes import Request
from attune.catalog.models import Population, RotationAction, RotationRole
from attune.catalog.rotation import rotation_shares
from attune.catalog.rotation_services import (
    hold_checkpoint,
    promote_checkpoint,
    retire_checkpoint,
    roll_back_checkpoint,
)
from attune.catalog.selectors import rotation_entries, rotation_events

router = Router(tags=["rotation"])

SHOWN_EVENTS = 50


class DecisionRequest(Request):
    """Whose rotation, and why: the reason is kept with the decision."""

    population: Population = Population.PEOPLE
    reason: Annotated[str, Field(min_length=1, max_length=2000)]


class PromotionRequest(DecisionRequest):
    """A promotion; `share` is the weight among promoted checkpoints."""

    share: Annotated[FiniteFloat, Field(gt=0, le=1)] = 1.0


class EntryAnswer(Schema):
    """A checkpoint in rotation, and its part of new clips."""

    checkpoint: str
    role: RotationRole
    share: float
    new_clip_share: float
    entered_at: datetime


class EventAnswer(Schema):
    """One decision. `actor` is null when the site decided, from `figures`."""

    checkpoint: str
    action: RotationAction
    reason: str
    actor: str | None
    share: float | None
    figures: dict[str, Any]
    created_at: datetime


class RotationAnswer(Schema):
    """One population's rotation and its latest decisions, newest first."""

    population: Population
    entries: list[EntryAnswer]
    events: list[EventAnswer]


def rotation_answer(population: Population) -> RotationAnswer:
    """The population's rotation as it stands."""
    entries = list(rotation_entries(population))
    shares = rotation_shares(entries)
    return RotationAnswer(
        population=population,
        entries=[
            EntryAnswer(
                checkpoint=entry.checkpoint.name,
                role=RotationRole(entry.role),
                share=entry.share,
                new_clip_share=shares[entry.checkpoint_id],
                entered_at=entry.entered_at,
            )
            for entry in entries
        ],
        events=[
            EventAnswer(
                checkpoint=event.checkpoint.name,
                action=RotationAction(event.action),
                reason=event.reason,
                actor=event.actor.get_username() if event.actor else None,
                share=event.share,
                figures=event.figures,
                created_at=event.created_at,
            )
            for event in rotation_events(population)[:SHOWN_EVENTS]
        ],
    )


@router.get("rotation", response=RotationAnswer, auth=allow(READERS))
def read_rotation(
    request: HttpRequest, population: Population = Population.PEOPLE
) -> RotationAnswer:
    """The checkpoints that make one population's new clips."""
    return rotation_answer(population)


@router.post("rotation/{checkpoint}/promote", response=RotationAnswer, auth=allow(ENGINEERS))
def promote(request: HttpRequest, checkpoint: str, body: PromotionRequest) -> RotationAnswer:
    """Gives a canary a full place."""
    promote_checkpoint(
        checkpoint=get_checkpoint(checkpoint),
        population=body.population,
        share=body.share,
        reason=body.reason,
        actor=caller(request),
    )
    return rotation_answer(body.population)


@router.post("rotation/{checkpoint}/hold", response=RotationAnswer, auth=allow(ENGINEERS))
def hold(request: HttpRequest, checkpoint: str, body: DecisionRequest) -> RotationAnswer:
    """Leaves a canary where it is and notes why."""
    hold_checkpoint(
        checkpoint=get_checkpoint(checkpoint),
        population=body.population,
        reason=body.reason,
        actor=caller(request),
    )
    return rotation_answer(body.population)


@router.post("rotation/{checkpoint}/roll-back", response=RotationAnswer, auth=allow(ENGINEERS))
def roll_back(request: HttpRequest, checkpoint: str, body: DecisionRequest) -> RotationAnswer:
    """Takes a checkpoint out of rotation; it may enter again."""
    roll_back_checkpoint(
        checkpoint=get_checkpoint(checkpoint),
        population=body.population,
        reason=body.reason,
        actor=caller(request),
    )
    return rotation_answer(body.population)


@router.post("rotation/{checkpoint}/retire", response=RotationAnswer, auth=allow(ENGINEERS))
def retire(request: HttpRequest, checkpoint: str, body: DecisionRequest) -> RotationAnswer:
    """Takes a checkpoint out for ever."""
    retire_checkpoint(
        checkpoint=get_checkpoint(checkpoint),
        population=body.population,
        reason=body.reason,
        actor=caller(request),
    )
    return rotation_answer(body.population)
