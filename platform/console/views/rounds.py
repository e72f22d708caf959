"""Rounds: the list, one that is watched while it trains, cancelling."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from attune.rounds.errors import RoundError
from attune.rounds.gate import CHECKS
from attune.rounds.models import RUNNING_STATES, Round, RoundMetric
from attune.rounds.run_files import log_tail
from attune.rounds.selectors import (
    RoundDetail,
    get_round_detail,
    latest_metrics,
    rounds,
)
from attune.rounds.services import cancel_round
from console.access import action, page
from console.charts import LineChart, Series, line_chart
from console.pages import chosen_population, csv_answer, show, wants_csv

SHOWN_ROUNDS = 100
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
    is_polled = request.headers.get("HX-Request") == "true"
    answer = show(
        request,
        "round_live" if is_polled else "round_detail",
        section="rounds",
        may_act=may_act,
        round=stored,
        detail=detail,
        is_running=is_running,
        progress=_progress(detail.latest_metric),
        charts=round_charts(detail),
        log=log_tail(stored),
        n_checks=len(CHECKS),
    )
    if is_polled and not is_running:
        answer["HX-Refresh"] = "true"
    return answer


def round_charts(detail: RoundDetail) -> list[LineChart]:
    """Loss, reward margin and accuracy over the steps, those that were logged."""
    latest = detail.latest_metric
    n_steps = latest.n_steps if latest else 0
    charts = (
        line_chart("Loss", [Series("loss", "ink", detail.series("loss"))], n_steps=n_steps),
        line_chart(
            "Reward margin",
            [Series("margin", "a", detail.series("margin"))],
            n_steps=n_steps,
            guide=0.0,
        ),
        line_chart(
            "Accuracy",
            [
                Series("training", "a", detail.series("accuracy")),
                Series("held out", "b", detail.series("held_out_accuracy")),
            ],
            n_steps=n_steps,
            guide=0.5,
            is_share=True,
        ),
    )
    return [chart for chart in charts if chart is not None]


def _progress(metric: RoundMetric | None) -> dict[str, object]:
    if metric is None or not metric.n_steps:
        return {}
    return {
        "step": metric.step,
        "n_steps": metric.n_steps,
        "share": min(1.0, metric.step / metric.n_steps),
        "eta_s": metric.values.get("eta_s"),
    }


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


def _csv_row(stored: Round) -> tuple[object, ...]:
    produced = stored.produced_checkpoint
    return (
        *(stored.pk, stored.name, stored.study.slug, stored.population, stored.method),
        *(stored.base_checkpoint.name, produced.name if produced else None, stored.state),
        *(stored.counts.get("usable"), stored.counts.get("train"), stored.dataset_sha256),
        *(stored.created_at, stored.finished_at, stored.outcome),
    )
