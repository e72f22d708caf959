"""The site as its HTTP API shows it: one client for the engineer and all raters."""

import time
from collections.abc import Mapping
from typing import Any

import httpx

from rehearsal.errors import SiteError

API = "/api/v1"
N_TRIES = 6
FIRST_PAUSE_S = 0.5
TIMEOUT_S = 60.0
SHOWN_CHARACTERS = 500
BUSY_STATUSES = frozenset({429, 502, 503, 504})

Json = dict[str, Any]


class Site:
    """Requests with a bearer token; one that fails on the way is sent again.

    Every write of the rehearsal either carries a client-made id or is checked by the caller,
    so that a request that was answered but not heard does no harm when repeated.
    """

    def __init__(self, base_url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._client = httpx.Client(
            base_url=self.base_url,
            timeout=TIMEOUT_S,
            transport=transport,
            limits=httpx.Limits(max_connections=16),
        )

    def close(self) -> None:
        """Closes all connections."""
        self._client.close()

    def get(self, path: str, token: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Returns the JSON answer of GET /api/v1/<path>."""
        return self._send("GET", f"{API}/{path}", token, parameters=parameters).json()

    def post(self, path: str, token: str, content: Mapping[str, Any] | None = None) -> Any:
        """Returns the JSON answer of POST /api/v1/<path>; None where it has no content."""
        response = self._send("POST", f"{API}/{path}", token, content=content or {})
        return None if response.status_code == httpx.codes.NO_CONTENT else response.json()

    def patch(self, path: str, token: str, content: Mapping[str, Any]) -> Any:
        """Returns the JSON answer of PATCH /api/v1/<path>."""
        return self._send("PATCH", f"{API}/{path}", token, content=content).json()

    def download_from_api(self, path: str, token: str) -> bytes:
        """Returns the content of GET /api/v1/<path>."""
        return self.download(f"{API}/{path}", token)

    def download(self, address: str, token: str) -> bytes:
        """Returns a file of the site, by absolute address or by path."""
        return self._send("GET", address, token).content

    def _send(
        self,
        method: str,
        path: str,
        token: str,
        *,
        content: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        pause_s = FIRST_PAUSE_S
        for n_try in range(1, N_TRIES + 1):
            is_last = n_try == N_TRIES
            try:
                response = self._client.request(
                    method,
                    path,
                    json=content,
                    params=parameters,
                    headers={"Authorization": f"Bearer {token}"},
                )
            except httpx.TransportError as exc:
                if is_last:
                    raise SiteError(f"{method} {self.base_url}{path}: {exc}") from exc
            else:
                if response.is_success:
                    return response
                if response.status_code not in BUSY_STATUSES or is_last:
                    said = response.text[:SHOWN_CHARACTERS]
                    raise SiteError(
                        f"{method} {path} was answered {response.status_code}: {said}",
                        status=response.status_code,
                    )
            time.sleep(pause_s)
            pause_s *= 2
        raise AssertionError("the loop returns or raises")
