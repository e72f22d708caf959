"""Who may call what: a bearer token or a session, and the roles an operation asks for."""

from collections.abc import Sequence
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja.errors import HttpError
from ninja.security import HttpBearer
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from attune.raters.models import Rater, Role
from attune.raters.selectors import find_rater, find_user_by_api_token, has_role

RATERS = (Role.RATER,)
ENGINEERS = (Role.ENGINEER,)
READERS = (Role.ENGINEER, Role.REVIEWER)
EVERYONE = (Role.RATER, Role.ENGINEER, Role.REVIEWER)


class CsrfError(HttpError):
    """A page's request without its token. Told apart, because a reload mends it."""

    reason = "csrf"

    def __init__(self) -> None:
        super().__init__(403, "the CSRF token is missing or wrong: send it as X-CSRFToken")


def may(user: User, roles: Sequence[Role]) -> bool:
    """Whether the account has one of the roles; a superuser has all."""
    return user.is_superuser or any(has_role(user, role) for role in roles)


def _admit(user: User, roles: Sequence[Role]) -> User:
    if not may(user, roles):
        wanted = " or ".join(role.value for role in roles)
        raise HttpError(403, f"this needs the role {wanted}")
    return user


class BearerToken(HttpBearer):
    """`Authorization: Bearer <token>`, as scripts send it."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self.roles = roles
        super().__init__()

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        """The token's account if it has a role; None for an unknown or revoked token."""
        user = find_user_by_api_token(token)
        return None if user is None else _admit(user, self.roles)


class Session(AuthBase):
    """The signed-in account of a page; unsafe methods need the CSRF token as well."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = settings.SESSION_COOKIE_NAME
    csrf = True

    def __init__(self, roles: Sequence[Role]) -> None:
        self.roles = roles
        super().__init__()

    def __call__(self, request: HttpRequest) -> Any | None:
        """The signed-in account if it has a role; None when nobody is signed in."""
        if "Authorization" in request.headers or not request.user.is_authenticated:
            return None
        if check_csrf(request) is not None:
            raise CsrfError
        return _admit(request.user, self.roles)


def allow(roles: Sequence[Role]) -> list[AuthBase]:
    """The two ways in, for accounts with one of the roles."""
    return [BearerToken(roles), Session(roles)]


def caller(request: HttpRequest) -> User:
    """The account that `allow` admitted."""
    return cast(User, request.auth)  # type: ignore[attr-defined]


def get_rater(request: HttpRequest) -> Rater:
    """The caller as a rater; refuses an account that has never been one."""
    rater = find_rater(caller(request))
    if rater is None:
        raise HttpError(403, "this account is no rater")
    return rater


def find_person(request: HttpRequest) -> User | None:
    """Who asks, by bearer token or session, for addresses outside the API; None for nobody."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        return find_user_by_api_token(token) if scheme.lower() == "bearer" else None
    return request.user if request.user.is_authenticated else None
