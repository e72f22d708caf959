"""Rounds: start one, watch it, cancel it, let it go on."""

import re
from datetime import datetime
from typing import Annotated

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from ninja import Router, Schema, Status
from pydantic import Field, FiniteFloat

from api.access import ENGINEERS, READERS, allow, caller
from api.clips import get_checkpoint
from api.preflights import RoundRequest, plan_of
from api.ranges import file_answer
from api.shapes import Counts, Json, Limit, Offset, Request
from api.studies import get_study
from attune.catalog.models import Population
from attune.rounds.exports import ExportFormat, export_dataset, export_file_name
from attune.rounds.models import (
    Evaluation,
    Round,
    RoundEvent,
    RoundEventKind,
    RoundMethod,
    RoundMetric,
    RoundSample,
    RoundState,
    Verdict,
)
from attune.rounds.resuming import ResumeStage, get_resumption
from attune.rounds.run_files import log_tail, sample_file
from attune.rounds.selectors import get_round_detail, latest_metrics
from attune.rounds.selectors import rounds as all_rounds
from attune.rounds.services import cancel_round, create_mix, create_round, resume_round

router = Router(tags=["rounds"])

# Short enough for the database's column.
ROUND_ID = re.compile(r"\d{1,18}", re.ASCII)


class MixPart(Request):
    """An adapter and its weight in a mix."""

    checkpoint: str
    weight: FiniteFloat


class MixRequest(Request):
    """Adapters of one base to interpolate; the study's gate judges the mix."""

    study: str
    parts: list[MixPart]
    name: Annotated[str, Field(min_length=1, max_length=120)] | None = None


class Progress(Schema):
    """How far the training is; the time left is an estimate of the trainer."""

    step: int
    n_steps: int
    eta_s: float | None
    memory_mb: float | None


class RoundAnswer(Schema):
    """A round without its curves."""

    id: int
    name: str
    study: str
    population: Population
    method: RoundMethod
    base_checkpoint: str
    produced_checkpoint: str | None
    state: RoundState
    config: Json
    reward_model: str | None
    judge_model: str | None
    dataset_sha256: str
    dataset_format: int
    exclusion_rules: str
    filters: Json
    counts: Counts
    summary: Json
    outcome: str
    error: str
    device: str
    started_because: str
    created_by: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: Progress | None


class MetricAnswer(Schema):
    """What the trainer logged at one step."""

    step: int
    n_steps: int
    logged_at: datetime
    values: Json


class EvaluationAnswer(Schema):
    """One check of the gate; `details` hold what it stands on, intervals and shifts included."""

    check: str
    figure: float | None
    threshold: float | None
    verdict: Verdict
    sentence: str
    details: Json


class SampleAnswer(Schema):
    """A clip that the policy made while it was trained, with the address of its sound."""

    id: int
    step: int
    number: int
    prompt: str
    seed: int | None
    duration_s: float
    audio: str


class ResumptionAnswer(Schema):
    """Whether a round that ended before its time can go on, and from where."""

    is_possible: bool
    refusal: str
    stage: ResumeStage | None
    step: int | None
    sentence: str


class EventAnswer(Schema):
    """An end of a round before its time, or a new start; without an actor the site did it."""

    kind: RoundEventKind
    sentence: str
    actor: str | None
    happened_at: datetime


class RoundDetailAnswer(RoundAnswer):
    """A round with its curves, its samples, its gate and the end of its log."""

    metrics: list[MetricAnswer]
    samples: list[SampleAnswer]
    evaluations: list[EvaluationAnswer]
    peak_memory_mb: float | None
    attempts: int
    attempt_error: str
    log_tail: str
    resumption: ResumptionAnswer
    events: list[EventAnswer]


def get_round(id_or_name: str) -> Round:
    """The round of that id or name; 404 otherwise."""
    found = all_rounds()
    is_id = ROUND_ID.fullmatch(id_or_name) is not None
    by_id = found.filter(pk=int(id_or_name)) if is_id else found.none()
    stored = by_id.first() or found.filter(name=id_or_name).first()
    if stored is None:
        raise Http404(f"no round {id_or_name!r}")
    return stored


