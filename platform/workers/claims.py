"""The claim loop: takes queued jobs one by one, carries each out, and records how it ended."""

import os
import socket
import uuid
from collections.abc import Callable
from typing import assert_never

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from attune.jobs.models import Job, JobKind, JobState
from attune.jobs.services import claim_job, fail_attempt, finish_job, release_job
from workers.clips import generate_clips
from workers.gate import run_gate
from workers.lease import JobCancelled, Lease, LeaseLost, WorkerStopping
from workers.outcomes import AttemptFailed, WorkFailed
from workers.scoring import score_clips
from workers.settlement import settle_cancelled_job, settle_failed_job
from workers.training import run_round

RETRY_DELAY_S = 5.0

logger = structlog.get_logger(__name__)


def new_owner() -> str:
    """Returns a name that no other claim loop has."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:12]}"


def never() -> bool:
    """The stop question of a worker that is not told to stop."""
    return False


def carry_out(queue: str, owner: str, *, is_stopping: Callable[[], bool] = never) -> int:
    """Carries out the queue's jobs until none can be claimed; returns how many were taken."""
    n_taken = 0
    while not is_stopping():
        job = claim_job(
            queue=queue, owner=owner, lease_s=settings.ATTUNE_JOB_LEASE_S, now=timezone.now()
        )
        if job is None:
            break
        n_taken += 1
        lease = Lease(
            job=job, owner=owner, lease_s=settings.ATTUNE_JOB_LEASE_S, is_stopping=is_stopping
        )
        carry_out_job(job, lease)
    return n_taken


def carry_out_job(job: Job, lease: Lease) -> None:
    """Does the job's work once and records the outcome, fenced by the lease's owner."""
    log = logger.bind(job=job.pk, kind=job.kind, attempt=job.attempts)
    try:
        with lease:
            when_done = do_work(job, lease)
    except LeaseLost:
        log.warning("lease_lost")
    except JobCancelled:
        _end(job, lease, JobState.CANCELLED, "")
    except WorkerStopping:
        _give_back(job, lease)
    except (SystemExit, KeyboardInterrupt):
        _give_back(job, lease)
        raise
    except WorkFailed as exc:
        log.warning("job_failed", error=str(exc))
        _end(job, lease, JobState.FAILED, str(exc))
    except AttemptFailed as exc:
        log.warning("attempt_failed", error=str(exc))
        _try_again(job, lease, str(exc))
    except Exception as exc:
        # The claim loop is where every error ends: the row keeps it, the log its traceback.
        log.exception("job_crashed")
        _try_again(job, lease, f"{type(exc).__name__}: {exc}")
    else:
        with transaction.atomic():
            is_held = finish_job(
                job=job, owner=lease.owner, state=JobState.DONE, now=timezone.now()
            )
            if is_held and when_done is not None:
                when_done()


def do_work(job: Job, lease: Lease) -> Callable[[], object] | None:
    """Calls what the job's kind stands for.

    Returns what belongs into the transaction that marks the job done, or None.
    """
    kind = JobKind(job.kind)
    match kind:
        case JobKind.GENERATE_CLIPS:
            generate_clips(job, lease)
        case JobKind.RUN_ROUND:
            return run_round(job, lease)
        case JobKind.RUN_GATE:
            run_gate(job, lease)
        case JobKind.SCORE_CLIPS:
            score_clips(job, lease)
        case _:
            assert_never(kind)
    return None


def _end(job: Job, lease: Lease, state: JobState, error: str) -> None:
    """Ends the job for good, and what hangs on it in the same transaction."""
    with transaction.atomic():
        if not finish_job(job=job, owner=lease.owner, state=state, now=timezone.now(), error=error):
            return
        if state is JobState.CANCELLED:
            settle_cancelled_job(job=job)
        else:
            settle_failed_job(job=job, error=error)


def _give_back(job: Job, lease: Lease) -> None:
    if not release_job(job=job, owner=lease.owner):
        _end(job, lease, JobState.CANCELLED, "")  # its end was asked for in the same moment


def _try_again(job: Job, lease: Lease, error: str) -> None:
    if job.attempts >= job.max_attempts:
        _end(job, lease, JobState.FAILED, error)
        return
    fail_attempt(job=job, owner=lease.owner, now=timezone.now(), error=error, delay_s=RETRY_DELAY_S)
