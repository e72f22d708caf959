import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "deploy"))

from supervisor import (
    Child,
    Site,
    StartError,
    require_free_port,
    running_site,
    site_from_environment,
    stop,
    web_workers,
)


def test_postgresql_is_served_by_two_processes_unless_told() -> None:
    url = {"DATABASE_URL": "postgresql://attune@db/attune"}
    assert web_workers({}) == "1"
    assert web_workers(url) == "2"
    assert web_workers({**url, "WEB_WORKERS": "5"}) == "5"
    for value in ("0", "many", "65"):
        with pytest.raises(StartError, match=f"WEB_WORKERS='{value}': expected a whole number"):
            web_workers({"WEB_WORKERS": value})


def sleeper(tmp_path: Path, code: str) -> Child:
    return Child("sleeper", [sys.executable, "-c", code], dict(os.environ), tmp_path / "log")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("value", ["0", "65536", "http", "-1"])
def test_a_bad_port_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PORT", value)
    with pytest.raises(StartError, match=f"PORT='{value}'"):
        site_from_environment()


def test_port_and_home_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PORT", "8123")
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path))
    assert site_from_environment() == Site(port=8123, home=tmp_path)


def test_a_busy_port_is_named_together_with_a_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port} is in use.*PORT={port + 1}"):
            require_free_port(port)


def test_a_state_file_of_a_dead_stack_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "running.json").write_text(json.dumps({"pid": 2**22 + 1, "port": 1}))
    assert running_site(tmp_path) is None


def test_a_dead_child_is_restarted_after_a_pause(tmp_path: Path) -> None:
    child = sleeper(tmp_path, "import time; time.sleep(60)")
    said: list[str] = []
    child.start()
    assert child.popen is not None
    first = child.popen.pid
    os.kill(first, 9)
    child.popen.wait()
    child.watch(said.append)
    assert child.popen is None
    assert "sleeper ended with code -9" in said[0]
    child.restart_at = 0.0
    child.watch(said.append)
    assert child.popen is not None
    assert child.popen.pid != first
    stop([child])


def test_stopping_ends_grandchildren_too(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    child = sleeper(tmp_path, code)
    child.start()
    wait_until(lambda: child.log_file.exists() and child.log_file.read_text().strip() != "")
    grandchild = int(child.log_file.read_text())
    assert is_alive(grandchild)
    stop([child])
    wait_until(lambda: not is_alive(grandchild))