def progress_of(metric: RoundMetric | None) -> Progress | None:
    """The progress that the latest metric tells."""
    if metric is None:
        return None
    return Progress(
        step=metric.step,
        n_steps=metric.n_steps,
        eta_s=metric.values.get("eta_s"),
        memory_mb=metric.values.get("memory_mb"),
    )


def _fields(stored: Round, latest: RoundMetric | None) -> Json:
    return {
        "id": stored.pk,
        "name": stored.name,
        "study": stored.study.slug,
        "population": stored.population,
        "method": stored.method,
        "base_checkpoint": stored.base_checkpoint.name,
        "produced_checkpoint": (
            stored.produced_checkpoint.name if stored.produced_checkpoint else None
        ),
        "state": stored.state,
        "config": stored.config,
        "reward_model": stored.reward_model.name if stored.reward_model else None,
        "judge_model": stored.judge_model.name if stored.judge_model else None,
        "dataset_sha256": stored.dataset_sha256,
        "dataset_format": stored.dataset_format,
        "exclusion_rules": stored.exclusion_rules,
        "filters": stored.filters,
        "counts": stored.counts,
        "summary": stored.summary,
        "outcome": stored.outcome,
        "error": stored.error,
        "device": stored.device,
        "started_because": stored.started_because,
        "created_by": stored.created_by.get_username() if stored.created_by else None,
        "created_at": stored.created_at,
        "started_at": stored.started_at,
        "finished_at": stored.finished_at,
        "progress": progress_of(latest),
    }


def _detail_answer(stored: Round) -> RoundDetailAnswer:
    detail = get_round_detail(stored)
    return RoundDetailAnswer(
        **_fields(stored, detail.latest_metric),
        metrics=[
            MetricAnswer(
                step=metric.step,
                n_steps=metric.n_steps,
                logged_at=metric.logged_at,
                values=metric.values,
            )
            for metric in detail.metrics
        ],
        samples=[_sample_answer(stored, sample) for sample in detail.samples],
        evaluations=[_evaluation_answer(evaluation) for evaluation in detail.evaluations],
        peak_memory_mb=detail.peak_memory_mb,
        attempts=stored.job.attempts if stored.job else 0,
        attempt_error=stored.job.error if stored.job else "",
        log_tail=log_tail(stored),
        resumption=_resumption_answer(stored),
        events=[_event_answer(event) for event in detail.events],
    )


def _resumption_answer(stored: Round) -> ResumptionAnswer:
    found = get_resumption(stored)
    point = found.point
    return ResumptionAnswer(
        is_possible=found.is_possible,
        refusal=found.refusal,
        stage=point.stage if point else None,
        step=point.step if point else None,
        sentence=point.sentence if point else "",
    )


def _event_answer(event: RoundEvent) -> EventAnswer:
    return EventAnswer(
        kind=RoundEventKind(event.kind),
        sentence=event.sentence,
        actor=event.actor.get_username() if event.actor else None,
        happened_at=event.happened_at,
    )


def _sample_answer(stored: Round, sample: RoundSample) -> SampleAnswer:
    return SampleAnswer(
        id=sample.pk,
        step=sample.step,
        number=sample.number,
        prompt=sample.prompt,
        seed=sample.seed,
        duration_s=sample.duration_s,
        audio=f"/api/v1/rounds/{stored.pk}/samples/{sample.pk}/audio",
    )


def _evaluation_answer(evaluation: Evaluation) -> EvaluationAnswer:
    return EvaluationAnswer(
        check=evaluation.check_name,
        figure=evaluation.figure,
        threshold=evaluation.threshold,
        verdict=Verdict(evaluation.verdict),
        sentence=evaluation.sentence,
        details=evaluation.details,
    )


