"""Three people of one site, and how each of them calls it."""

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from attune.catalog.models import Clip
from attune.catalog.storage import media_file
from attune.raters.models import Role
from attune.raters.selectors import find_rater
from attune.raters.services import create_api_token, create_member, create_rater

SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True)
class Person:
    """One account with its token; `api` sends the token, `pages` is signed in."""

    user: User
    token: str

    def api(self, method: str, path: str, content: Any = None, **headers: str) -> Any:
        """The answer to a call of /api/v1/<path> with the person's token."""
        return call(method, path, content, token=self.token, **headers)

    @property
    def pages(self) -> Client:
        """A browser in which the person is signed in; CSRF is enforced as on the site."""
        client = Client(enforce_csrf_checks=True)
        client.force_login(self.user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    @property
    def rater(self) -> Any:
        """The person's rater."""
        return find_rater(self.user)


def call(method: str, path: str, content: Any = None, *, token: str = "", **headers: str) -> Any:
    """The answer to a call of /api/v1/<path>."""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    address = path if path.startswith("/") else f"/api/v1/{path}"
    return Client().generic(
        method,
        address,
        b"" if content is None else _json(content),
        content_type="application/json",
        headers=headers,
    )


def _json(content: Any) -> bytes:
    import json

    return json.dumps(content).encode()


def make_person(role: Role, *, is_simulated: bool = False) -> Person:
    """A new account in one role, with a token."""
    user = create_rater(is_simulated=is_simulated).user if role == Role.RATER else None
    user = user or create_member(role=role)
    return Person(user=user, token=create_api_token(user=user))


def write_audio(clip: Clip, n_samples: int = 32_000) -> bytes:
    """The bytes of the WAV file that was written for the clip."""
    file: Path = media_file(clip.audio_path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(file), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(SAMPLE_RATE_HZ)
        stream.writeframes(bytes(index % 251 for index in range(2 * n_samples)))
    return file.read_bytes()
