"""Jobs are claimed once, fenced by owner, and come back when their worker is lost."""

import threading
from collections import Counter

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import DjangoCaptureOnCommitCallbacks

from attune.jobs.errors import JobError
from attune.jobs.models import Job, JobKind, JobQueue, JobState
from attune.jobs.services import (
    LOST_WORKER,
    LeaseState,
    claim_job,
    enqueue_job,
    fail_attempt,
    finish_job,
    reap_expired_jobs,
    release_job,
    renew_lease,
    request_job_cancel,
)
from tests.factories import NOW, later

pytestmark = pytest.mark.django_db


def enqueue(priority: int = 0, max_attempts: int = 3, queue: JobQueue = JobQueue.DEVICE) -> Job:
    return enqueue_job(
        kind=JobKind.GENERATE_CLIPS, queue=queue, priority=priority, max_attempts=max_attempts
    )


def claim(owner: str = "one", at: float = 0) -> Job:
    job = claim_job(queue="gpu", owner=owner, lease_s=30, now=later(at))
    assert job is not None
    return job


def state_of(job: Job) -> str:
    return Job.objects.values_list("state", flat=True).get(pk=job.pk)


def test_the_most_urgent_job_is_claimed_first_and_the_oldest_among_equals() -> None:
    low, first, second = enqueue(), enqueue(5), enqueue(5)
    assert [claim().pk, claim().pk, claim().pk] == [first.pk, second.pk, low.pk]


def test_a_claim_takes_only_its_own_queue() -> None:
    enqueue(queue=JobQueue.DEFAULT)
    assert claim_job(queue="gpu", owner="one", lease_s=30, now=NOW) is None


def test_a_claim_writes_owner_lease_and_attempt() -> None:
    enqueue()
    job = claim("one")
    assert (job.state, job.owner, job.attempts) == (JobState.RUNNING, "one", 1)
    assert job.lease_until == later(30)


def test_a_claim_without_a_name_is_refused() -> None:
    with pytest.raises(JobError, match="owner is empty"):
        claim_job(queue="gpu", owner="", lease_s=30, now=NOW)


