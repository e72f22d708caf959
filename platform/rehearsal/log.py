"""Lines that say how far a rehearsal is, each with the time since its start."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rehearsal.report import clock


class Log:
    """Writes progress lines and keeps how long each phase took."""

    def __init__(
        self,
        write: Callable[[str], object] = sys.stdout.write,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._now_s = now_s
        self._started_s = now_s()
        self.phases: list[tuple[str, float]] = []

    def say(self, text: str) -> None:
        """Writes one line at once, also when the output is a file."""
        self._write(f"[{clock(self._now_s() - self._started_s):>6}] {text}\n")
        sys.stdout.flush()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times a phase, also one that ends in an error."""
        began_s = self._now_s()
        try:
            yield
        finally:
            self.phases.append((name, self._now_s() - began_s))
