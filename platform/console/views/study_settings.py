"""A study's settings, and a new study: forms that engineers alone open."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from attune.catalog.models import Population, PromptSet
from attune.ratings.errors import StudyError
from attune.ratings.models import Study
from attune.ratings.selectors import study_counts
from attune.ratings.services import create_study, update_study
from console.access import action, form_page
from console.pages import chosen_population, show
from console.study_forms import NewStudyForm, SettingsForm


@form_page
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    """What the study asks of its raters, to be changed."""
    study = get_object_or_404(Study, slug=slug)
    return _show_settings(
        request, study, SettingsForm(study=study, n_requested=_n_requested(study))
    )


@action
def change(request: HttpRequest, slug: str) -> HttpResponse:
    """Changes all settings that differ, or none of them."""
    study = get_object_or_404(Study, slug=slug)
    form = SettingsForm(request.POST, study=study, n_requested=_n_requested(study))
    if form.is_valid():
        changed = form.differing(study)
        try:
            update_study(study=study, **changed)
        except StudyError as exc:
            study = get_object_or_404(Study, slug=slug)
            form.add_error(None, f"Nothing was changed: {exc}.")
        else:
            labels = [str(form.fields[name].label).partition(":")[0] for name in changed]
            told = f"Changed: {', '.join(labels)}." if labels else "All settings are as they were."
            messages.success(request, told)
            return redirect("console:study", study.slug)
    answer = _show_settings(request, study, form)
    answer.status_code = 422
    return answer


@form_page
def new_study(request: HttpRequest) -> HttpResponse:
    """An empty form, with what is usual filled in."""
    return _show_new(request, NewStudyForm())


@action
def create(request: HttpRequest) -> HttpResponse:
    """Creates the study, or shows the form again as it was filled in."""
    form = NewStudyForm(request.POST)
    if form.is_valid():
        try:
            study = create_study(**form.cleaned_data)
        except StudyError as exc:
            form.add_error(None, f"No study was created: {exc}.")
        else:
            messages.success(
                request,
                "The study is there. What raters do before the first pair is set under "
                "“Steps and panels”.",
            )
            return redirect("console:study", study.slug)
    answer = _show_new(request, form)
    answer.status_code = 422
    return answer


def _n_requested(study: Study) -> int:
    counts = study_counts([study])[study.pk]
    return counts.n_ready + counts.n_pending


def _show_settings(request: HttpRequest, study: Study, form: SettingsForm) -> HttpResponse:
    return show(request, "study_settings", section="studies", may_act=True, study=study, form=form)


def _show_new(request: HttpRequest, form: NewStudyForm) -> HttpResponse:
    if not form.is_bound and chosen_population(request) == Population.REHEARSAL:
        form.initial["population"] = Population.REHEARSAL
    return show(
        request,
        "study_new",
        section="studies",
        may_act=True,
        form=form,
        has_prompts=PromptSet.objects.exists(),
    )
