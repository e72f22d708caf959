"""Asks the workers of a queue what they run on, and keeps the newest answer."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q

from attune.jobs.models import Job, JobQueue, JobState, WorkerReport
from attune.jobs.waking import ask_worker

ANSWER_LIFETIME_S = 30
PATIENCE_S = 600


@dataclass(frozen=True)
class Machine:
    """What a worker runs on."""

    worker: str
    device: str
    memory_mb: int
    n_cores: int


@transaction.atomic
def request_worker_report(*, queue: JobQueue, now: datetime) -> bool:
    """True if a message went out: the last answer is old, and no question is still open.

    A question that nobody answered is repeated after ten minutes. A queue with running jobs is
    not asked: its workers are heard of by their jobs.
    """
    if Job.objects.filter(queue=queue, state=JobState.RUNNING, lease_until__gte=now).exists():
        return False
    report, is_new = WorkerReport.objects.get_or_create(queue=queue, defaults={"asked_at": now})
    if not is_new:
        is_answered = Q(
            answered_at__gte=F("asked_at"),
            answered_at__lt=now - timedelta(seconds=ANSWER_LIFETIME_S),
        )
        is_given_up = Q(asked_at__lt=now - timedelta(seconds=PATIENCE_S))
        due = WorkerReport.objects.filter(is_answered | is_given_up, pk=report.pk)
        if not due.update(asked_at=now):
            return False
    transaction.on_commit(lambda: ask_worker(str(queue)))
    return True


def record_worker_report(*, queue: JobQueue, machine: Machine, now: datetime) -> None:
    """Stores what a worker answered; the newest answer holds."""
    WorkerReport.objects.update_or_create(
        queue=queue,
        defaults={
            "answered_at": now,
            "worker": machine.worker,
            "device": machine.device,
            "memory_mb": machine.memory_mb,
            "n_cores": machine.n_cores,
        },
        create_defaults={
            "asked_at": now,
            "answered_at": now,
            "worker": machine.worker,
            "device": machine.device,
            "memory_mb": machine.memory_mb,
            "n_cores": machine.n_cores,
        },
    )
