"""Writes to the jobs table. Claims and outcomes are conditional updates, fenced by owner.

A conditional update that changed one row is a won race on SQLite and PostgreSQL alike;
`select_for_update(skip_locked)` would be ignored on SQLite without a word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F, Q

from attune.jobs.errors import JobError
from attune.jobs.models import Job, JobKind, JobQueue, JobState
from attune.jobs.selectors import claimable_jobs, queues_with_idle_work
from attune.jobs.waking import wake_workers

log = structlog.get_logger(__name__)

FINAL_STATES = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})
LOST_WORKER = "the worker was lost on every attempt"
CLAIM_WINDOW = 5


class LeaseState(Enum):
    """What a renewal found: go on, stop because another owner has it, or stop on request."""

    HELD = "held"
    LOST = "lost"
    CANCEL_REQUESTED = "cancel requested"


@dataclass(frozen=True)
class Reaped:
    """How many expired jobs went where, and which queues were woken."""

    n_requeued: int
    n_failed: int
    n_cancelled: int
    woken: tuple[str, ...]


def enqueue_job(
    *,
    kind: JobKind,
    queue: JobQueue,
    arguments: Mapping[str, Any] | None = None,
    priority: int = 0,
    max_attempts: int = 3,
) -> Job:
    """The new queued job; its queue is woken after the surrounding transaction commits."""
    if max_attempts < 1:
        raise JobError(f"max_attempts={max_attempts}: expected at least 1")
    job = Job.objects.create(
        kind=JobKind(kind),
        queue=JobQueue(queue),
        arguments=dict(arguments or {}),
        priority=priority,
        max_attempts=max_attempts,
    )
    transaction.on_commit(partial(wake_workers, str(job.queue)))
    return job


def claim_job(*, queue: str, owner: str, lease_s: float, now: datetime) -> Job | None:
    """The most urgent queued job, now running under `owner`; None when nothing is queued."""
    if not owner:
        raise JobError("owner is empty: a claim needs a name that no other worker has")
    while candidates := list(
        claimable_jobs(queue=queue, now=now).values_list("pk", flat=True)[:CLAIM_WINDOW]
    ):
        for pk in candidates:
            won = (
                claimable_jobs(queue=queue, now=now)
                .filter(pk=pk)
                .order_by()
                .update(
                    state=JobState.RUNNING,
                    owner=owner,
                    lease_until=now + timedelta(seconds=lease_s),
                    heartbeat_at=now,
                    started_at=now,
                    attempts=F("attempts") + 1,
                    progress={},
                    error="",
                )
            )
            if won:
                job = Job.objects.get(pk=pk)
                log.info("job_claimed", job=pk, kind=job.kind, owner=owner, attempt=job.attempts)
                return job
    return None


def lock_job(*, job: Job, owner: str) -> bool:
    """True if `owner` still runs the job; the row stays locked until the transaction ends."""
    return (
        Job.objects.select_for_update()
        .filter(pk=job.pk, owner=owner, state=JobState.RUNNING)
        .exists()
    )


def renew_lease(
    *,
    job: Job,
    owner: str,
    lease_s: float,
    now: datetime,
    progress: Mapping[str, Any] | None = None,
) -> LeaseState:
    """Extend the lease and note progress; says whether to go on."""
    fields: dict[str, Any] = {
        "lease_until": now + timedelta(seconds=lease_s),
        "heartbeat_at": now,
    }
    if progress is not None:
        fields["progress"] = dict(progress)
    held = Job.objects.filter(pk=job.pk, owner=owner, state=JobState.RUNNING)
    if not held.update(**fields):
        return LeaseState.LOST
    if held.filter(is_cancel_requested=True).exists():
        return LeaseState.CANCEL_REQUESTED
    return LeaseState.HELD


def finish_job(*, job: Job, owner: str, state: JobState, now: datetime, error: str = "") -> bool:
    """True if the outcome was stored; False if the job meanwhile belongs to another owner."""
    if state not in FINAL_STATES:
        allowed = ", ".join(sorted(FINAL_STATES))
        raise JobError(f"a job cannot finish as {state!r}: expected one of {allowed}")
    return _leave(job, owner, state=state, error=error, finished_at=now)


def fail_attempt(*, job: Job, owner: str, now: datetime, error: str, delay_s: float = 0) -> bool:
    """Queue the job again after `delay_s`, or fail it when no attempt is left. Fenced."""
    running = Job.objects.filter(attempts__lt=F("max_attempts"), is_cancel_requested=False)
    retried = running.filter(pk=job.pk, owner=owner, state=JobState.RUNNING).update(
        state=JobState.QUEUED,
        owner="",
        lease_until=None,
        error=error,
        not_before=now + timedelta(seconds=delay_s) if delay_s else None,
    )
    if retried:
        log.info("job_attempt_failed", job=job.pk, attempt=job.attempts, error=error)
        return True
    return finish_job(job=job, owner=owner, state=JobState.FAILED, now=now, error=error)


def release_job(*, job: Job, owner: str) -> bool:
    """Put the job back unworked, as an orderly shutdown does; the attempt is not counted."""
    released = Job.objects.filter(
        pk=job.pk, owner=owner, state=JobState.RUNNING, is_cancel_requested=False
    ).update(
        state=JobState.QUEUED,
        owner="",
        lease_until=None,
        attempts=F("attempts") - 1,
    )
    if released:
        transaction.on_commit(partial(wake_workers, str(job.queue)))
    return bool(released)


def request_job_cancel(*, job: Job, now: datetime) -> JobState:
    """The state after asking: a queued job is cancelled at once, a running one is told."""
    cancelled = Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(
        state=JobState.CANCELLED, is_cancel_requested=True, finished_at=now
    )
    if not cancelled:
        # It may be requeued between the two updates; the flag then keeps it from being claimed
        # and the reaper closes it.
        Job.objects.filter(pk=job.pk, state__in=[JobState.RUNNING, JobState.QUEUED]).update(
            is_cancel_requested=True
        )
    state = JobState(Job.objects.values_list("state", flat=True).get(pk=job.pk))
    log.info("job_cancel_requested", job=job.pk, state=state.value)
    return state


def reap_expired_jobs(*, now: datetime) -> Reaped:
    """Close or requeue the jobs whose lease ran out, then wake queues that have work.

    Each update repeats the condition it relies on, so a lease renewed in between survives,
    and any number of reapers may run at once.
    """
    expired = Job.objects.filter(state=JobState.RUNNING, lease_until__lt=now)
    n_cancelled = Job.objects.filter(
        Q(state=JobState.RUNNING, lease_until__lt=now) | Q(state=JobState.QUEUED),
        is_cancel_requested=True,
    ).update(state=JobState.CANCELLED, owner="", lease_until=None, finished_at=now)
    n_failed = expired.filter(attempts__gte=F("max_attempts")).update(
        state=JobState.FAILED, owner="", lease_until=None, finished_at=now, error=LOST_WORKER
    )
    n_requeued = expired.filter(attempts__lt=F("max_attempts"), is_cancel_requested=False).update(
        state=JobState.QUEUED, owner="", lease_until=None
    )
    if n_cancelled or n_failed or n_requeued:
        log.warning("jobs_reaped", requeued=n_requeued, failed=n_failed, cancelled=n_cancelled)
    woken = queues_with_idle_work(now=now)
    for queue in woken:
        transaction.on_commit(partial(wake_workers, queue))
    return Reaped(n_requeued=n_requeued, n_failed=n_failed, n_cancelled=n_cancelled, woken=woken)


def _leave(job: Job, owner: str, *, state: JobState, error: str, finished_at: datetime) -> bool:
    left = Job.objects.filter(pk=job.pk, owner=owner, state=JobState.RUNNING).update(
        state=state, error=error, owner="", lease_until=None, finished_at=finished_at
    )
    log.info("job_left", job=job.pk, kind=job.kind, state=state.value, stored=bool(left))
    return bool(left)
