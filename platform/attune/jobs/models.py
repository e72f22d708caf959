"""Queued work. The row is the truth; a broker message only wakes a worker."""

from django.db import models
from django.db.models import F, Q


class JobKind(models.TextChoices):
    """What a job does; `workers` maps each kind to one function."""

    GENERATE_CLIPS = "generate_clips", "generate clips"
    RUN_ROUND = "run_round", "run a round"
    RUN_GATE = "run_gate", "run the gate"
    SCORE_CLIPS = "score_clips", "score clips"


class JobQueue(models.TextChoices):
    """Which workers may claim the job: `device` work needs torch, `default` does not."""

    DEVICE = "gpu", "device"
    DEFAULT = "default", "default"


class JobState(models.TextChoices):
    """QUEUED -> RUNNING -> DONE, FAILED or CANCELLED; a lost lease goes back to QUEUED."""

    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


class Job(models.Model):
    """One piece of queued work with its lease, progress and outcome."""

    kind = models.CharField(max_length=32, choices=JobKind.choices)
    queue = models.CharField(max_length=16, choices=JobQueue.choices)
    arguments = models.JSONField(default=dict)
    priority = models.SmallIntegerField(default=0)
    state = models.CharField(max_length=16, choices=JobState.choices, default=JobState.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    owner = models.CharField(max_length=120, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)
    is_cancel_requested = models.BooleanField(default=False)
    progress = models.JSONField(default=dict)
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["state", "queue", "-priority", "id"], name="job_claim_order"),
            models.Index(fields=["state", "lease_until"], name="job_expired_leases"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="running") | (~Q(owner="") & Q(lease_until__isnull=False)),
                name="running_job_has_an_owner_and_a_lease",
            ),
            models.CheckConstraint(
                condition=Q(attempts__lte=F("max_attempts")),
                name="job_attempts_stay_within_the_maximum",
            ),
            models.CheckConstraint(condition=Q(kind__in=JobKind.values), name="job_kind_is_known"),
            models.CheckConstraint(
                condition=Q(state__in=JobState.values), name="job_state_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"job {self.pk} {self.kind} {self.state}"


class WorkerReport(models.Model):
    """What the newest worker to answer on a queue said of its machine.

    A queue is asked by one message at a time, so that none pile up where nobody answers.
    """

    queue = models.CharField(max_length=16, choices=JobQueue.choices, unique=True)
    asked_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=120, blank=True, default="")
    device = models.CharField(max_length=120, blank=True, default="")
    memory_mb = models.PositiveIntegerField(null=True, blank=True)
    n_cores = models.PositiveIntegerField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.device or 'no answer'} on {self.queue}"
