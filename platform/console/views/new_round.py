"""A new round: its form beside the preflight, both of which follow what is chosen."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from attune.catalog.models import Checkpoint, Population
from attune.ratings.models import Study
from attune.rounds.errors import RoundError
from attune.rounds.preflight import Preflight, examine_plan
from attune.rounds.selectors import find_default_base
from attune.rounds.services import create_round
from console.access import action, page
from console.pages import show
from console.round_form import RoundForm


@page
def new_round(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """The form of a new round; the plan alone when something in it was changed."""
    study = _chosen_study(request)
    base = _chosen_base(request, study)
    return _show_form(request, _form(request, study, base), study, base, may_act=may_act)


def _form(request: HttpRequest, study: Study | None, base: Checkpoint | None) -> RoundForm:
    """The form as the address tells it; a base of another study gives way."""
    given = request.GET.dict()
    given |= {"study": study.slug if study else "", "base": base.name if base else ""}
    return RoundForm(given, study=study)


def _chosen_study(request: HttpRequest) -> Study | None:
    named = request.POST.get("study") or request.GET.get("study")
    if named:
        return get_object_or_404(Study, slug=named)
    return Study.objects.filter(population=Population.PEOPLE).order_by("-is_open", "pk").first()


def _chosen_base(request: HttpRequest, study: Study | None) -> Checkpoint | None:
    if study is None:
        return None
    named = request.POST.get("base") or request.GET.get("base")
    found = Checkpoint.objects.filter(name=named, rotation_entries__population=study.population)
    return found.first() or find_default_base(study)


def _show_form(
    request: HttpRequest,
    form: RoundForm,
    study: Study | None,
    base: Checkpoint | None,
    *,
    may_act: bool,
    refusal: str = "",
) -> HttpResponse:
    found, problem = _examine(form, study, base)
    is_polled = request.headers.get("HX-Request") == "true"
    return show(
        request,
        "round_plan" if is_polled else "round_form",
        section="rounds",
        may_act=may_act,
        form=form,
        study=study,
        preflight=found,
        refusal=refusal,
        problem=problem,
        can_start=found is not None and found.can_start and form.is_valid(),
    )


def _examine(
    form: RoundForm, study: Study | None, base: Checkpoint | None
) -> tuple[Preflight | None, str]:
    """The preflight, or why there is none."""
    if study is None or base is None:
        return None, ""
    try:
        return examine_plan(form.plan(study, base)), ""
    except RoundError as exc:
        return None, str(exc)


@action
def start_round(request: HttpRequest) -> HttpResponse:
    """Starts a round, or shows the form again with what stands against it."""
    study = _chosen_study(request)
    form = RoundForm(request.POST.dict(), study=study)
    refusal = ""
    if form.is_valid():
        plan = form.plan(form.cleaned_data["study"], form.cleaned_data["base"])
        try:
            stored = create_round(
                study=plan.study,
                base_checkpoint=plan.base_checkpoint,
                method=plan.method,
                config=plan.config,
                name=form.cleaned_data["name"] or None,
                filter=plan.filter,
                reward_model=plan.reward_model,
                judge_model=plan.judge_model,
                created_by=request.user,  # type: ignore[arg-type]
            )
        except RoundError as exc:
            refusal = str(exc)
        else:
            messages.success(request, f"Round {stored.name} is frozen and queued.")
            return redirect("console:round", stored.pk)
    base = _chosen_base(request, study)
    answer = _show_form(request, form, study, base, may_act=True, refusal=refusal)
    answer.status_code = 409 if refusal else 422
    return answer
