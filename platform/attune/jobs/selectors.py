"""Reads of the jobs table that follow a rule."""

from datetime import datetime

from django.db.models import F, Q, QuerySet

from attune.jobs.models import Job, JobQueue, JobState, WorkerReport

BUSY_WAKE_INTERVAL_S = 60
BUSY_WAKE_WINDOW_S = 5


def claimable_jobs(*, queue: str, now: datetime) -> QuerySet[Job]:
    """Queued jobs whose time has come, most urgent first."""
    return Job.objects.filter(
        Q(not_before__isnull=True) | Q(not_before__lte=now),
        queue=queue,
        state=JobState.QUEUED,
        is_cancel_requested=False,
        attempts__lt=F("max_attempts"),
    ).order_by("-priority", "id")


def queues_with_idle_work(*, now: datetime) -> tuple[str, ...]:
    """Queues to wake: they have claimable jobs.

    A queue with running jobs is named only in the first seconds of each minute: its workers
    claim on by themselves, and messages to a worker that trains for hours would pile up.
    """
    is_busy_window = now.timestamp() % BUSY_WAKE_INTERVAL_S < BUSY_WAKE_WINDOW_S
    found = []
    for queue in JobQueue.values:
        if not claimable_jobs(queue=queue, now=now).exists():
            continue
        is_busy = Job.objects.filter(
            queue=queue, state=JobState.RUNNING, lease_until__gte=now
        ).exists()
        if is_busy_window or not is_busy:
            found.append(queue)
    return tuple(found)


def active_jobs() -> QuerySet[Job]:
    """Jobs that are queued or running, most urgent first."""
    return Job.objects.filter(state__in=[JobState.QUEUED, JobState.RUNNING]).order_by(
        "-priority", "id"
    )


def busy_workers(*, queue: str, now: datetime) -> list[datetime]:
    """When each worker that is at work on the queue was last heard of."""
    heard = Job.objects.filter(
        queue=queue, state=JobState.RUNNING, lease_until__gte=now
    ).values_list("heartbeat_at", flat=True)
    return [time for time in heard if time is not None]


def find_worker_report(queue: str) -> WorkerReport | None:
    """What the newest worker to answer on the queue said, or that it was asked; None before."""
    return WorkerReport.objects.filter(queue=queue).first()
