"""What a round would learn from and cost if it started now, and what stands against it."""

from datetime import datetime
from typing import Annotated

from django.http import Http404, HttpRequest
from ninja import Query, Router, Schema
from pydantic import Field

from api.access import ENGINEERS, READERS, allow
from api.clips import get_checkpoint
from api.shapes import Counts, Request
from api.studies import get_study
from attune.catalog.models import Checkpoint
from attune.ratings.models import Study
from attune.rounds.choices import RoundMethod
from attune.rounds.errors import BaseCheckpointError, RoundError
from attune.rounds.estimates import Source
from attune.rounds.evidence import RoundFilter
from attune.rounds.models import RaterGroup
from attune.rounds.plans import Plan
from attune.rounds.preflight import Preflight, examine_plan
from attune.rounds.selectors import find_default_base

router = Router(tags=["rounds"])

Setting = bool | int | float | str | list[str]


class RoundRequest(Request):
    """What to align. Without a base, the checkpoint with the most usable preferences."""

    study: str
    base_checkpoint: str | None = None
    method: str = RoundMethod.DPO.value
    config: dict[str, Setting] = {}
    rater_group: str | None = None
    prompt_tags: list[str] = []
    reward_model: str | None = None
    judge_model: str | None = None
    name: Annotated[str, Field(min_length=1, max_length=120)] | None = None


class HeldOutAnswer(Schema):
    """The held-out preferences that the gate can measure on, beside how many it needs."""

    n: int
    n_needed: int
    is_enough: bool


class LeakageAnswer(Schema):
    """What held-out preferences share with those that are trained on."""

    prompts: int
    raters: int
    clips: int
    held_out_by_known_raters: int
    is_clean: bool


class EstimateAnswer(Schema):
    """Expected cost, and how it is known; null where nothing is."""

    time_s: float | None
    memory_mb: float | None
    disk_mb: float
    time_source: Source
    memory_source: Source
    n_former_rounds: int


class WorkerAnswer(Schema):
    """Whether somebody would take the round's job, and on what machine."""

    is_alive: bool
    is_busy: bool
    seen_at: datetime | None
    device: str
    memory_mb: int | None
    n_cores: int | None


class PreflightAnswer(Schema):
    """What a round on this base would use if it started now, and what stands against it."""

    study: str
    base_checkpoint: str
    method: RoundMethod
    exclusion_rules: str
    n_usable: int
    n_needed: int
    n_missing: int
    can_start: bool
    refusals: list[str]
    warnings: list[str]
    counts: Counts
    held_out: HeldOutAnswer
    leakage: LeakageAnswer
    n_repeated_pairs: int
    estimate: EstimateAnswer
    free_disk_mb: float
    worker: WorkerAnswer


def plan_of(body: RoundRequest) -> Plan:
    """The plan that a request describes; 404 for names that stand for nothing."""
    if body.method not in RoundMethod.values:
        raise RoundError(
            f"unknown method {body.method!r}; known are {', '.join(RoundMethod.values)}"
        )
    study = get_study(body.study)
    return Plan(
        study=study,
        base_checkpoint=_base(study, body.base_checkpoint),
        method=RoundMethod(body.method),
        config=dict(body.config),
        filter=RoundFilter(
            rater_group=get_rater_group(body.rater_group) if body.rater_group else None,
            prompt_tags=tuple(body.prompt_tags),
        ),
        reward_model=get_checkpoint(body.reward_model) if body.reward_model else None,
        judge_model=get_checkpoint(body.judge_model) if body.judge_model else None,
    )


def _base(study: Study, name: str | None) -> Checkpoint:
    base = get_checkpoint(name) if name else find_default_base(study)
    if base is None:
        raise BaseCheckpointError(f"no checkpoint is in rotation for {study.population}")
    return base


def get_rater_group(name: str) -> RaterGroup:
    """The rater group of that name; 404 says which exist."""
    group = RaterGroup.objects.filter(name=name).first()
    if group is None:
        known = ", ".join(RaterGroup.objects.order_by("name").values_list("name", flat=True))
        raise Http404(f"no rater group {name!r}; there are: {known or 'none'}")
    return group


def preflight_answer(found: Preflight) -> PreflightAnswer:
    """The answer of a preflight."""
    estimate, worker, leakage = found.estimate, found.worker, found.leakage
    return PreflightAnswer(
        study=found.study.slug,
        base_checkpoint=found.base_checkpoint.name,
        method=found.method,
        exclusion_rules=found.exclusion_rules,
        n_usable=found.n_usable,
        n_needed=found.n_needed,
        n_missing=found.n_missing,
        can_start=found.can_start,
        refusals=list(found.refusals),
        warnings=list(found.warnings),
        counts=dict(found.counts),
        held_out=HeldOutAnswer(
            n=found.held_out.n,
            n_needed=found.held_out.n_needed,
            is_enough=found.held_out.is_enough,
        ),
        leakage=LeakageAnswer(
            prompts=leakage.n_prompts,
            raters=leakage.n_raters,
            clips=leakage.n_clips,
            held_out_by_known_raters=leakage.n_held_out_by_known_raters,
            is_clean=leakage.is_clean,
        ),
        n_repeated_pairs=found.duplicates.n_repeated_pairs,
        estimate=EstimateAnswer(
            time_s=estimate.time_s,
            memory_mb=estimate.memory_mb,
            disk_mb=estimate.disk_mb,
            time_source=estimate.time_source,
            memory_source=estimate.memory_source,
            n_former_rounds=estimate.n_former,
        ),
        free_disk_mb=found.free_disk_mb,
        worker=WorkerAnswer(
            is_alive=worker.is_alive,
            is_busy=worker.is_busy,
            seen_at=worker.seen_at,
            device=worker.device,
            memory_mb=worker.memory_mb,
            n_cores=worker.n_cores,
        ),
    )


@router.get("studies/{slug}/preflight", response=PreflightAnswer, auth=allow(READERS))
def read_preflight(
    request: HttpRequest,
    slug: str,
    *,
    base_checkpoint: str | None = None,
    method: RoundMethod = RoundMethod.DPO,
    rater_group: str | None = None,
    prompt_tag: Query[list[str]] = [],  # noqa: B006 - Django Ninja reads the default, never writes
) -> PreflightAnswer:
    """The numbers a round would start with; the base with most preferences when none is named."""
    body = RoundRequest(
        study=slug,
        base_checkpoint=base_checkpoint,
        method=method.value,
        rater_group=rater_group,
        prompt_tags=prompt_tag,
    )
    return preflight_answer(examine_plan(plan_of(body)))


@router.post("rounds/preflight", response=PreflightAnswer, auth=allow(ENGINEERS))
def examine(request: HttpRequest, body: RoundRequest) -> PreflightAnswer:
    """The same for a round with all its settings, as `POST rounds` would get it. Starts nothing."""
    return preflight_answer(examine_plan(plan_of(body)))
