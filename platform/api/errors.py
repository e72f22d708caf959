"""Errors of the domain as HTTP answers: one sentence in `detail`, and the error's numbers."""

from collections.abc import Callable, Mapping
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError, ValidationErrorContext

from api.access import CsrfError
from attune.catalog.errors import CatalogError, ClipOrderError, MelodyError, PromptError
from attune.leaderboard.errors import LeaderboardError
from attune.raters.errors import (
    ArrivalError,
    ConsentError,
    DeviceCheckError,
    PracticeError,
    RaterError,
)
from attune.ratings.errors import (
    AnswerError,
    AssignmentNotFoundError,
    ListeningError,
    PopulationError,
    RatingError,
    RatingNotFoundError,
    RemarkError,
    RemarkNotFoundError,
    StudyError,
    WithdrawnError,
)
from attune.rounds.errors import ConfigError, NotEnoughPreferences, RoundError
from attune.rounds.gate import GateError

SHOWN_CHARACTERS = 80

# Django Ninja takes the handler of the nearest class, so a base stands for its other children.
STATUSES: Mapping[type[Exception], int] = {
    ArrivalError: 403,
    PopulationError: 403,
    WithdrawnError: 403,
    AssignmentNotFoundError: 404,
    RatingNotFoundError: 404,
    RemarkNotFoundError: 404,
    CatalogError: 409,
    ConsentError: 409,
    DeviceCheckError: 409,
    PracticeError: 409,
    RaterError: 422,
    RatingError: 409,
    RoundError: 409,
    AnswerError: 422,
    ClipOrderError: 422,
    ConfigError: 422,
    GateError: 422,
    LeaderboardError: 422,
    ListeningError: 422,
    MelodyError: 422,
    PromptError: 422,
    RemarkError: 422,
    StudyError: 422,
}


def add_error_answers(api: NinjaAPI) -> None:
    """Registers how each error is answered."""

    def answer(status: int, content: dict[str, Any], request: HttpRequest) -> HttpResponse:
        return api.create_response(request, content, status=status)

    def domain_answer(status: int) -> Callable[[HttpRequest, Any], HttpResponse]:
        return lambda request, exc: answer(
            status, {"detail": str(exc), **_numbers_of(exc)}, request
        )

    for error, status in STATUSES.items():
        api.add_exception_handler(error, domain_answer(status))

    def missing(request: HttpRequest, exc: Any) -> HttpResponse:
        return answer(404, {"detail": str(exc) or "not found"}, request)

    def unknown_caller(request: HttpRequest, exc: Any) -> HttpResponse:
        detail = "sign in, or send Authorization: Bearer <token>; this caller is unknown"
        response = answer(401, {"detail": detail}, request)
        response["WWW-Authenticate"] = "Bearer"
        return response

    def refused(request: HttpRequest, exc: Any) -> HttpResponse:
        return answer(exc.status_code, {"detail": str(exc)}, request)

    def without_csrf_token(request: HttpRequest, exc: Any) -> HttpResponse:
        return answer(exc.status_code, {"detail": str(exc), "reason": exc.reason}, request)

    def invalid(request: HttpRequest, exc: Any) -> HttpResponse:
        problems = [_problem(error) for error in exc.errors]
        sentence = "; ".join(problem["message"] for problem in problems)
        return answer(422, {"detail": sentence, "errors": problems}, request)

    api.add_exception_handler(Http404, missing)
    api.add_exception_handler(AuthenticationError, unknown_caller)
    api.add_exception_handler(HttpError, refused)
    api.add_exception_handler(CsrfError, without_csrf_token)
    api.add_exception_handler(ValidationError, invalid)


class ExplainingAPI(NinjaAPI):
    """An API whose validation errors keep what was given, so that they can name it."""

    def validation_error_from_error_contexts(
        self, error_contexts: list[ValidationErrorContext[Any]]
    ) -> ValidationError:
        """All problems of a request, each with its place, its sentence and what was given."""
        problems = []
        for context in error_contexts:
            source = context.model.__ninja_param_source__
            places = context.model.__ninja_flatten_map_reverse__
            for error in context.pydantic_validation_error.errors(include_url=False):
                place = (source, *places.get(error["loc"], error["loc"]))
                problems.append({**error, "loc": place})
        return ValidationError(problems)


def _numbers_of(exc: Exception) -> dict[str, Any]:
    if isinstance(exc, NotEnoughPreferences):
        return {
            "n_usable": exc.n_usable,
            "n_needed": exc.n_needed,
            "n_missing": exc.n_missing,
            "counts": exc.counts,
        }
    if isinstance(exc, ArrivalError):
        return {"code": exc.code}
    if isinstance(exc, ListeningError):
        return {"side": exc.side, "heard_s": exc.heard_s, "needed_s": exc.needed_s}
    return {}


def _problem(error: dict[str, Any]) -> dict[str, str]:
    """Which field is wrong, what was given, and what is allowed."""
    # The place starts with body or query and, for a body, the parameter's name.
    place = [str(part) for part in error.get("loc", ())]
    field = ".".join(place[2:] if place[:1] == ["body"] else place[1:]) or "body"
    given = repr(error.get("input"))
    if len(given) > SHOWN_CHARACTERS:
        given = given[:SHOWN_CHARACTERS] + "..."
    said = str(error.get("msg", "")).removeprefix("Value error, ")
    said = said[:1].lower() + said[1:]
    is_missing = error.get("type") == "missing"
    message = f"{field} is missing" if is_missing else f"{field}: {said}, got {given}"
    return {"field": field, "given": given, "message": message}
