"""Rounds: the list, one that is watched while it trains, cancelling, resuming."""

from collections.abc import Sequence

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from attune.catalog.models import Checkpoint
from attune.rounds.errors import RoundError
from attune.rounds.gate import CHECKS
from attune.rounds.models import RUNNING_STATES, Round, RoundMethod, RoundMetric, RoundSample
from attune.rounds.resuming import RESUMABLE_STATES, get_resumption, is_ending
from attune.rounds.run_files import log_tail
from attune.rounds.selectors import (
    RoundDetail,
    get_round_detail,
    latest_metrics,
    rounds,
)
from attune.rounds.services import cancel_round, resume_round
from console.access import action, page
from console.gate_pictures import gauge, shift_rows
from console.mix_form import WEIGHT
from console.pages import chosen_population, csv_answer, show, wants_csv
from console.round_charts import metric_table, round_charts

SHOWN_ROUNDS = 100
SHOWN_STEPS = 8
LIST_HEADER = (
    *("id", "name", "study", "population", "method", "base_checkpoint", "produced_checkpoint"),
    *("state", "n_usable", "n_train", "dataset_sha256", "created_at", "finished_at", "outcome"),
)
CHARTED = ("loss", "margin", "accuracy", "held_out_accuracy")


@page
def round_list(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """The rounds of one population, newest first."""
    found = rounds(population=chosen_population(request))
    if wants_csv(request):
        return csv_answer("rounds", LIST_HEADER, map(_csv_row, found))
    shown = list(found[:SHOWN_ROUNDS])
    metrics = latest_metrics(shown)
    return show(
        request,
        "round_list",
        section="rounds",
        may_act=may_act,
        rows=[(stored, metrics.get(stored.pk)) for stored in shown],
        n_running=sum(stored.state in RUNNING_STATES for stored in shown),
        n_produced=sum(stored.produced_checkpoint_id is not None for stored in shown),
    )


@page
def round_detail(request: HttpRequest, number: int, *, may_act: bool) -> HttpResponse:
    """One round: state, curves, gate and log; the live part alone when it is polled."""
    stored = get_object_or_404(rounds(), pk=number)
    detail = get_round_detail(stored)
    if wants_csv(request):
        return _metrics_csv(detail)
    is_running = stored.state in RUNNING_STATES
    again = again_address(stored)
    is_polled = request.headers.get("HX-Request") == "true"
    answer = show(
        request,
        "round_live" if is_polled else "round_detail",
        section="rounds",
        may_act=may_act,
        round=stored,
        detail=detail,
        is_running=is_running,
        has_ended_early=stored.state in RESUMABLE_STATES,
        resumption=get_resumption(stored),
        is_ending=is_ending(stored),
        progress=_progress(detail.latest_metric),
        charts=round_charts(detail),
        table=metric_table(detail.metrics),
        heard=heard_prompts(detail.samples),
        checks=[(check, gauge(check)) for check in detail.evaluations],
        shifts=shift_rows(detail.evaluations),
        again=again,
        log=log_tail(stored),
        n_checks=len(CHECKS),
    )
    if is_polled and not is_running:
        answer["HX-Refresh"] = "true"
    return answer


def _progress(metric: RoundMetric | None) -> dict[str, object]:
    if metric is None or not metric.n_steps:
        return {}
    return {
        "step": metric.step,
        "n_steps": metric.n_steps,
        "share": min(1.0, metric.step / metric.n_steps),
        "eta_s": metric.values.get("eta_s"),
        "memory_mb": metric.values.get("memory_mb"),
    }


def heard_prompts(
    samples: Sequence[RoundSample],
) -> list[tuple[str, int | None, list[RoundSample]]]:
    """(prompt, seed, its clips by step) of the clips that a round made on the way."""
    found: dict[tuple[str, int | None], list[RoundSample]] = {}
    for sample in samples:
        found.setdefault((sample.prompt, sample.seed), []).append(sample)
    return [(prompt, seed, _ends(clips)) for (prompt, seed), clips in found.items()]


def _ends(clips: list[RoundSample]) -> list[RoundSample]:
    """The first clip, with which the others are compared, and the latest ones."""
    return clips if len(clips) <= SHOWN_STEPS else [clips[0], *clips[1 - SHOWN_STEPS :]]


def _mix_fields(stored: Round) -> dict[str, str]:
    parts = stored.config.get("parts", [])
    weights = {part["checkpoint"]: str(part["weight"]) for part in parts}
    adapters = Checkpoint.objects.filter(name__in=weights).values_list("pk", "name")
    return {
        "study": stored.study.slug,
        "base": stored.base_checkpoint.name,
        **{f"{WEIGHT}{pk}": weights[name] for pk, name in adapters},
    }


def again_address(stored: Round) -> str:
    """The form of a new round with everything that this one was started with."""
    if stored.method == RoundMethod.MIX:
        return f"{reverse('console:new-mix')}?{urlencode(_mix_fields(stored))}"
    fields: dict[str, object] = {
        "study": stored.study.slug,
        "base": stored.base_checkpoint.name,
        "method": stored.method,
        "rater_group": stored.filters.get("rater_group"),
        "prompt_tags": stored.filters.get("prompt_tags"),
        "reward_model": stored.reward_model.name if stored.reward_model else None,
        "judge_model": stored.judge_model.name if stored.judge_model else None,
    }
    given = {**fields, **stored.config}
    shown = {name: _as_typed(value) for name, value in given.items() if value is not None}
    return f"{reverse('console:new-round')}?{urlencode(shown)}"


def _as_typed(value: object) -> str:
    """A value as one would type it into the form."""
    match value:
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value)


def _metrics_csv(detail: RoundDetail) -> HttpResponse:
    names = sorted({name for metric in detail.metrics for name in metric.values})
    names.sort(key=lambda name: CHARTED.index(name) if name in CHARTED else len(CHARTED))
    return csv_answer(
        f"{detail.round.name}-metrics",
        ("step", "n_steps", *names),
        (
            (metric.step, metric.n_steps, *(metric.values.get(name) for name in names))
            for metric in detail.metrics
        ),
    )


@action
def cancel(request: HttpRequest, number: int) -> HttpResponse:
    """Cancels a running round."""
    stored = get_object_or_404(Round, pk=number)
    try:
        cancel_round(round=stored, actor=request.user, now=timezone.now())  # type: ignore[arg-type]
    except RoundError as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, f"Round {stored.name} is cancelled; what it saved is kept.")
    return redirect("console:round", stored.pk)


@action
def resume(request: HttpRequest, number: int) -> HttpResponse:
    """Lets a round that was cancelled or failed go on."""
    stored = get_object_or_404(Round, pk=number)
    try:
        resume_round(round=stored, actor=request.user, now=timezone.now())  # type: ignore[arg-type]
    except RoundError as exc:
        messages.error(request, f"{str(exc).capitalize()}.")
    else:
        messages.success(request, stored.events.latest("pk").sentence)
    return redirect("console:round", stored.pk)


def _csv_row(stored: Round) -> tuple[object, ...]:
    produced = stored.produced_checkpoint
    return (
        *(stored.pk, stored.name, stored.study.slug, stored.population, stored.method),
        *(stored.base_checkpoint.name, produced.name if produced else None, stored.state),
        *(stored.counts.get("usable"), stored.counts.get("train"), stored.dataset_sha256),
        *(stored.created_at, stored.finished_at, stored.outcome),
    )
