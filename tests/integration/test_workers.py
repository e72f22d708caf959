"""Workers as real processes: killed, cancelled, raced and stopped."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.integration.drilling import ROOT
from tests.integration.drills import DRILLS

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture
def database_url() -> Iterator[str]:
    """A PostgreSQL database of its own where DATABASE_URL names a server; "" means SQLite."""
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        yield ""
        return
    import psycopg

    name = f"drill_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize("name", list(DRILLS))
def test_on_real_processes(name: str, tmp_path: Path, database_url: str) -> None:
    environment = {
        **os.environ,
        "ATTUNE_HOME": str(tmp_path / "home"),
        "ATTUNE_ENCODER": str(tmp_path / "encoder"),
        "ATTUNE_JOB_LEASE_S": str(DRILLS[name].lease_s),
        "ATTUNE_MAX_BATCH_CLIPS": "2",
        "ATTUNE_MINIMUM_PREFERENCES": "8",
        "ATTUNE_DEVICE": "cpu",
        "ATTUNE_LOG_LEVEL": "INFO",
        "DATABASE_URL": database_url,
        "BROKER_URL": "",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.drills", name],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
