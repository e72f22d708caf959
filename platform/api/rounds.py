"""Rounds: start one, watch it, cancel it."""

import re
from datetime import datetime
from typing import Annotated

from django.http import Http404, HttpRequest
from ninja import Router, Schema, Status
from pydantic import Field

from api.access import ENGINEERS, READERS, allow, caller
from api.clips import get_checkpoint
from api.shapes import Counts, Json, Limit, Offset, Request
from api.studies import get_study
from attune.catalog.models import Population
from attune.rounds.errors import BaseCheckpointError
from attune.rounds.models import Evaluation, Round, RoundMethod, RoundMetric, RoundState, Verdict
from attune.rounds.selectors import find_default_base, get_round_detail, latest_metrics
from attune.rounds.selectors import rounds as all_rounds
from attune.rounds.services import cancel_round, create_round

router = Router(tags=["rounds"])

# Short enough for the database's column.
ROUND_ID = re.compile(r"\d{1,18}", re.ASCII)


class RoundRequest(Request):
    """What to align. Without a base, the checkpoint with the most usable preferences."""

    study: str
    base_checkpoint: str | None = None
    method: str = RoundMethod.DPO.value
    config: dict[str, float | int] = {}
    name: Annotated[str, Field(min_length=1, max_length=120)] | None = None


class Progress(Schema):
    """How far the training is; the time left is an estimate of the trainer."""

    step: int
    n_steps: int
    eta_s: float | None


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
    dataset_sha256: str
    counts: Counts
    summary: Json
    outcome: str
    error: str
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
    """One check of the gate."""

    check: str
    figure: float | None
    threshold: float | None
    verdict: Verdict
    sentence: str


class RoundDetailAnswer(RoundAnswer):
    """A round with its curves and its gate."""

    metrics: list[MetricAnswer]
    evaluations: list[EvaluationAnswer]


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
    return Progress(step=metric.step, n_steps=metric.n_steps, eta_s=metric.values.get("eta_s"))


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
        "dataset_sha256": stored.dataset_sha256,
        "counts": stored.counts,
        "summary": stored.summary,
        "outcome": stored.outcome,
        "error": stored.error,
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
        evaluations=[_evaluation_answer(evaluation) for evaluation in detail.evaluations],
    )


def _evaluation_answer(evaluation: Evaluation) -> EvaluationAnswer:
    return EvaluationAnswer(
        check=evaluation.check_name,
        figure=evaluation.figure,
        threshold=evaluation.threshold,
        verdict=Verdict(evaluation.verdict),
        sentence=evaluation.sentence,
    )


@router.post("rounds", response={201: RoundDetailAnswer}, auth=allow(ENGINEERS))
def create(request: HttpRequest, body: RoundRequest) -> Status[RoundDetailAnswer]:
    """Freezes the study's eligible ratings and queues the training.

    409 says what stands against it; with too few preferences it names how many are missing.
    """
    study = get_study(body.study)
    base = (
        get_checkpoint(body.base_checkpoint) if body.base_checkpoint else find_default_base(study)
    )
    if base is None:
        raise BaseCheckpointError(f"no checkpoint is in rotation for {study.population}")
    stored = create_round(
        study=study,
        base_checkpoint=base,
        method=body.method,
        config=body.config,
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
