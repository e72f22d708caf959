"""Which pages speak the visitor's language."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils import translation

ENGLISH_PAGES = "/console/"


def console_in_english(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: the console's texts are English only, so its frame is English as well."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(ENGLISH_PAGES):
            return get_response(request)
        with translation.override("en"):
            return get_response(request)

    return respond
