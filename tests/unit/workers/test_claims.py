"""How a job ends: done, failed, tried again, cancelled, lost, put back."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from attune.catalog.models import Clip, ClipStatus
from attune.jobs.models import Job, JobState
from attune.jobs.services import claim_job, request_job_cancel
from tests.integration.scene import add_tiny_checkpoint, request_test_clips
from workers import claims
from workers import lease as lease_module
from workers.claims import carry_out, carry_out_job, new_owner
from workers.lease import JobCancelled, Lease, LeaseLost
from workers.outcomes import AttemptFailed

pytestmark = pytest.mark.django_db


def queue_job() -> Job:
    (clip,) = request_test_clips(add_tiny_checkpoint(), 1, duration_s=1.0)
    assert clip.job is not None
    return clip.job


def carry_out_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def raise_error(job: Job, lease: Lease) -> None:
        raise error

    monkeypatch.setattr(claims, "generate_clips", raise_error)
    carry_out("gpu", new_owner())


def test_an_error_nobody_foresaw_is_tried_again_later_and_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = queue_job()
    carry_out_with(monkeypatch, OSError("no space left on device"))
    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.QUEUED, 1)
    assert job.error == "OSError: no space left on device"
    assert job.not_before is not None and job.not_before > timezone.now()


def test_the_last_attempt_ends_the_job_and_its_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue_job()
    Job.objects.filter(pk=job.pk).update(attempts=2)
    carry_out_with(monkeypatch, AttemptFailed("the device fell off"))
    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.FAILED, 3)
    clip = Clip.objects.get()
    assert clip.status == ClipStatus.FAILED and clip.error


def test_a_cancelled_job_ends_its_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue_job()
    carry_out_with(monkeypatch, JobCancelled())
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert Clip.objects.get().status == ClipStatus.FAILED


def test_a_worker_that_is_stopping_puts_its_job_back_uncounted() -> None:
    job = queue_job()
    answers = iter([False, True, True])  # asked to stop once the job was claimed
    carry_out("gpu", new_owner(), is_stopping=lambda: next(answers))
    job.refresh_from_db()
    assert (job.state, job.attempts, job.owner) == (JobState.QUEUED, 0, "")
    assert Clip.objects.get().status == ClipStatus.GENERATING


def test_a_signal_puts_the_job_back_and_still_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = queue_job()
    with pytest.raises(SystemExit):
        carry_out_with(monkeypatch, SystemExit(1))
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


def test_who_lost_the_lease_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue_job()

    def lose(job: Job, lease: Lease) -> None:
        Job.objects.filter(pk=job.pk).update(owner="another worker")
        raise LeaseLost

    monkeypatch.setattr(claims, "generate_clips", lose)
    carry_out("gpu", new_owner())
    job.refresh_from_db()
    assert (job.state, job.owner) == (JobState.RUNNING, "another worker")


def test_a_worker_that_lost_its_lease_records_no_clip() -> None:
    """The work goes on to its end, but every write is fenced by the owner."""
    queue_job()
    job = claim_job(queue="gpu", owner="slow worker", lease_s=30, now=timezone.now())
    assert job is not None
    Job.objects.filter(pk=job.pk).update(owner="another worker")
    lease = Lease(job=job, owner="slow worker", lease_s=30, is_stopping=lambda: False)
    carry_out_job(job, lease)
    assert Clip.objects.get().status == ClipStatus.GENERATING
    job.refresh_from_db()
    assert job.owner == "another worker"


def test_a_loop_that_is_stopping_claims_nothing() -> None:
    job = queue_job()
    assert carry_out("gpu", new_owner(), is_stopping=lambda: True) == 0
    job.refresh_from_db()
    assert job.state == JobState.QUEUED


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_renewal_finds_out_about_a_cancel(is_cancelled: bool) -> None:
    queue_job()
    job = claim_job(queue="gpu", owner="a worker", lease_s=30, now=timezone.now())
    assert job is not None
    lease = Lease(job=job, owner="a worker", lease_s=30, is_stopping=lambda: False)
    if not is_cancelled:
        lease.renew({"share": 0.5}, at_once=True)
        job.refresh_from_db()
        assert job.progress == {"share": 0.5}
        assert job.lease_until is not None
        assert job.lease_until > timezone.now() + timedelta(seconds=28)
        return
    request_job_cancel(job=job, now=timezone.now())
    with pytest.raises(JobCancelled):
        lease.renew(at_once=True)


def test_renewals_are_written_at_most_twice_a_second() -> None:
    queue_job()
    job = claim_job(queue="gpu", owner="a worker", lease_s=30, now=timezone.now())
    assert job is not None
    lease = Lease(job=job, owner="a worker", lease_s=30, is_stopping=lambda: False)
    lease.renew({"share": 0.1}, at_once=True)
    lease.renew({"share": 0.2})
    job.refresh_from_db()
    assert job.progress == {"share": 0.1}


@pytest.mark.django_db(transaction=True)
def test_silent_work_keeps_its_lease_until_it_seems_to_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue_job()
    job = claim_job(queue="gpu", owner="a worker", lease_s=0.6, now=timezone.now())
    assert job is not None
    monkeypatch.setattr(lease_module, "LONGEST_SILENCE_S", 1.5)
    with Lease(job=job, owner="a worker", lease_s=0.6, is_stopping=lambda: False):
        time.sleep(1.2)
        job.refresh_from_db()
        assert job.lease_until is not None and job.lease_until > timezone.now()
        time.sleep(1.8)
        job.refresh_from_db()
        assert job.lease_until is not None and job.lease_until < timezone.now()
