"""A claimed job's lease: renewed while the work goes on, and the reasons to stop it."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import assert_never

from django.db import connection
from django.utils import timezone

from attune.jobs.models import Job
from attune.jobs.services import LeaseState, renew_lease

RENEWAL_INTERVAL_S = 0.5
LONGEST_LOAD_S = 300.0


class Interruption(Exception):
    """Base of the reasons for which work stops before it is done."""


class JobCancelled(Interruption):
    """Somebody asked for the job to end."""


class LeaseLost(Interruption):
    """Another worker may own the job now; nothing more may be written."""


class WorkerStopping(Interruption):
    """This worker is being shut down in order; the job goes back to the queue."""


class Lease:
    """The right to work on one job, which must be renewed to be kept.

    Work calls `renew` as often as it likes, from its inner loops; the row is written at most
    twice a second. Renewing in the loop that works, and not in a thread beside it, lets the
    lease of a worker that hangs run out.
    """

    def __init__(
        self, *, job: Job, owner: str, lease_s: float, is_stopping: Callable[[], bool]
    ) -> None:
        self.job = job
        self.owner = owner
        self._lease_s = lease_s
        self._is_stopping = is_stopping
        self._renewed_at_s = time.monotonic()

    def renew(self, progress: Mapping[str, object] | None = None, *, at_once: bool = False) -> None:
        """Keeps the lease; raises an Interruption when the work has to stop."""
        if self._is_stopping():
            raise WorkerStopping
        now_s = time.monotonic()
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

    @contextmanager
    def kept_while_loading(self, longest_s: float = LONGEST_LOAD_S) -> Iterator[None]:
        """Renews the lease from a thread for the block, which cannot call `renew` itself.

        Reading libraries and weights from a cold disk can outlast a lease. After the longest
        time the thread gives up, so that a load that hangs still loses the job.
        """
        loaded = threading.Event()
        deadline_s = time.monotonic() + longest_s

        def keep() -> None:
            try:
                while not loaded.wait(self._lease_s / 3) and time.monotonic() < deadline_s:
                    self._renew_row(None)
            finally:
                connection.close()

        thread = threading.Thread(target=keep, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            loaded.set()
            thread.join()
        self.renew(at_once=True)

    def _renew_row(self, progress: Mapping[str, object] | None) -> LeaseState:
        return renew_lease(
            job=self.job,
            owner=self.owner,
            lease_s=self._lease_s,
            now=timezone.now(),
            progress=progress,
        )
