"""Consent texts: every version that was ever asked, and the next one."""

from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from attune.raters.errors import ConsentError
from attune.raters.models import ConsentText
from attune.ratings.arrival_services import replace_consent_text
from console.access import action, page
from console.arrival_forms import ConsentTextForm
from console.pages import csv_answer, show, wants_csv

CSV_HEADER = (
    *("name", "version", "language", "title", "sha256", "created_at"),
    *("n_agreed", "n_withdrawn", "studies"),
)


@page
def consent_texts(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """All versions with who agreed, and a form for the next."""
    if wants_csv(request):
        return csv_answer("consent-texts", CSV_HEADER, map(_csv_row, _rows()))
    return _show(request, may_act=may_act)


@action
def write(request: HttpRequest) -> HttpResponse:
    """Stores the next version; studies that asked for an older one ask for it from now on."""
    form = ConsentTextForm(request.POST)
    if form.is_valid():
        given = form.cleaned_data
        author = request.user if isinstance(request.user, User) else None
        try:
            text, n_studies = replace_consent_text(
                name=given["name"],
                title=given["title"],
                text=given["text"],
                language=given["language"],
                written_by=author,
            )
        except ConsentError as exc:
            form.add_error(None, str(exc))
        else:
            many = "study asks" if n_studies == 1 else "studies ask"
            messages.success(request, f"{text} is stored; {n_studies} {many} for it from now on.")
            return redirect("console:consent-texts")
    answer = _show(request, may_act=True, form=form)
    answer.status_code = 422
    return answer


def _show(
    request: HttpRequest, *, may_act: bool, form: ConsentTextForm | None = None
) -> HttpResponse:
    rows = list(_rows())
    start = None
    base = ConsentText.objects.filter(pk=request.GET.get("from") or 0).first()
    if base is not None:
        start = {
            "name": base.name,
            "title": base.title,
            "language": base.language,
            "text": base.text,
        }
    return show(
        request,
        "consent_text_list",
        section="consent-texts",
        may_act=may_act,
        rows=rows,
        names=sorted({row.name for row in rows}),
        form=form or ConsentTextForm(initial=start),
        is_begun=start is not None,
    )


def _rows() -> list[ConsentText]:
    agreed = Count("consents", filter=Q(consents__withdrawn_at__isnull=True), distinct=True)
    withdrawn = Count("consents", filter=Q(consents__withdrawn_at__isnull=False), distinct=True)
    texts = ConsentText.objects.annotate(n_agreed=agreed, n_withdrawn=withdrawn)
    return list(texts.prefetch_related("studies").order_by("name", "-version"))


def _csv_row(row: ConsentText) -> tuple[object, ...]:
    studies = " ".join(study.slug for study in row.studies.all())
    return (
        *(row.name, row.version, row.language, row.title, row.text_sha256, row.created_at),
        *(row.n_agreed, row.n_withdrawn, studies),  # type: ignore[attr-defined]
    )
