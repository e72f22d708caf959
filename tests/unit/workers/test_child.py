"""Child processes on real ones: started, read, ended whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers.child import (
    ChildProcess,
    end_left_over_child,
    exit_sentence,
    last_lines,
    start_child,
)

IGNORES_TERM = (
    "import signal, time, pathlib, subprocess, sys\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "pathlib.Path('grandchild').write_text(str(grandchild.pid))\n"
    "time.sleep(60)\n"
)


def start(folder: Path, program: str) -> ChildProcess:
    return start_child(
        [sys.executable, "-c", program],
        folder=folder,
        environment=os.environ,
        log_file=folder / "log.txt",
        pid_file=folder / "child.pid",
    )


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 10
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)
    return path.read_text()


def is_running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_the_exit_code_and_the_last_lines_are_told(tmp_path: Path) -> None:
    child = start(tmp_path, "import sys; print('line one'); print('no such clip'); sys.exit(3)")
    deadline = time.monotonic() + 10
    while (code := child.poll()) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert code == 3
    assert exit_sentence(3) == "The training exited with code 3."
    assert last_lines(tmp_path / "log.txt", 1) == "no such clip"


def test_a_child_that_saves_on_sigterm_ends_with_its_own_code(tmp_path: Path) -> None:
    child = start(
        tmp_path,
        "import signal, sys, time, pathlib\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "pathlib.Path('ready').write_text('1')\n"
        "time.sleep(60)\n",
    )
    wait_for(tmp_path / "ready")
    assert child.end() == 75
    assert not (tmp_path / "child.pid").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_child_that_ignores_sigterm_is_killed_with_all_it_started(tmp_path: Path) -> None:
    child = start(tmp_path, IGNORES_TERM)
    grandchild = int(wait_for(tmp_path / "grandchild"))
    started = time.monotonic()
    assert child.end(grace_s=0.3) == -signal.SIGKILL
    assert time.monotonic() - started < 5
    time.sleep(0.1)
    assert not is_running(grandchild)


def test_a_kill_by_the_kernel_is_named_as_memory() -> None:
    assert "memory ran out" in exit_sentence(-signal.SIGKILL)
    assert exit_sentence(-signal.SIGSEGV) == "The training was ended by signal SIGSEGV."


@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG is Linux's")
def test_a_child_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import os, sys, time, pathlib\n"
        "from workers.child import start_child\n"
        "folder = pathlib.Path('.').resolve()\n"
        "start_child([sys.executable, '-c', 'import time; time.sleep(60)'], folder=folder,\n"
        "    environment=os.environ, log_file=folder / 'log.txt', pid_file=folder / 'child.pid')\n"
        "time.sleep(60)\n"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment)
    child = int(wait_for(tmp_path / "child.pid"))
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 5
    while is_running(child):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


def test_a_left_over_child_is_ended_only_if_it_is_the_one_named(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)", "other"], start_new_session=True
    )
    pid_file = tmp_path / "child.pid"
    try:
        pid_file.write_text(str(other.pid))
        assert not end_left_over_child(pid_file, named="rounds/7")
        assert other.poll() is None
        pid_file.write_text(str(other.pid))
        assert end_left_over_child(pid_file, named="other")
        assert other.wait(timeout=5) == -signal.SIGKILL
    finally:
        if other.poll() is None:
            other.kill()
            other.wait()
    assert not end_left_over_child(pid_file, named="other")
