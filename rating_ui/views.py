"""The landing page and the rating page."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from attune.raters.models import Role
from attune.raters.selectors import find_rater, has_role
from attune.ratings.arrival import ArrivalStep, find_study_now
from attune.ratings.arrival_models import SessionEnd
from attune.ratings.panel_selectors import find_session
from rating_ui.arrival import API_ROOT, PAGES

CONSOLE = "/console/"
# What page.js imports, so that the browser fetches all of it at once.
MODULES = tuple(
    f"rating_ui/{name}.js"
    for name in (
        "answers",
        "api",
        "breaks",
        "changes",
        "deck",
        "gettext",
        "graph",
        "history",
        "keys",
        "listening",
        "memory",
        "pairs",
        "player",
        "questions",
        "remarks",
        "report",
        "screen",
        "stages",
        "texts",
        "transport",
        "waveform",
    )
)


@require_safe
@never_cache
def landing(request: HttpRequest) -> HttpResponse:
    """What Attune is, for people who are not signed in; others go where their role works."""
    if not request.user.is_authenticated:
        return render(request, "rating_ui/landing.html")
    if has_role(request.user, Role.ENGINEER) or has_role(request.user, Role.REVIEWER):
        return redirect(CONSOLE)
    if find_rater(request.user) is not None:
        return redirect("rate")
    return render(request, "rating_ui/no_role.html", status=403)


@require_safe
@never_cache
@login_required
@ensure_csrf_cookie
def rate(request: HttpRequest) -> HttpResponse:
    """The shell of the rating page; its pairs come by the API."""
    rater = find_rater(request.user)
    if rater is None or not has_role(request.user, Role.RATER):
        return render(request, "rating_ui/no_rater.html", status=403)
    found = find_study_now(rater)
    if found is not None and found[1] is not ArrivalStep.RATING:
        return redirect(PAGES[found[1]])
    study = found[0] if found else None
    session = find_session(rater)
    # Answers that wait in a shared browser must never be sent in another rater's name.
    rater_key = salted_hmac("rating_ui.answers", str(rater.pseudonym)).hexdigest()[:16]
    context = {
        "question": gettext(study.question) if study else "",
        "n_target": study.pairs_per_session if study else 0,
        "api_root": API_ROOT,
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
        "rater_key": rater_key,
        "modules": MODULES,
        "finish_url": reverse("finish") if session and session.end == SessionEnd.OPEN else "",
    }
    return render(request, "rating_ui/rate.html", context)
