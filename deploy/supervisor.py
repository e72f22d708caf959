"""Starts web, workers and beat, restarts what dies, and leaves no process behind.

Run inside the virtual environment: `python deploy/supervisor.py`. Standard library only.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PR_SET_PDEATHSIG = 1
STOP_GRACE_S = 15.0  # a trainer in its child process saves before it ends
RESTART_PAUSE_S = 1.0
LONGEST_RESTART_PAUSE_S = 30.0


class StartError(Exception):
    """The stack cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Site:
    """Where a stack serves and keeps its state."""

    port: int
    home: Path

    @property
    def address(self) -> str:
        """The site's address on this machine."""
        return f"http://localhost:{self.port}"

    @property
    def state_file(self) -> Path:
        """Tells other commands which stack runs on this home."""
        return self.home / "running.json"


def site_from_environment() -> Site:
    """PORT (8000 by default) and ATTUNE_HOME (var/ by default), checked."""
    value = os.environ.get("PORT") or "8000"
    if not value.isdigit() or not 1 <= int(value) <= 65535:
        raise StartError(f"PORT={value!r}: expected a whole number from 1 to 65535")
    home = Path(os.environ.get("ATTUNE_HOME") or ROOT / "var").expanduser().resolve()
    return Site(port=int(value), home=home)


def running_site(home: Path) -> Site | None:
    """The stack that runs on this home, or None."""
    try:
        state = json.loads((home / "running.json").read_text())
        os.kill(state["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    site = Site(port=state["port"], home=home)
    return site if answers(site) else None


def answers(site: Site) -> bool:
    """Whether the site answers a request now; asked as a front server would, over HTTPS."""
    probe = urllib.request.Request(
        f"{site.address}/sign-in", headers={"X-Forwarded-Proto": "https"}
    )
    try:
        with urllib.request.urlopen(probe, timeout=2) as response:
            return bool(response.status < 500)
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def require_free_port(port: int) -> None:
    """Raise StartError when something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as exc:
            raise StartError(
                f"port {port} is in use by another program: stop it, or choose a free one "
                f"with PORT={port + 1} ./run"
            ) from exc


def end_with_parent() -> None:
    """Ask Linux to end this process when the supervisor dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    """One supervised process in its own process group, with its log file."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log_file: Path
    popen: subprocess.Popen[bytes] | None = None
    restart_at: float = 0.0
    pause_s: float = RESTART_PAUSE_S
    started_at: float = field(default=0.0)

    def start(self) -> None:
        """Start the process; its output goes to the log file."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self.popen = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 (started before any thread)
            )
        self.started_at = time.monotonic()

    def signal_group(self, number: int) -> None:
        """Send a signal to the process and all it started in its group."""
        if self.popen is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.popen.pid, number)

    def watch(self, say: Callable[[str], None]) -> None:
        """Restart the process when it has ended; wait longer each time it ends at once."""
        now = time.monotonic()
        if self.popen is None:
            if now >= self.restart_at:
                self.start()
            return
        code = self.popen.poll()
        if code is None:
            if now - self.started_at > LONGEST_RESTART_PAUSE_S:
                self.pause_s = RESTART_PAUSE_S
            return
        self.signal_group(signal.SIGKILL)
        say(f"{self.name} ended with code {code}; restarting in {self.pause_s:.0f} s")
        self.popen = None
        self.restart_at = now + self.pause_s
        self.pause_s = min(self.pause_s * 2, LONGEST_RESTART_PAUSE_S)


def web_workers(environment: dict[str, str]) -> str:
    """How many processes serve pages: WEB_WORKERS, else two beside PostgreSQL and one on SQLite."""
    default = "2" if environment.get("DATABASE_URL", "").startswith("postgres") else "1"
    value = environment.get("WEB_WORKERS") or default
    if not value.isdigit() or not 1 <= int(value) <= 64:
        raise StartError(f"WEB_WORKERS={value!r}: expected a whole number from 1 to 64")
    return value


def children_of(site: Site, environment: dict[str, str]) -> list[Child]:
    """The processes of a stack: web, one worker per queue, and beat."""
    binaries = Path(sys.executable).parent
    celery = [str(binaries / "celery"), "--app", "config", "--workdir", str(ROOT)]
    quiet = ["--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    commands = {
        "web": [
            str(binaries / "granian"), "--interface", "wsgi", "--host", "127.0.0.1",
            "--port", str(site.port), "--workers", web_workers(environment),
            "--blocking-threads", "8",
            "--no-ws", "--log-level", "warning", "config.wsgi:application",
        ],
        "device worker": [
            *celery, "worker", "--queues", "gpu", "--concurrency", "1", "--pool", "prefork",
            "--hostname", "device@%h", *quiet,
        ],
        "default worker": [
            *celery, "worker", "--queues", "default", "--concurrency", "1", "--pool", "prefork",
            "--hostname", "default@%h", *quiet,
        ],
        "beat": [
            *celery, "beat", "--scheduler", "celery.beat:Scheduler", "--pidfile", "",
            "--loglevel", "WARNING",
        ],
    }  # fmt: skip
    return [
        Child(
            name=name,
            command=command,
            environment=environment,
            log_file=site.home / "log" / f"{name.replace(' ', '-')}.log",
        )
        for name, command in commands.items()
    ]


def stack_environment(site: Site) -> dict[str, str]:
    """The children's environment: this one, with the home, the path and one thread a process."""
    environment = dict(os.environ)
    environment["ATTUNE_HOME"] = str(site.home)
    environment["DJANGO_SETTINGS_MODULE"] = "config.settings"
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    environment["PYTHONUNBUFFERED"] = "1"
    environment.setdefault("OMP_NUM_THREADS", "1")
    return environment


def stop(children: list[Child]) -> None:
    """End every process group: ask first, then insist. Returns when all are gone."""
    for child in children:
        child.signal_group(signal.SIGTERM)
    deadline = time.monotonic() + STOP_GRACE_S
    for child in children:
        if child.popen is None:
            continue
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.popen.wait(timeout=max(0.0, deadline - time.monotonic()))
        child.signal_group(signal.SIGKILL)
        child.popen.wait()


@contextlib.contextmanager
def serving(site: Site) -> Iterator[list[Child]]:
    """Run a stack for the length of the block, once the site answers."""
    require_free_port(site.port)
    (site.home / "static").mkdir(parents=True, exist_ok=True)
    children = children_of(site, stack_environment(site))
    try:
        for child in children:
            child.start()
        site.state_file.write_text(json.dumps({"pid": os.getpid(), "port": site.port}))
        deadline = time.monotonic() + 60
        while not answers(site):
            web = children[0]
            if web.popen is not None and web.popen.poll() is not None:
                raise StartError(f"the web process ended at once; see {web.log_file}")
            if time.monotonic() > deadline:
                raise StartError(f"the site did not answer within 60 s; see {web.log_file}")
            time.sleep(0.1)
        yield children
    finally:
        stop(children)
        site.state_file.unlink(missing_ok=True)


def watch_until_stopped(children: list[Child], say: Callable[[str], None]) -> None:
    """Keep the children alive until SIGINT or SIGTERM."""
    stopping = False

    def request_stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)
    while not stopping:
        for child in children:
            child.watch(say)
        time.sleep(0.2)


@contextlib.contextmanager
def watching(children: list[Child], say: Callable[[str], None]) -> Iterator[None]:
    """Keep the children alive from a second thread for the length of the block."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            for child in children:
                child.watch(say)

    thread = threading.Thread(target=watch, name="supervisor")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
