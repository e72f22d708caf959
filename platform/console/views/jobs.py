"""Jobs and the workers that carry them out."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from attune.jobs.models import Job, JobState
from console.access import page
from console.pages import csv_answer, show, wants_csv
from console.selectors import job_counts, jobs_at_work, recent_failures

SHOWN_JOBS = 50
CSV_ROWS = 5000
CSV_HEADER = (
    *("id", "kind", "queue", "state", "attempts", "max_attempts", "created_at", "started_at"),
    *("finished_at", "error"),
)


@page
def job_list(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """What runs, what waits, what failed; the live part alone when it is polled."""
    state = request.GET.get("state", "")
    jobs = Job.objects.order_by("-pk")
    if state in JobState.values:
        jobs = jobs.filter(state=state)
    if wants_csv(request):
        rows = jobs.values_list(*CSV_HEADER)[:CSV_ROWS]
        return csv_answer("jobs", CSV_HEADER, rows)
    now = timezone.now()
    return show(
        request,
        "job_live" if request.headers.get("HX-Request") else "job_list",
        section="jobs",
        may_act=may_act,
        jobs=jobs[:SHOWN_JOBS],
        counts=job_counts(),
        workers=jobs_at_work(),
        n_failed=recent_failures(now=now),
        states=JobState.choices,
        state=state,
        now=now,
    )
