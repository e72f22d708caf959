"""Fixtures that every test shares: folders of its own, a database file, no broker."""

import pytest
from django.conf import LazySettings
from django.db import connections
from django.utils import translation


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite tests run on a file, as the site does: an in-memory one locks differently."""
    database = connections["default"]
    if database.vendor == "sqlite":
        file = tmp_path_factory.mktemp("database") / "attune.sqlite3"
        database.settings_dict["TEST"]["NAME"] = str(file)


@pytest.fixture(autouse=True)
def _own_folders(settings: LazySettings, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Media, checkpoints and rounds of a test go to a folder of its own."""
    home = tmp_path_factory.mktemp("home")
    settings.ATTUNE_HOME = home
    settings.ATTUNE_MEDIA = home / "media"
    settings.ATTUNE_CHECKPOINTS = home / "checkpoints"
    settings.ATTUNE_ROUNDS = home / "rounds"
    settings.ATTUNE_ENCODER = home / "encoder"


@pytest.fixture(autouse=True)
def _english() -> None:
    """A page that was asked for in German in an earlier test leaves its thread in German."""
    translation.activate("en")


@pytest.fixture(autouse=True)
def woken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queues that were woken, in order; no message leaves, except in `processes` tests."""
    queues: list[str] = []
    if request.node.get_closest_marker("processes") is None:
        monkeypatch.setattr("attune.jobs.services.wake_workers", queues.append)
    return queues
