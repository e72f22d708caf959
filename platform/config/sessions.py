"""Sessions whose cookie is taken back by signing out, and by nothing else."""

from django.contrib.sessions import middleware
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers


class SessionMiddleware(middleware.SessionMiddleware):
    """Django's middleware, but a request with an outlived session leaves the cookie alone.

    Signing in replaces the session. A request that the page before still had under way carries
    the old cookie; Django would answer it by deleting the cookie, and with it the new session.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Returns the response, with a cookie where the session was changed."""
        if request.session.is_empty() and not request.session.modified:
            if request.session.accessed:
                patch_vary_headers(response, ("Cookie",))
            return response
        return super().process_response(request, response)