def test_workers_are_woken_after_commit_and_not_before(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks, woken: list[str]
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        enqueue()
        assert woken == []
    assert woken == ["gpu"]


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_rolled_back_wakes_nobody(woken: list[str]) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        enqueue()
        raise ZeroDivisionError
    assert woken == []
    assert not Job.objects.exists()


def test_a_held_lease_is_extended_with_progress() -> None:
    enqueue()
    job = claim("one")
    state = renew_lease(job=job, owner="one", lease_s=30, now=later(20), progress={"share": 0.5})
    job.refresh_from_db()
    assert state is LeaseState.HELD
    assert (job.lease_until, job.progress) == (later(50), {"share": 0.5})


def test_a_lease_that_another_owner_took_is_lost() -> None:
    enqueue()
    job = claim("one")
    reap_expired_jobs(now=later(31))
    claim("two", at=32)
    assert renew_lease(job=job, owner="one", lease_s=30, now=later(33)) is LeaseState.LOST
    assert not finish_job(job=job, owner="one", state=JobState.DONE, now=later(33))
    assert Job.objects.get(pk=job.pk).owner == "two"


def test_an_outcome_is_stored_once() -> None:
    enqueue()
    job = claim("one")
    assert finish_job(job=job, owner="one", state=JobState.DONE, now=later(5))
    assert not finish_job(job=job, owner="one", state=JobState.FAILED, now=later(6), error="late")
    job.refresh_from_db()
    assert (job.state, job.error, job.finished_at) == (JobState.DONE, "", later(5))


def test_a_job_cannot_finish_as_queued() -> None:
    enqueue()
    with pytest.raises(JobError, match="cannot finish as"):
        finish_job(job=claim(), owner="one", state=JobState.QUEUED, now=NOW)


def test_a_failed_attempt_waits_and_is_tried_again_until_none_is_left() -> None:
    enqueue(max_attempts=2)
    first = claim()
    assert fail_attempt(job=first, owner="one", now=NOW, error="out of memory", delay_s=10)
    assert claim_job(queue="gpu", owner="one", lease_s=30, now=later(9)) is None
    second = claim(at=10)
    assert fail_attempt(job=second, owner="one", now=later(20), error="out of memory")
    second.refresh_from_db()
    assert (second.state, second.error) == (JobState.FAILED, "out of memory")


def test_a_released_job_is_queued_and_its_attempt_is_not_counted() -> None:
    enqueue(max_attempts=1)
    job = claim("one")
    assert not release_job(job=job, owner="two")
    assert release_job(job=job, owner="one")
    assert claim("two").attempts == 1


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_told() -> None:
    queued, running = enqueue(), enqueue(9)
    job = claim("one")
    assert job.pk == running.pk
    assert request_job_cancel(job=queued, now=NOW) is JobState.CANCELLED
    assert request_job_cancel(job=job, now=NOW) is JobState.RUNNING
    state = renew_lease(job=job, owner="one", lease_s=30, now=later(1))
    assert state is LeaseState.CANCEL_REQUESTED
    assert not release_job(job=job, owner="one")


def test_a_finished_job_stays_finished_when_asked_to_cancel() -> None:
    enqueue()
    job = claim()
    finish_job(job=job, owner="one", state=JobState.DONE, now=NOW)
    assert request_job_cancel(job=job, now=NOW) is JobState.DONE
    assert not Job.objects.get(pk=job.pk).is_cancel_requested


def test_reaping_requeues_fails_and_cancels_only_expired_jobs() -> None:
    for attempts in (3, 1, 3, 3):
        enqueue(max_attempts=attempts)
    requeued, failed, cancelled, alive = (claim(f"worker {i}") for i in range(4))
    request_job_cancel(job=cancelled, now=NOW)
    renew_lease(job=alive, owner="worker 3", lease_s=60, now=NOW)
    reaped = reap_expired_jobs(now=later(31))
    assert (reaped.n_requeued, reaped.n_failed, reaped.n_cancelled) == (1, 1, 1)
    states = [state_of(job) for job in (requeued, failed, cancelled, alive)]
    assert states == ["queued", "failed", "cancelled", "running"]
    assert Job.objects.get(pk=failed.pk).error == LOST_WORKER
    assert reap_expired_jobs(now=later(31)).n_requeued == 0


def test_a_failed_attempt_of_a_job_to_cancel_is_not_tried_again() -> None:
    enqueue()
    job = claim()
    request_job_cancel(job=job, now=NOW)
    fail_attempt(job=job, owner="one", now=NOW, error="killed")
    assert state_of(job) == JobState.FAILED


def test_reaping_wakes_queues_whose_message_was_lost(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks, woken: list[str]
) -> None:
    enqueue(queue=JobQueue.DEFAULT)
    with django_capture_on_commit_callbacks(execute=True):
        reaped = reap_expired_jobs(now=NOW)
    assert reaped.woken == ("default",)
    assert woken == ["default"]


def test_a_queue_with_a_busy_worker_is_woken_once_a_minute_only() -> None:
    enqueue()
    enqueue()
    claim_job(queue="gpu", owner="one", lease_s=3600, now=NOW)
    seconds = [at for at in range(0, 120, 5) if reap_expired_jobs(now=later(at)).woken]
    assert seconds == [0, 60]


@pytest.mark.django_db(transaction=True)
def test_of_300_jobs_and_3_claimers_none_is_claimed_twice() -> None:
    Job.objects.bulk_create(
        Job(kind=JobKind.GENERATE_CLIPS, queue=JobQueue.DEVICE) for _ in range(300)
    )
    claimed: dict[str, list[int]] = {f"claimer {index}": [] for index in range(3)}
    errors: list[Exception] = []
    start = threading.Barrier(3)

    def work(owner: str) -> None:
        try:
            start.wait()
            while job := claim_job(queue="gpu", owner=owner, lease_s=30, now=NOW):
                claimed[owner].append(job.pk)
                finish_job(job=job, owner=owner, state=JobState.DONE, now=NOW)
        except Exception as exc:
            errors.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[owner]) for owner in claimed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    times = Counter(pk for pks in claimed.values() for pk in pks)
    assert len(times) == 300
    assert set(times.values()) == {1}
    assert set(Job.objects.values_list("state", "attempts")) == {("done", 1)}
    assert min(len(pks) for pks in claimed.values()) > 0, "the claimers did not run at once"


def test_the_database_refuses_a_running_job_without_a_lease() -> None:
    job = enqueue()
    with pytest.raises(IntegrityError, match="running_job_has_an_owner_and_a_lease"):
        Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING)
