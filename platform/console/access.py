"""Who may open a page of the console, and who may act on it."""

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from attune.raters.models import Role
from attune.raters.selectors import has_role

View = Callable[..., HttpResponseBase]


def is_engineer(request: HttpRequest) -> bool:
    """Whether the signed-in account may act, not only read."""
    return has_role(request.user, Role.ENGINEER)


def page(view: View) -> View:
    """A page that engineers and reviewers read; the view learns whether it may offer actions."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        may_act = is_engineer(request)
        if not may_act and not has_role(request.user, Role.REVIEWER):
            raise PermissionDenied("the console is for engineers and reviewers")
        return view(request, *args, may_act=may_act, **kwargs)

    return require_safe(never_cache(guarded))


def form_page(view: View) -> View:
    """A page that engineers alone open, because all it offers is a change."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not is_engineer(request):
            raise PermissionDenied("only engineers may change this")
        return view(request, *args, **kwargs)

    return require_safe(never_cache(guarded))


def action(view: View) -> View:
    """A change that only engineers make, by POST."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login("/console/")
        if not is_engineer(request):
            raise PermissionDenied("only engineers may do this")
        return view(request, *args, **kwargs)

    return require_POST(guarded)
