"""Mixes of adapters: weights for adapters of one base make a new checkpoint."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect

from attune.rounds.choices import RoundMethod
from attune.rounds.errors import RoundError
from attune.rounds.plans import Plan
from attune.rounds.preflight import Preflight, examine_plan
from attune.rounds.services import create_mix
from console.access import action, page
from console.mix_form import MixForm
from console.pages import show


@page
def new_mix(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """The adapters that can be mixed beside the preflight of those with a weight."""
    return _show_form(request, request.GET, may_act=may_act)


def _show_form(
    request: HttpRequest, given: QueryDict, *, may_act: bool, refusal: str = ""
) -> HttpResponse:
    form = MixForm(given.dict())
    found, problem = _examine(form)
    is_polled = request.headers.get("HX-Request") == "true"
    return show(
        request,
        "mix_plan" if is_polled else "mix_form",
        section="rounds",
        may_act=may_act,
        form=form,
        preflight=found,
        problem=problem,
        refusal=refusal,
        can_start=found is not None and found.can_start and form.is_valid(),
    )


def _examine(form: MixForm) -> tuple[Preflight | None, str]:
    """The preflight once something is mixed, or why there is none."""
    study, base, parts = form.chosen_study, form.chosen_base, form.parts()
    if study is None or base is None or not parts:
        return None, ""
    plan = Plan(study=study, base_checkpoint=base, method=RoundMethod.MIX, parts=parts)
    try:
        return examine_plan(plan), ""
    except RoundError as exc:
        return None, str(exc)


@action
def start_mix(request: HttpRequest) -> HttpResponse:
    """Queues the mix, or shows the form again with what stands against it."""
    form = MixForm(request.POST.dict())
    refusal = ""
    if form.is_valid() and form.chosen_study is not None:
        try:
            stored = create_mix(
                study=form.chosen_study,
                parts=form.parts(),
                name=form.cleaned_data["name"] or None,
                created_by=request.user,  # type: ignore[arg-type]
            )
        except RoundError as exc:
            refusal = str(exc)
        else:
            messages.success(request, f"Mix {stored.name} is queued; the gate judges it next.")
            return redirect("console:round", stored.pk)
    answer = _show_form(request, request.POST, may_act=True, refusal=refusal)
    answer.status_code = 409 if refusal else 422
    return answer
