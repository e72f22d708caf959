"""A child process in a group of its own: started with a log file, watched, and ended whole."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
ENDING_GRACE_S = 10.0
SHOWN_LOG_LINES = 20
SHOWN_LOG_BYTES = 16_384
OUT_OF_MEMORY_CODE = 76
MEMORY_ADVICE = (
    "Less is needed with a smaller batch and as many times more accumulation_steps, with "
    "gradient_checkpointing, or with shorter clips."
)

# Looked up before any fork: between fork and exec, loading a library could deadlock.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """Asks Linux to kill this process when the worker that started it dies, however it dies."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class ChildProcess:
    """One started command, with the file that says which process it is."""

    def __init__(self, popen: "subprocess.Popen[bytes]", pid_file: Path) -> None:
        self._popen = popen
        self._pid_file = pid_file

    @property
    def pid(self) -> int:
        """The process, and the group it leads."""
        return self._popen.pid

    def poll(self) -> int | None:
        """Returns the exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def end(self, grace_s: float = ENDING_GRACE_S) -> int:
        """Asks the group to end, insists after the grace, and returns the exit code."""
        self._signal_group(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=grace_s)
        self._signal_group(signal.SIGKILL)
        code = self._popen.wait()
        self._pid_file.unlink(missing_ok=True)
        return code

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)


def start_child(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log_file: Path,
    pid_file: Path,
) -> ChildProcess:
    """Starts a command in a folder; what it prints is appended to the log file."""
    with log_file.open("ab") as log:
        popen = subprocess.Popen(
            list(command),
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 (calls one libc function, no locks)
        )
    pid_file.write_text(str(popen.pid))
    return ChildProcess(popen, pid_file)


def end_left_over_child(pid_file: Path, *, named: str) -> bool:
    """Kills the group of a child that outlived its worker; True when there was one.

    Only a process whose command line still holds `named` is touched, because the number may
    have gone to another program. Elsewhere than on Linux children can outlive their worker.
    """
    try:
        pid = int(pid_file.read_text())
        command = subprocess.run(
            ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout
    except (OSError, ValueError):
        return False
    pid_file.unlink(missing_ok=True)
    if named not in command:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return True


def last_lines(log_file: Path, n_lines: int = SHOWN_LOG_LINES) -> str:
    """Returns the end of a log file, for people."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(0, log_file.stat().st_size - SHOWN_LOG_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(line for line in text.splitlines()[-n_lines:] if line.strip())


def exit_sentence(code: int) -> str:
    """Returns how the training ended, as a sentence for people."""
    if code == 0:
        return "The training ended without a result."
    if code == -signal.SIGKILL:
        return (
            f"The training was killed by signal 9, most likely because memory ran out. "
            f"{MEMORY_ADVICE}"
        )
    if code == OUT_OF_MEMORY_CODE:
        return f"The training ran out of memory. {MEMORY_ADVICE}"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        return f"The training was ended by signal {name}."
    return f"The training exited with code {code}."
