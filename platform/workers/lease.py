"""A claimed job's lease: renewed while the work goes on, and the reasons to stop it."""

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, assert_never

import structlog
from django.db import DatabaseError, connection
from django.utils import timezone

from attune.jobs.models import Job
from attune.jobs.services import LeaseState, renew_lease

RENEWAL_INTERVAL_S = 0.5
LONGEST_SILENCE_S = 300.0
"""Work that has not called `renew` for so long hangs, and may lose its job."""

logger = structlog.get_logger(__name__)


class Interruption(Exception):
    """Base of the reasons for which work stops before it is done."""


class JobCancelled(Interruption):
    """Somebody asked for the job to end."""


class LeaseLost(Interruption):
    """Another worker may own the job now; nothing more may be written."""


class WorkerStopping(Interruption):
    """This worker is being shut down in order; the job goes back to the queue."""


class Lease:
    """The right to work on one job, kept for the length of a `with` block.

    Work calls `renew` as often as it likes, from its inner loops: that is how it notes
    progress and hears that it has to stop; the row is written at most twice a second. Between
    two calls a thread keeps the lease, because reading weights from a cold disk or decoding a
    large batch on a busy machine can outlast it. The thread gives up on work that hangs.
    """

    def __init__(
        self, *, job: Job, owner: str, lease_s: float, is_stopping: Callable[[], bool]
    ) -> None:
        self.job = job
        self.owner = owner
        self._lease_s = lease_s
        self._is_stopping = is_stopping
        self._renewed_at_s = self._called_at_s = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def renew(self, progress: Mapping[str, object] | None = None, *, at_once: bool = False) -> None:
        """Keeps the lease; raises an Interruption when the work has to stop."""
        if self._is_stopping():
            raise WorkerStopping
        now_s = self._called_at_s = time.monotonic()
        if not at_once and now_s - self._renewed_at_s < RENEWAL_INTERVAL_S:
            return
        self._renewed_at_s = now_s
        state = self._renew_row(progress)
        match state:
            case LeaseState.HELD:
                return
            case LeaseState.LOST:
                raise LeaseLost
            case LeaseState.CANCEL_REQUESTED:
                raise JobCancelled
            case _:
                assert_never(state)

    def _keep(self) -> None:
        """Renews the row while the work is silent, though not for ever."""
        try:
            while not self._ended.wait(self._lease_s / 3):
                silence_s = time.monotonic() - self._called_at_s
                if silence_s > LONGEST_SILENCE_S:
                    logger.error("work_hangs", job=self.job.pk, silence_s=round(silence_s))
                    return
                try:
                    self._renew_row(None)
                except DatabaseError as exc:
                    logger.warning("lease_not_renewed", job=self.job.pk, error=str(exc))
        finally:
            connection.close()

    def _renew_row(self, progress: Mapping[str, object] | None) -> LeaseState:
        return renew_lease(
            job=self.job,
            owner=self.owner,
            lease_s=self._lease_s,
            now=timezone.now(),
            progress=progress,
        )
