"""Queued work: what waits, what runs, what failed."""

from datetime import datetime

from django.http import HttpRequest
from ninja import Router, Schema

from api.access import READERS, allow
from api.shapes import Json, Limit
from attune.jobs.models import Job, JobKind, JobQueue, JobState

router = Router(tags=["jobs"], auth=allow(READERS))


class JobAnswer(Schema):
    """One job."""

    id: int
    kind: JobKind
    queue: JobQueue
    state: JobState
    attempts: int
    max_attempts: int
    progress: Json
    error: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@router.get("jobs", response=list[JobAnswer])
def list_jobs(
    request: HttpRequest, state: JobState | None = None, limit: Limit = 50
) -> list[JobAnswer]:
    """Jobs, newest first."""
    jobs = Job.objects.order_by("-pk")
    if state is not None:
        jobs = jobs.filter(state=state)
    return [JobAnswer.from_orm(job) for job in jobs[:limit]]
