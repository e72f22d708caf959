"""Rounds that start by themselves, and the groups of raters that rounds may learn from."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from django.http import Http404, HttpRequest
from ninja import Router, Schema
from pydantic import Field

from api.access import ENGINEERS, READERS, allow, caller
from api.preflights import Setting, get_rater_group
from api.shapes import Json, Request
from api.studies import get_study
from attune.rounds.choices import RoundMethod
from attune.rounds.group_services import set_rater_group
from attune.rounds.models import RaterGroup, RoundSchedule
from attune.rounds.schedule import get_due, set_schedule

router = Router(tags=["rounds"])


class ScheduleRequest(Request):
    """When the next round starts by itself."""

    is_on: bool
    every_n_preferences: Annotated[int, Field(ge=1, le=1_000_000)]
    method: str = RoundMethod.DPO.value
    config: dict[str, Setting] = {}


class ScheduleAnswer(Schema):
    """A study's schedule, and how far it is from its next round."""

    study: str
    is_on: bool
    every_n_preferences: int
    method: RoundMethod
    config: Json
    changed_by: str | None
    changed_at: datetime
    base_checkpoint: str | None
    n_new: int
    running_round: str | None
    last_refusal: str


class GroupRequest(Request):
    """Who belongs to a group, by pseudonym."""

    raters: list[UUID]


class GroupAnswer(Schema):
    """A group of raters."""

    name: str
    raters: list[UUID]


def _schedule_answer(schedule: RoundSchedule) -> ScheduleAnswer:
    due = get_due(schedule)
    return ScheduleAnswer(
        study=schedule.study.slug,
        is_on=schedule.is_on,
        every_n_preferences=schedule.every_n_preferences,
        method=RoundMethod(schedule.method),
        config=schedule.config,
        changed_by=schedule.changed_by.get_username() if schedule.changed_by else None,
        changed_at=schedule.changed_at,
        base_checkpoint=due.base_checkpoint.name if due.base_checkpoint else None,
        n_new=due.n_new,
        running_round=due.running.name if due.running else None,
        last_refusal=schedule.last_refusal,
    )


@router.get("studies/{slug}/schedule", response=ScheduleAnswer, auth=allow(READERS))
def read_schedule(request: HttpRequest, slug: str) -> ScheduleAnswer:
    """When the study's next round starts by itself; 404 where nobody has set that."""
    study = get_study(slug)
    schedule = RoundSchedule.objects.filter(study=study).select_related("study").first()
    if schedule is None:
        raise Http404(f"study {slug!r} has no schedule")
    return _schedule_answer(schedule)


@router.put("studies/{slug}/schedule", response=ScheduleAnswer, auth=allow(ENGINEERS))
def change_schedule(request: HttpRequest, slug: str, body: ScheduleRequest) -> ScheduleAnswer:
    """Sets it, on or off."""
    return _schedule_answer(
        set_schedule(
            study=get_study(slug),
            is_on=body.is_on,
            every_n_preferences=body.every_n_preferences,
            method=body.method,
            config=dict(body.config),
            changed_by=caller(request),
        )
    )


def _group_answer(group: RaterGroup) -> GroupAnswer:
    pseudonyms = group.raters.order_by("pk").values_list("pseudonym", flat=True)
    return GroupAnswer(name=group.name, raters=list(pseudonyms))


@router.get("rater-groups", response=list[GroupAnswer], auth=allow(READERS))
def list_groups(request: HttpRequest) -> list[GroupAnswer]:
    """All groups of raters, by name."""
    return [_group_answer(group) for group in RaterGroup.objects.order_by("name")]


@router.get("rater-groups/{name}", response=GroupAnswer, auth=allow(READERS))
def read_group(request: HttpRequest, name: str) -> GroupAnswer:
    """One group of raters."""
    return _group_answer(get_rater_group(name))


@router.put("rater-groups/{name}", response=GroupAnswer, auth=allow(ENGINEERS))
def change_group(request: HttpRequest, name: str, body: GroupRequest) -> GroupAnswer:
    """Makes a group of these raters, or changes who belongs to it; frozen rounds stay."""
    return _group_answer(set_rater_group(name=name, pseudonyms=body.raters))
