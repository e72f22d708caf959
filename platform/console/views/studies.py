"""Studies: how far they are, and when their next round starts by itself."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from attune.ratings.models import Study
from attune.ratings.people_gate import people_gate_of
from attune.ratings.selectors import study_counts
from attune.rounds.choices import RoundMethod
from attune.rounds.errors import RoundError
from attune.rounds.gate import CHECKS, canary_share_of, thresholds_of
from attune.rounds.models import RoundSchedule
from attune.rounds.schedule import get_due, set_schedule
from attune.rounds.selectors import rounds
from console.access import action, page
from console.forms import ScheduleForm
from console.pages import chosen_population, csv_answer, show, wants_csv
from console.selectors import StudyRow, study_rows
from console.setting_words import setting_words

SHOWN_ROUNDS = 20
USUAL_PREFERENCES = 120
CSV_HEADER = (
    *("slug", "name", "population", "prompt_set", "is_open", "clip_duration_s"),
    *("minimum_listening_s", "overlap", "pool_target", "n_ready", "n_pending", "n_rated"),
    *("n_withdrawn", "n_ratings"),
)


@page
def study_list(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """The studies of one population with their counts."""
    rows = study_rows(chosen_population(request))
    if wants_csv(request):
        return csv_answer("studies", CSV_HEADER, map(_csv_row, rows))
    return show(
        request,
        "study_list",
        section="studies",
        may_act=may_act,
        rows=rows,
        n_open=sum(row.study.is_open for row in rows),
        n_ratings=sum(row.counts.n_ratings for row in rows),
    )


@page
def study_detail(request: HttpRequest, slug: str, *, may_act: bool) -> HttpResponse:
    """One study: how far it is, its schedule, its gate and its rounds."""
    study = get_object_or_404(Study.objects.select_related("prompt_set", "consent"), slug=slug)
    return _show_study(request, study, may_act=may_act)


def _show_study(
    request: HttpRequest, study: Study, *, may_act: bool, form: ScheduleForm | None = None
) -> HttpResponse:
    schedule = RoundSchedule.objects.filter(study=study).select_related("changed_by").first()
    if schedule is not None:
        schedule.study = study
    of_study = list(rounds(study=study)[:SHOWN_ROUNDS])
    return show(
        request,
        "study_detail",
        section="studies",
        may_act=may_act,
        study=study,
        settings=setting_words(study),
        counts=study_counts([study])[study.pk],
        schedule=schedule,
        due=get_due(schedule) if schedule else None,
        form=form or ScheduleForm(initial=_initial(schedule)),
        rounds=of_study,
        thresholds=[
            (check, thresholds_of(study.gate)[check.name], check.name in study.gate)
            for check in CHECKS.values()
        ],
        people=people_gate_of(study.gate),
        canary_share=canary_share_of(study.gate, population=study.population),
    )


def _initial(schedule: RoundSchedule | None) -> dict[str, object]:
    if schedule is None:
        return {"every_n_preferences": USUAL_PREFERENCES, "method": RoundMethod.DPO.value}
    words = [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in schedule.config.items()
    ]
    return {
        "is_on": schedule.is_on,
        "every_n_preferences": schedule.every_n_preferences,
        "method": schedule.method,
        "settings": " ".join(words),
    }


@action
def change_schedule(request: HttpRequest, slug: str) -> HttpResponse:
    """Sets when the study's next round starts by itself."""
    study = get_object_or_404(Study, slug=slug)
    form = ScheduleForm(request.POST)
    if form.is_valid():
        given = form.cleaned_data
        try:
            stored = set_schedule(
                study=study,
                is_on=given["is_on"],
                every_n_preferences=given["every_n_preferences"],
                method=given["method"],
                config=given["config"],
                changed_by=request.user,  # type: ignore[arg-type]
            )
        except RoundError as exc:
            form.add_error(None, f"The schedule was not changed: {exc}.")
        else:
            told = "starts rounds by itself now" if stored.is_on else "starts no round by itself"
            messages.success(request, f"Study {study.slug} {told}.")
            return redirect("console:study", study.slug)
    answer = _show_study(request, study, may_act=True, form=form)
    answer.status_code = 422
    return answer


def _csv_row(row: StudyRow) -> tuple[object, ...]:
    study, counts = row.study, row.counts
    return (
        *(study.slug, study.name, study.population, study.prompt_set.name, study.is_open),
        *(study.clip_duration_s, study.minimum_listening_s, study.overlap, study.pool_target),
        *(counts.n_ready, counts.n_pending, counts.n_rated, counts.n_withdrawn, counts.n_ratings),
    )
