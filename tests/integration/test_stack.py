"""`./run` as a newcomer has it: real web, workers and beat on a folder of their own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from tests.tiny import write_tiny_checkpoint

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.processes, pytest.mark.slow]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.2)


def processes_of(home: Path) -> dict[int, str]:
    """Every living process whose environment names the home: pid -> command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"ATTUNE_HOME={home}".encode() in environment and state != "Z":
            found[int(folder.name)] = command
    return found


class Stack:
    def __init__(self, home: Path, starter: Path) -> None:
        self.home = home
        self.port = free_port()
        self.log = home.parent / "run.log"
        self.environment = dict(
            os.environ,
            PORT=str(self.port),
            ATTUNE_HOME=str(home),
            ATTUNE_STARTER=str(starter),
            PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
        )
        # The stack has its own database, never the test run's.
        self.environment.pop("DATABASE_URL", None)
        self.command = [sys.executable, str(ROOT / "deploy" / "commands.py"), "up"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def output(self) -> str:
        return self.log.read_text()

    def manage(self, *words: str) -> str:
        return subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *words],
            env=self.environment, check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip

    def start_again(self, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def get(self, path: str, token: str) -> object:
        request = urllib.request.Request(
            f"http://localhost:{self.port}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    started = Stack(folder / "home", write_tiny_checkpoint(folder / "starter"))
    try:
        wait_until(
            lambda: "Ctrl-C" in started.output() or started.process.poll() is not None,
            90, "the site to be ready",
        )  # fmt: skip
        assert started.process.poll() is None, started.output()
        yield started
    finally:
        if started.process.poll() is None:
            started.process.send_signal(signal.SIGINT)
            started.process.wait(timeout=30)


def test_each_sign_in_link_works_once(stack: Stack) -> None:
    links = re.findall(r"(rater|engineer|reviewer)\s+(http://\S+)", stack.output())
    assert [role for role, _ in links] == ["rater", "engineer", "reviewer"]
    for role, link in links:
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        with opener.open(link, timeout=10) as response:
            assert response.status == 200
            assert ("/arrival/consent" in response.url) == (role == "rater"), response.url
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(link, timeout=10)
        assert refused.value.code == 410


def test_clips_are_made_before_anybody_signs_in(stack: Stack) -> None:
    token = stack.manage("token", "engineer")

    def ready_pairs() -> int:
        study = stack.get("/api/v1/studies/first-listen", token)
        assert isinstance(study, dict)
        return int(study["counts"]["ready"])

    wait_until(lambda: ready_pairs() >= 4, 90, "four ready pairs")


def test_a_second_start_finds_the_first(stack: Stack) -> None:
    done = stack.start_again()
    assert done.returncode == 0
    assert f"already runs on {stack.home}" in done.stdout


def test_a_busy_port_stops_the_start_with_a_sentence(stack: Stack, tmp_path: Path) -> None:
    done = stack.start_again(ATTUNE_HOME=str(tmp_path))
    assert done.returncode == 1
    assert f"port {stack.port} is in use" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_killed_worker_is_restarted(stack: Stack) -> None:
    def device_workers() -> set[int]:
        return {pid for pid, line in processes_of(stack.home).items() if "--queues gpu" in line}

    wait_until(device_workers, 30, "a device worker")
    before = device_workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: device_workers() - before, 30, "a new device worker")


def test_ctrl_c_leaves_no_process(stack: Stack) -> None:
    assert len(processes_of(stack.home)) >= 5
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(timeout=30) == 0
    wait_until(lambda: not processes_of(stack.home), 10, "all processes to end")
    assert "nothing is left running" in stack.output()
