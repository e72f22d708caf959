"""Ways in and out: invitation, password, sign-out."""

from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from attune.raters.errors import InvitationError
from attune.raters.selectors import find_invitation, find_rater
from attune.raters.services import accept_invitation

PASSWORD_BACKEND = "django.contrib.auth.backends.ModelBackend"


@require_http_methods(["GET", "POST"])
@never_cache
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Signs in by an invitation; says kindly why when it does not open the door.

    A public site asks for one press of a button first, and an open link always does: mail
    scanners and previews open links, and must not spend them. Links printed in a terminal sign
    in at once. Whoever comes by an open link again in the same browser is who they were.
    """
    invitation = find_invitation(token)
    is_open = invitation is not None and invitation.is_open
    if is_open and find_rater(request.user) is not None:
        return redirect("landing")
    if request.method == "GET" and (is_open or not settings.ATTUNE_EMBEDDED):
        return render(request, "rating_ui/invited.html", {"is_open": is_open})
    try:
        user = accept_invitation(token=token, now=timezone.now())
    except InvitationError as exc:
        # A reload, or the back button: the person is already in by this very link.
        if exc.reason == "used" and request.user.is_authenticated:
            return redirect("landing")
        is_unknown = exc.reason == "unknown"
        status = HTTPStatus.NOT_FOUND if is_unknown else HTTPStatus.GONE
        return render(request, "rating_ui/join.html", {"reason": exc.reason}, status=status)
    login(request, user, backend=PASSWORD_BACKEND)
    return redirect("landing")


class SignIn(LoginView):
    """Name and password; django-axes counts the failures."""

    template_name = "rating_ui/sign_in.html"
    redirect_authenticated_user = True


sign_in = SignIn.as_view()
sign_out = LogoutView.as_view()


def locked_out(request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
    """Says that there were too many failures; named by AXES_LOCKOUT_CALLABLE."""
    return render(request, "rating_ui/locked_out.html", status=HTTPStatus.TOO_MANY_REQUESTS)
