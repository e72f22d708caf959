"""Typed reads of environment variables. A bad value stops the start, by name."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})


class Environment:
    """Reads variables from one mapping, `os.environ` by default.

    Every method raises ImproperlyConfigured with the variable, its value and what is allowed.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = os.environ if variables is None else variables

    def text(self, name: str, default: str = "") -> str:
        """The variable as it stands; an empty one counts as absent."""
        return self._variables.get(name) or default

    def boolean(self, name: str, default: bool) -> bool:
        """True for 1, true, yes, on; False for 0, false, no, off."""
        value = self.text(name).lower()
        if not value:
            return default
        if value in TRUE_WORDS:
            return True
        if value in FALSE_WORDS:
            return False
        allowed = ", ".join(sorted(TRUE_WORDS | FALSE_WORDS))
        raise ImproperlyConfigured(f"{name}={value!r}: expected one of {allowed}")

    def integer(self, name: str, default: int, *, minimum: int, maximum: int) -> int:
        """A whole number within bounds, both included."""
        value = self.text(name)
        if not value:
            return default
        try:
            number = int(value)
        except ValueError as exc:
            raise ImproperlyConfigured(
                f"{name}={value!r}: expected a whole number from {minimum} to {maximum}"
            ) from exc
        if not minimum <= number <= maximum:
            raise ImproperlyConfigured(f"{name}={value}: expected {minimum} to {maximum}")
        return number

    def number(self, name: str, default: float, *, minimum: float, maximum: float) -> float:
        """A number within bounds, both included."""
        value = self.text(name)
        if not value:
            return default
        try:
            number = float(value)
        except ValueError as exc:
            raise ImproperlyConfigured(
                f"{name}={value!r}: expected a number from {minimum} to {maximum}"
            ) from exc
        if not minimum <= number <= maximum:
            raise ImproperlyConfigured(f"{name}={value}: expected {minimum} to {maximum}")
        return number

    def choice(self, name: str, default: str, *, allowed: tuple[str, ...]) -> str:
        """One of the allowed words."""
        value = self.text(name, default)
        if value not in allowed:
            raise ImproperlyConfigured(f"{name}={value!r}: expected one of {', '.join(allowed)}")
        return value

    def path(self, name: str, default: Path) -> Path:
        """An absolute path; a relative one is taken from the working directory."""
        value = self.text(name)
        return Path(value).expanduser().resolve() if value else default

    def words(self, name: str, default: tuple[str, ...] = ()) -> list[str]:
        """A comma-separated list without blanks."""
        value = self.text(name)
        return [word.strip() for word in value.split(",") if word.strip()] or list(default)


def database_settings(url: str, *, sqlite_file: Path) -> dict[str, object]:
    """Django's DATABASES entry for a postgresql:// or sqlite:// URL; SQLite when empty.

    SQLite runs in WAL mode with IMMEDIATE transactions: with deferred ones, concurrent
    writers fail at their first write instead of waiting for each other.
    """
    if not url or url.startswith("sqlite:"):
        parts = urlsplit(url)
        # sqlite:////a/b names /a/b; sqlite:///b names b in the working directory.
        name = unquote(parts.path[1:]) if parts.path.strip("/") else str(sqlite_file)
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": name,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
        }
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        raise ImproperlyConfigured(
            f"DATABASE_URL with scheme {parts.scheme!r} and database {parts.path!r}: expected "
            "postgresql://user:password@host:port/name or sqlite:////absolute/file"
        )
    try:
        port = parts.port
    except ValueError as exc:
        raise ImproperlyConfigured(f"DATABASE_URL with a bad port: {exc}") from exc
    query = dict(parse_qsl(parts.query))
    host = parts.hostname or query.pop("host", "")
    query.pop("host", None)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(port or ""),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"pool": {"min_size": 0, "max_size": 8}, **query},
    }


def broker_settings(url: str, *, folder: Path) -> tuple[str, dict[str, str]]:
    """(broker URL, transport options) for Celery; an embedded folder broker when empty."""
    if not url:
        queue = str(folder)
        return "filesystem://", {
            "data_folder_in": queue,
            "data_folder_out": queue,
            "control_folder": str(folder / "control"),
            "processed_folder": str(folder / "processed"),
        }
    scheme = urlsplit(url).scheme
    if scheme not in {"redis", "rediss", "amqp", "amqps", "pyamqp"}:
        raise ImproperlyConfigured(
            f"BROKER_URL with scheme {scheme!r}: expected redis://, rediss://, amqp:// or amqps://"
        )
    return url, {}
