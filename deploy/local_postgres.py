"""A throw-away PostgreSQL server for tests, from whatever binaries are installed."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

UNPRIVILEGED_USER = "nobody"


def find_binaries() -> Path | None:
    """The folder that holds initdb, pg_ctl and postgres, or None."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        candidates.insert(0, Path(on_path).resolve().parent)
    for folder in candidates:
        if all((folder / name).exists() for name in ("initdb", "pg_ctl", "postgres")):
            return folder
    return None


@contextlib.contextmanager
def temporary_server(binaries: Path) -> Iterator[str]:
    """The DATABASE_URL of a fresh server on a Unix socket; it is gone after the block.

    initdb refuses to run as root, so root hands over to an unprivileged user.
    """
    folder = Path(tempfile.mkdtemp(prefix="attune-pg-", dir="/tmp"))
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED_USER)
        os.chown(folder, user.pw_uid, user.pw_gid)
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def call(name: str, *arguments: str) -> None:
        subprocess.run(
            [str(binaries / name), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            **identity,
        )

    data = folder / "data"
    try:
        call(
            "initdb", "--pgdata", str(data), "--username", "attune", "--auth", "trust",
            "--encoding", "UTF8", "--no-sync",
        )  # fmt: skip
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        call(
            "pg_ctl", "--wait", "--pgdata", str(data), "--log", str(folder / "server.log"),
            "--options", options, "start",
        )  # fmt: skip
        try:
            yield f"postgresql://attune@/postgres?host={folder}"
        finally:
            call("pg_ctl", "--wait", "--mode", "immediate", "--pgdata", str(data), "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
