"""The rotation and the decisions about it."""

from typing import assert_never

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme

from attune.catalog.errors import CatalogError
from attune.catalog.models import Checkpoint, Population, RotationAction
from attune.catalog.rotation_services import (
    hold_checkpoint,
    promote_checkpoint,
    retire_checkpoint,
    roll_back_checkpoint,
)
from attune.catalog.selectors import rotation_events
from console.access import action, page
from console.forms import DecisionForm
from console.pages import chosen_population, csv_answer, show, wants_csv
from console.selectors import places, rotation_duels, shares_bar

SHOWN_EVENTS = 100
CSV_HEADER = (
    *("at", "population", "checkpoint", "action", "share", "actor", "reason"),
    *("parent", "n_wins", "n_losses", "low", "high", "alpha", "design_effect", "n_more"),
)
FIGURES = CSV_HEADER[7:]


@page
def rotation(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """Which checkpoints make one population's new clips, and how that came about."""
    population = chosen_population(request)
    events = rotation_events(population)
    if wants_csv(request):
        rows = (
            (
                *(event.created_at, event.population, event.checkpoint.name, event.action),
                *(event.share, event.actor.get_username() if event.actor else None, event.reason),
                *(event.figures.get(name) for name in FIGURES),
            )
            for event in events
        )
        return csv_answer(f"rotation-{population}", CSV_HEADER, rows)
    rotation_places = places(population)
    return show(
        request,
        "rotation",
        section="rotation",
        may_act=may_act,
        places=rotation_places,
        bar=shares_bar(rotation_places),
        duels=rotation_duels(population),
        events=events[:SHOWN_EVENTS],
    )


@action
def decide(request: HttpRequest) -> HttpResponse:
    """Carries out a decision and goes back to the page it was taken on."""
    form = DecisionForm(request.POST)
    if not form.is_valid():
        problems = [f"{name}: {error}" for name in form.errors for error in form.errors[name]]
        messages.error(request, f"Nothing was changed. {'; '.join(problems)}")
        return redirect(_way_back(request))
    checkpoint: Checkpoint = form.cleaned_data["checkpoint"]
    decision = RotationAction(form.cleaned_data["decision"])
    try:
        _carry_out(
            decision,
            checkpoint=checkpoint,
            population=Population(form.cleaned_data["population"]),
            reason=form.cleaned_data["reason"],
            share=form.cleaned_data["share"],
            actor=request.user,  # type: ignore[arg-type]
        )
    except CatalogError as exc:
        messages.error(request, f"Nothing was changed: {exc}.")
    else:
        messages.success(request, f"{checkpoint.name} was {decision.label}.")
    return redirect(_way_back(request))


def _carry_out(
    decision: RotationAction,
    *,
    checkpoint: Checkpoint,
    population: Population,
    reason: str,
    share: float | None,
    actor: User,
) -> None:
    match decision:
        case RotationAction.PROMOTE:
            promote_checkpoint(
                checkpoint=checkpoint,
                population=population,
                reason=reason,
                actor=actor,
                share=share or 1.0,
            )
        case RotationAction.HOLD:
            hold_checkpoint(
                checkpoint=checkpoint, population=population, reason=reason, actor=actor
            )
        case RotationAction.ROLL_BACK:
            roll_back_checkpoint(
                checkpoint=checkpoint, population=population, reason=reason, actor=actor
            )
        case RotationAction.RETIRE:
            retire_checkpoint(
                checkpoint=checkpoint, population=population, reason=reason, actor=actor
            )
        case RotationAction.ENTER:
            raise ValueError("a checkpoint enters by the gate")
        case _:
            assert_never(decision)


def _way_back(request: HttpRequest) -> str:
    asked = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(asked, allowed_hosts={request.get_host()})
    return asked if asked and is_ours else "/console/rotation/"
