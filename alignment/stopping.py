"""How a run is asked to stop."""

from __future__ import annotations

import signal
from types import FrameType

from alignment.errors import StopRequested


class StopSwitch:
    """Remembers that SIGTERM or SIGINT came, so that a run can stop where it is safe."""

    def __init__(self) -> None:
        self.requested = False

    def install(self) -> None:
        """Listens to both signals instead of dying of them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def _remember(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True

    def raise_if_requested(self) -> None:
        """Raises StopRequested once a signal came."""
        if self.requested:
            raise StopRequested("the run was asked to stop")