@router.post("rounds", response={201: RoundDetailAnswer}, auth=allow(ENGINEERS))
def create(request: HttpRequest, body: RoundRequest) -> Status[RoundDetailAnswer]:
    """Freezes the study's eligible ratings and queues the training.

    409 says what stands against it; with too few preferences it names how many are missing.
    """
    plan = plan_of(body)
    stored = create_round(
        study=plan.study,
        base_checkpoint=plan.base_checkpoint,
        method=body.method,
        config=plan.config,
        name=body.name,
        filter=plan.filter,
        reward_model=plan.reward_model,
        judge_model=plan.judge_model,
        created_by=caller(request),
    )
    return Status(201, _detail_answer(stored))


@router.post("rounds/mix", response={201: RoundDetailAnswer}, auth=allow(ENGINEERS))
def create_mixed(request: HttpRequest, body: MixRequest) -> Status[RoundDetailAnswer]:
    """Queues a new checkpoint made of adapters of one base, which then passes the gate."""
    stored = create_mix(
        study=get_study(body.study),
        parts=[(get_checkpoint(part.checkpoint), part.weight) for part in body.parts],
        name=body.name,
        created_by=caller(request),
    )
    return Status(201, _detail_answer(stored))


@router.get("rounds", response=list[RoundAnswer], auth=allow(READERS))
def list_rounds(
    request: HttpRequest,
    *,
    study: str | None = None,
    population: Population | None = None,
    state: RoundState | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[RoundAnswer]:
    """Rounds, newest first."""
    found = all_rounds(study=get_study(study) if study else None, population=population)
    if state is not None:
        found = found.filter(state=state)
    page = list(found[offset : offset + limit])
    latest = latest_metrics(page)
    return [RoundAnswer(**_fields(stored, latest.get(stored.pk))) for stored in page]


@router.get("rounds/{id_or_name}", response=RoundDetailAnswer, auth=allow(READERS))
def read_round(request: HttpRequest, id_or_name: str) -> RoundDetailAnswer:
    """One round, by id or name, with what was logged so far."""
    return _detail_answer(get_round(id_or_name))


@router.post("rounds/{id_or_name}/cancel", response=RoundDetailAnswer, auth=allow(ENGINEERS))
def cancel(request: HttpRequest, id_or_name: str) -> RoundDetailAnswer:
    """Stops a round that has not ended; what it saved is kept."""
    return _detail_answer(cancel_round(round=get_round(id_or_name), actor=caller(request)))


@router.post("rounds/{id_or_name}/resume", response=RoundDetailAnswer, auth=allow(ENGINEERS))
def resume(request: HttpRequest, id_or_name: str) -> RoundDetailAnswer:
    """Lets a round that was cancelled or failed go on from its last save.

    409 says why it cannot: it has not ended, nothing was saved, or another round runs.
    """
    return _detail_answer(resume_round(round=get_round(id_or_name), actor=caller(request)))


@router.get("rounds/{id_or_name}/dataset", auth=allow(READERS), response={200: None})
def read_dataset(
    request: HttpRequest, id_or_name: str, *, format: ExportFormat = ExportFormat.JSONL
) -> HttpResponse:
    """The frozen preferences as a file, the same bytes each time; 409 if they were changed."""
    stored = get_round(id_or_name)
    content = export_dataset(stored, format)
    name = export_file_name(stored, format)
    return HttpResponse(
        content,
        content_type=format.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "ETag": f'"{stored.dataset_sha256}-{format.value}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.api_operation(
    ["GET", "HEAD"],
    "rounds/{id_or_name}/samples/{sample_id}/audio",
    auth=allow(READERS),
    response={200: None},
)
def read_sample_audio(request: HttpRequest, id_or_name: str, sample_id: int) -> HttpResponseBase:
    """The sound of a clip that was made while the round trained, with ranges."""
    sample = RoundSample.objects.filter(round=get_round(id_or_name), pk=sample_id).first()
    file = sample_file(sample) if sample is not None else None
    if file is None:
        raise Http404(f"round {id_or_name} has no such sample")
    stat = file.stat()
    etag = f'"{sample_id}-{stat.st_size}-{stat.st_mtime_ns}"'
    return file_answer(request, file, content_type="audio/wav", etag=etag)
