"""What drills on real worker processes are made of: the workers, and waiting for what they do."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 150.0
"""Longer than any of this takes; a busy machine must not fail a drill."""
SHORT_LEASE_S, LONG_LEASE_S = 3, 60


@dataclass(frozen=True)
class Drill:
    """What to do, and how long a lease lasts meanwhile."""

    run: Callable[[], None]
    lease_s: int


DRILLS: dict[str, Drill] = {}


def drill(lease_s: int) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Registers a drill under its function's name."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        DRILLS[function.__name__] = Drill(function, lease_s)
        return function

    return register


def wait_until(holds: Callable[[], Any], seconds: float, what: str) -> Any:
    """Returns the first true answer; AssertionError after the given time."""
    deadline = time.monotonic() + seconds
    while not (answer := holds()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return answer


def prepare_site() -> Any:
    """Migrates an empty database and returns the tiny checkpoint."""
    from django.core.management import call_command

    from tests.integration.scene import add_tiny_checkpoint

    call_command("migrate", verbosity=0)
    return add_tiny_checkpoint()


class Worker:
    """A real Celery worker in a process group of its own."""

    def __init__(self, queue: str, *, has_beat: bool = False) -> None:
        from django.conf import settings

        self.name = f"{queue}-{uuid.uuid4().hex[:6]}"
        self.log_file = Path(settings.ATTUNE_HOME) / f"{self.name}.log"
        beat = ["--beat", "--schedule", str(settings.ATTUNE_HOME / f"{self.name}.beat")]
        command = [
            *(sys.executable, "-m", "celery", "--app", "config", "worker"),
            *("--queues", queue, "--concurrency", "1", "--pool", "prefork"),
            *("--hostname", f"{self.name}@%h", "--without-gossip", "--without-mingle"),
            *("--loglevel", "INFO"),
            *(beat if has_beat else []),
        ]
        with self.log_file.open("ab") as log:
            self.popen = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def signal(self, number: signal.Signals) -> None:
        """Signals the worker and its pool, as an operator or the kernel would."""
        os.killpg(self.popen.pid, number)

    def kill(self) -> None:
        """Kills the worker and its pool at once."""
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> None:
        """Ends the worker if it still runs."""
        if self.popen.poll() is None:
            self.kill()

    def is_ready(self) -> bool:
        """Whether it has said that it listens."""
        return " ready." in self.log()

    def log(self) -> str:
        """What it has printed."""
        return self.log_file.read_text(errors="replace")


@contextmanager
def workers(*queues: str) -> Iterator[list[Worker]]:
    """Runs a default worker with beat, and one worker a named queue, for the block."""
    started = [Worker("default", has_beat=True), *(Worker(queue) for queue in queues)]
    try:
        yield started
    except BaseException:
        for worker in started:
            sys.stderr.write(f"\n--- {worker.name}\n{worker.log()[-6000:]}\n")
        raise
    finally:
        for worker in started:
            worker.stop()
