"""Clips on real worker processes: killed in the middle, raced for, and put back."""

import hashlib
import signal
import uuid
from datetime import datetime

from tests.integration.drilling import (
    LONG_LEASE_S,
    PATIENCE_S,
    SHORT_LEASE_S,
    Worker,
    drill,
    prepare_site,
    wait_until,
    workers,
)


def assert_clips_whole(n_clips: int) -> None:
    """Every clip is READY once and its files are those that were hashed."""
    from attune.catalog.models import Clip, ClipStatus
    from attune.catalog.storage import media_file

    clips = list(Clip.objects.all())
    assert len(clips) == n_clips
    assert {clip.status for clip in clips} == {ClipStatus.READY}, [clip.error for clip in clips]
    for clip in clips:
        for path, expected in (
            (clip.codes_path, clip.codes_sha256),
            (clip.audio_path, clip.audio_sha256),
        ):
            found = hashlib.sha256(media_file(path).read_bytes()).hexdigest()
            assert found == expected, f"{path} differs from what was recorded"
    drafts = [path for path in media_file("clips").rglob("*") if path.name.startswith(".")]
    assert not drafts, f"half-written files were left: {drafts}"


@drill(SHORT_LEASE_S)
def a_worker_killed_in_mid_clip_loses_and_doubles_nothing() -> None:
    from attune.catalog.models import Clip, ClipStatus
    from attune.jobs.models import Job, JobState
    from tests.integration.scene import request_test_clips

    n_clips = 12
    request_test_clips(prepare_site(), n_clips, duration_s=20.0)
    with workers("gpu") as (_, device):

        def is_mid_clip() -> bool:
            """Some clips are ready, others being made."""
            statuses = set(Clip.objects.values_list("status", flat=True))
            return {ClipStatus.READY, ClipStatus.GENERATING} <= statuses

        wait_until(is_mid_clip, PATIENCE_S, "a job in mid-clip")
        device.kill()
        before = ready_clips()
        assert 0 < len(before) < n_clips
        replacement = Worker("gpu")
        try:
            wait_until(
                lambda: not Job.objects.exclude(state=JobState.DONE).exists(),
                PATIENCE_S,
                "all jobs",
            )
        finally:
            replacement.stop()
    assert_clips_whole(n_clips)
    after = ready_clips()
    assert {pk: after[pk] for pk in before} == before, "a clip that was ready was made again"
    attempts = sorted(Job.objects.values_list("attempts", flat=True))
    assert attempts == [1] * (len(attempts) - 1) + [2], attempts


def ready_clips() -> dict[uuid.UUID, tuple[str, datetime | None]]:
    """What identifies each ready clip's making: its audio's hash and the time."""
    from attune.catalog.models import Clip, ClipStatus

    return {
        clip.pk: (clip.audio_sha256, clip.ready_at)
        for clip in Clip.objects.filter(status=ClipStatus.READY)
    }


@drill(LONG_LEASE_S)
def several_workers_never_do_one_job_twice() -> None:
    from attune.jobs.models import Job, JobState
    from tests.integration.scene import request_test_clips

    n_clips = 40
    checkpoint = prepare_site()
    with workers("gpu", "gpu", "gpu") as started:
        for worker in started:
            wait_until(worker.is_ready, PATIENCE_S, "a worker to start")
        request_test_clips(checkpoint, n_clips, duration_s=5.0)
        wait_until(
            lambda: not Job.objects.exclude(state=JobState.DONE).exists(), PATIENCE_S, "all jobs"
        )
        logs = [worker.log() for worker in started[1:]]
    assert_clips_whole(n_clips)
    assert set(Job.objects.values_list("attempts", flat=True)) == {1}
    claims = [log.count("job_claimed") for log in logs]
    assert sum(claims) == Job.objects.count(), claims
    assert sum(n > 0 for n in claims) > 1, f"one worker did everything: {claims}"


@drill(LONG_LEASE_S)
def a_worker_asked_to_stop_puts_its_job_back_at_once() -> None:
    from attune.jobs.models import Job, JobState
    from tests.integration.scene import request_test_clips

    n_clips = 2
    request_test_clips(prepare_site(), n_clips, duration_s=30.0)
    with workers() as started:
        for is_whole_group in (False, True):
            device = Worker("gpu")
            started.append(device)
            in_mid_clip = Job.objects.filter(state=JobState.RUNNING, progress__share__gt=0.0)
            wait_until(in_mid_clip.exists, PATIENCE_S, "a job in mid-clip")
            # The parent tells its pool; a supervisor's signal reaches the pool by itself.
            (device.signal if is_whole_group else device.popen.send_signal)(signal.SIGTERM)
            device.popen.wait(timeout=PATIENCE_S)
            job = Job.objects.get()
            assert (job.state, job.attempts, job.owner) == (JobState.QUEUED, 0, "")
        started.append(Worker("gpu"))
        unfinished = Job.objects.exclude(state=JobState.DONE)
        wait_until(lambda: not unfinished.exists(), PATIENCE_S, "the job")
    assert_clips_whole(n_clips)
    assert Job.objects.get().attempts == 1
