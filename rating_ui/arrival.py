"""Pages before the first pair: consent, volume, headphones, practice; and what to do when out."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_http_methods, require_POST

from attune.raters.errors import ConsentError
from attune.raters.models import Rater, Role
from attune.raters.selectors import find_rater, has_role
from attune.ratings.arrival import (
    ArrivalStep,
    asked_steps,
    find_study_now,
    may_check_again,
)
from attune.ratings.arrival_models import Arrival, DeviceCheckRule, SessionEnd
from attune.ratings.arrival_services import agree, confirm_volume, decline, stop_checking
from attune.ratings.models import Study
from attune.ratings.panel_selectors import find_session, get_way_back
from attune.ratings.panel_services import end_sessions
from rating_ui.consent_text import read_blocks

API_ROOT = "/api/v1/"
PAGES = {
    ArrivalStep.CONSENT: "arrival-consent",
    ArrivalStep.VOLUME: "arrival-volume",
    ArrivalStep.DEVICE_CHECK: "arrival-device-check",
    ArrivalStep.SCREENED_OUT: "arrival-screened-out",
    ArrivalStep.PRACTICE: "arrival-practice",
    ArrivalStep.RATING: "rate",
}
PLAYER_MODULES = tuple(
    f"rating_ui/{name}.js"
    for name in ("api", "deck", "gettext", "graph", "keys", "listening", "player", "waveform")
)

View = Callable[..., HttpResponse]


def for_raters(view: View) -> View:
    """A page for signed-in raters; the view gets the rater. Others are told whose page it is."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        rater = find_rater(request.user)
        if rater is None or not has_role(request.user, Role.RATER):
            return render(request, "rating_ui/no_rater.html", status=403)
        return view(request, rater, *args, **kwargs)

    return never_cache(login_required(guarded))


def at_step(step: ArrivalStep) -> Callable[[View], View]:
    """A page of one step: whoever is at another step, earlier or later, is led there."""

    def decorate(view: View) -> View:
        @for_raters
        @wraps(view)
        def guarded(request: HttpRequest, rater: Rater) -> HttpResponse:
            found = find_study_now(rater)
            if found is None or found[1] is not step:
                return redirect(PAGES[found[1]] if found else "rate")
            return view(request, rater, found[0])

        return guarded

    return decorate


def show(
    request: HttpRequest, name: str, step: ArrivalStep, study: Study, **context: Any
) -> HttpResponse:
    """A step's page, with its place among the steps that the study asks for."""
    asked = asked_steps(study)
    shared = {
        "study": study,
        "step_number": asked.index(step) + 1 if step in asked else None,
        "n_steps": len(asked),
        "api_root": API_ROOT,
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
    }
    return render(request, f"rating_ui/arrival/{name}.html", {**shared, **context})


@require_http_methods(["GET", "HEAD", "POST"])
@at_step(ArrivalStep.CONSENT)
def consent(request: HttpRequest, rater: Rater, study: Study) -> HttpResponse:
    """The text to agree to. A version that was replaced while it was read is shown anew."""
    has_changed = False
    if request.method == "POST":
        now = timezone.now()
        if request.POST.get("answer") == "decline":
            decline(rater=rater, study=study, now=now)
            end_sessions(rater=rater, end=SessionEnd.DECLINED, now=now)
            return redirect("arrival-declined")
        try:
            agree(rater=rater, study=study, text_id=int(request.POST.get("text", "0")), now=now)
            return redirect("rate")
        except (ConsentError, ValueError):
            has_changed = True
    assert study.consent is not None
    earlier = rater.consents.filter(text__name=study.consent.name).exists()
    return show(
        request,
        "consent",
        ArrivalStep.CONSENT,
        study,
        text=study.consent,
        blocks=read_blocks(study.consent.text),
        has_changed=has_changed,
        is_newer=earlier,
    )


@require_http_methods(["GET", "HEAD"])
@for_raters
def declined(request: HttpRequest, rater: Rater) -> HttpResponse:
    """What declining means, and the ways on."""
    found = find_study_now(rater)
    if found is None or found[1] is not ArrivalStep.CONSENT:
        return redirect("rate")
    session = find_session(rater)
    way_back = get_way_back(session) if session else None
    return show(request, "declined", ArrivalStep.CONSENT, found[0], way_back=way_back)


@require_http_methods(["GET", "HEAD", "POST"])
@ensure_csrf_cookie
@for_raters
def volume(request: HttpRequest, rater: Rater) -> HttpResponse:
    """The reference sound; may be opened again later, from the rater's own page."""
    found = find_study_now(rater)
    if found is None or not found[0].asks_volume or found[1] is ArrivalStep.CONSENT:
        return redirect(PAGES[found[1]] if found else "rate")
    if request.method == "POST":
        confirm_volume(rater=rater, study=found[0], now=timezone.now())
        return redirect("rate")
    return show(request, "volume", ArrivalStep.VOLUME, found[0])


@require_http_methods(["GET", "HEAD"])
@ensure_csrf_cookie
@at_step(ArrivalStep.DEVICE_CHECK)
def device_check(request: HttpRequest, _rater: Rater, study: Study) -> HttpResponse:
    """The headphone check; its sounds and answers go through the API."""
    return show(
        request,
        "device_check",
        ArrivalStep.DEVICE_CHECK,
        study,
        is_strict=study.device_check == DeviceCheckRule.EXCLUDE,
    )


@require_http_methods(["GET", "HEAD"])
@ensure_csrf_cookie
@at_step(ArrivalStep.SCREENED_OUT)
def screened_out(request: HttpRequest, rater: Rater, study: Study) -> HttpResponse:
    """What it means that the check heard no headphones; a second try where there is one left."""
    arrival = Arrival.objects.get(rater=rater, study=study)
    can_retry = may_check_again(study, arrival)
    if not can_retry:
        end_sessions(rater=rater, end=SessionEnd.SCREENED_OUT, now=timezone.now())
    session = find_session(rater)
    return show(
        request,
        "screened_out",
        ArrivalStep.SCREENED_OUT,
        study,
        can_retry=can_retry,
        way_back=get_way_back(session) if session and not can_retry else None,
    )


@require_POST
@for_raters
def stop(_request: HttpRequest, rater: Rater) -> HttpResponse:
    """Forgoes the second try of the headphone check."""
    found = find_study_now(rater)
    if found is not None and found[1] is ArrivalStep.SCREENED_OUT:
        stop_checking(rater=rater, study=found[0])
    return redirect("arrival-screened-out")


@require_http_methods(["GET", "HEAD"])
@ensure_csrf_cookie
@at_step(ArrivalStep.PRACTICE)
def practice(request: HttpRequest, _rater: Rater, study: Study) -> HttpResponse:
    """Practice pairs on the rating page's player; they and their answers go through the API."""
    return show(
        request,
        "practice",
        ArrivalStep.PRACTICE,
        study,
        modules=PLAYER_MODULES,
    )
