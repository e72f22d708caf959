"""People who come from a panel with an external id, and go back with a code."""

from http import HTTPStatus

from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from attune.raters.errors import PanelError
from attune.raters.models import Rater
from attune.ratings.arrival_models import PanelLink, SessionEnd
from attune.ratings.panel_selectors import find_session, get_way_back
from attune.ratings.panel_services import admit_from_panel, complete_session
from attune.ratings.panels import find_link_id, is_preview, read_ids
from rating_ui.arrival import for_raters
from rating_ui.doors import PASSWORD_BACKEND


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def arrive(request: HttpRequest, token: str) -> HttpResponse:
    """Welcomes a panel's person, and signs them in at the press of a button.

    The ids come in the address, as the panel filled them in. Opening the address alone makes
    nothing: panels and browsers preview links.
    """
    link_id = find_link_id(token)
    link = PanelLink.objects.select_related("study").filter(pk=link_id or 0).first()
    if link is None:
        return _refuse(request, "unknown", HTTPStatus.NOT_FOUND)
    if link.revoked_at is not None:
        return _refuse(request, "ended", HTTPStatus.GONE)
    if is_preview(link, request.GET):
        return render(request, "rating_ui/panel/preview.html", {"study": link.study})
    try:
        ids = read_ids(link, request.GET)
        if request.method != "POST":
            return render(request, "rating_ui/panel/welcome.html", {"link": link})
        session = admit_from_panel(link=link, ids=ids, now=timezone.now())
    except PanelError as exc:
        return _refuse(request, exc.reason, HTTPStatus.FORBIDDEN)
    login(request, session.person.rater.user, backend=PASSWORD_BACKEND)
    return redirect("rate" if session.end == SessionEnd.OPEN else "finish")


@require_http_methods(["GET", "HEAD", "POST"])
@for_raters
def finish(request: HttpRequest, rater: Rater) -> HttpResponse:
    """The end of a panel's session: its code once it is accepted, else what is still missing."""
    session = find_session(rater)
    if session is None:
        return redirect("rate")
    session = complete_session(session=session, now=timezone.now())
    way_back = get_way_back(session)
    context = {
        "way_back": way_back,
        "n_missing": max(0, way_back.n_needed - way_back.n_done),
        "link": session.link,
    }
    return render(request, "rating_ui/panel/finish.html", context)


def _refuse(request: HttpRequest, reason: str, status: HTTPStatus) -> HttpResponse:
    return render(request, "rating_ui/panel/refused.html", {"reason": reason}, status=status)
