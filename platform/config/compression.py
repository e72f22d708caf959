"""Compression of the site's own scripts and styles, as they are served."""

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.middleware.gzip import GZipMiddleware

COMPRESSED = ("text/css", "text/javascript", "application/javascript", "image/svg+xml")


class StaticGZipMiddleware(GZipMiddleware):
    """Compresses static text files only.

    Audio is asked for by ranges, and a compressed page that repeats what a stranger sent
    alongside a secret tells its secret by its length.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """The response, compressed where that is safe."""
        kind = response.headers.get("Content-Type", "").partition(";")[0]
        if not request.path.startswith(settings.STATIC_URL) or kind not in COMPRESSED:
            return response
        return super().process_response(request, response)
