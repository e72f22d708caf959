"""What a study puts before its pairs, and the panels whose people come to it."""

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from attune.ratings.arrival import asked_steps
from attune.ratings.arrival_models import PanelLink, PanelSession
from attune.ratings.arrival_selectors import arrival_counts
from attune.ratings.errors import StudyError
from attune.ratings.models import Study
from attune.ratings.panel_selectors import panel_links, panel_sessions
from attune.ratings.panel_services import create_panel_link, revoke_panel_link
from attune.ratings.panels import RETURN_ADDRESSES, link_path, signing_key
from attune.ratings.services import update_study
from console.access import action, page
from console.arrival_forms import ArrivalForm, PanelLinkForm
from console.pages import csv_answer, show, wants_csv

SHOWN_SESSIONS = 50
CSV_HEADER = (
    *("session", "panel", "link", "rater", "end", "code"),
    *("started_at", "ended_at"),
)


@page
def arrival(request: HttpRequest, slug: str, *, may_act: bool) -> HttpResponse:
    """The steps before the first pair with how many came through, and the panels' links."""
    study = _study(slug)
    if wants_csv(request):
        rows = [_csv_row(row, tells_code=may_act) for row in panel_sessions(study)]
        return csv_answer(f"panel-sessions-{study.slug}", CSV_HEADER, rows)
    return _show(request, study, may_act=may_act)


@action
def change(request: HttpRequest, slug: str) -> HttpResponse:
    """Sets what the study puts before its pairs."""
    study = _study(slug)
    form = ArrivalForm(request.POST, study=study)
    if form.is_valid():
        try:
            update_study(study=study, **form.cleaned_data)
        except StudyError as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, "Raters go through these steps from now on.")
            return redirect("console:arrival", study.slug)
    return _refused(request, study, form=form)


@action
def add_link(request: HttpRequest, slug: str) -> HttpResponse:
    """Makes a link for a panel."""
    study = _study(slug)
    form = PanelLinkForm(request.POST)
    if form.is_valid():
        author = request.user if isinstance(request.user, User) else None
        try:
            create_panel_link(study=study, created_by=author, **form.cleaned_data)
        except StudyError as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, "The link is below: give it to the panel as it is.")
            return redirect("console:arrival", study.slug)
    return _refused(request, study, link_form=form)


@action
def end_link(request: HttpRequest, slug: str, link_id: int) -> HttpResponse:
    """Ends a panel's link; people who are in go on."""
    link = PanelLink.objects.filter(pk=link_id, study__slug=slug).first()
    if link and revoke_panel_link(link=link, now=timezone.now()):
        messages.success(request, "The link lets nobody in any more.")
    else:
        messages.error(request, "There is no such link, or it was ended before.")
    return redirect("console:arrival", slug)


def _study(slug: str) -> Study:
    return get_object_or_404(Study.objects.select_related("consent"), slug=slug)


def _refused(
    request: HttpRequest,
    study: Study,
    *,
    form: ArrivalForm | None = None,
    link_form: PanelLinkForm | None = None,
) -> HttpResponse:
    answer = _show(request, study, may_act=True, form=form, link_form=link_form)
    answer.status_code = 422
    return answer


def _show(
    request: HttpRequest,
    study: Study,
    *,
    may_act: bool,
    form: ArrivalForm | None = None,
    link_form: PanelLinkForm | None = None,
) -> HttpResponse:
    initial = {
        "consent": study.consent_id,
        "asks_volume": study.asks_volume,
        "device_check": study.device_check,
        "n_practice": study.n_practice,
    }
    return show(
        request,
        "arrival",
        section="studies",
        may_act=may_act,
        study=study,
        counts=arrival_counts(study),
        asked={step.value for step in asked_steps(study)},
        form=form or ArrivalForm(initial=initial, study=study),
        link_form=link_form or PanelLinkForm(),
        return_addresses=[item for item in RETURN_ADDRESSES.values() if item],
        links=[
            (
                link,
                request.build_absolute_uri("/")[:-1] + link_path(link),
                signing_key(link) if link.is_signed and may_act else "",
            )
            for link in panel_links(study)
        ],
        sessions=panel_sessions(study)[:SHOWN_SESSIONS],
    )


def _csv_row(row: PanelSession, *, tells_code: bool) -> tuple[object, ...]:
    """One session. Codes are worth money: only engineers read them."""
    end, code = row.get_end_display(), row.code if tells_code else ""
    return (
        *(row.pk, row.link.panel, row.link.pk, row.person.rater.pseudonym, end, code),
        *(row.started_at, row.ended_at),
    )
