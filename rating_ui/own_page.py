"""A rater's own page: what they did, what they agreed to, and how to leave."""

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from attune.raters.models import Rater
from attune.ratings.arrival import find_study_now
from attune.ratings.own_record import own_record
from attune.ratings.panel_selectors import find_session, get_way_back
from attune.ratings.withdrawal_services import withdraw
from rating_ui.arrival import for_raters
from rating_ui.consent_text import read_blocks


@require_http_methods(["GET", "HEAD"])
@for_raters
def own_page(request: HttpRequest, rater: Rater) -> HttpResponse:
    """Counts, last ratings, consents, the headphone check, language, and the way out."""
    found = find_study_now(rater)
    session = find_session(rater)
    context = {
        "record": own_record(rater),
        "asks_volume": bool(found and found[0].asks_volume),
        "way_back": get_way_back(session) if session else None,
    }
    return render(request, "rating_ui/own_page.html", context)


@require_http_methods(["GET", "HEAD"])
@for_raters
def own_consent(request: HttpRequest, rater: Rater, consent_id: int) -> HttpResponse:
    """A text that the rater agreed to, word for word."""
    consent = rater.consents.select_related("text").filter(pk=consent_id).first()
    if consent is None:
        return redirect("own-page")
    context = {"consent": consent, "blocks": read_blocks(consent.text.text)}
    return render(request, "rating_ui/own_consent.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_raters
def leave(request: HttpRequest, rater: Rater) -> HttpResponse:
    """Says what withdrawing erases and what stays; the press of the button does it."""
    if request.method == "POST" and request.POST.get("sure") == "yes":
        withdraw(rater=rater, now=timezone.now())
        logout(request)
        return redirect("withdrawn")
    return render(request, "rating_ui/leave.html", {"record": own_record(rater)})


@require_http_methods(["GET", "HEAD"])
@never_cache
def withdrawn(request: HttpRequest) -> HttpResponse:
    """Says what was done."""
    return render(request, "rating_ui/withdrawn.html")
