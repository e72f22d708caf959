"""Clips made by the tiny checkpoint through the real claim loop."""

import hashlib
from dataclasses import asdict

import numpy as np
import pytest
import soundfile
from django.conf import LazySettings

from attune.catalog.models import Clip, ClipStatus
from attune.catalog.storage import media_file
from attune.jobs.models import Job, JobState
from attune.ratings.choices import PairPurpose
from attune.ratings.models import Pair
from attune.ratings.services import request_pairs
from generator.lm.sampling import SamplingSettings
from tests.integration.scene import add_tiny_checkpoint, create_rated_study, request_test_clips
from workers.claims import carry_out, new_owner
from workers.generators import WARM_GENERATORS, WarmGenerators

pytestmark = pytest.mark.django_db


def work() -> int:
    return carry_out("gpu", new_owner())


def test_a_clip_becomes_ready_with_the_files_that_were_hashed() -> None:
    (clip,) = request_test_clips(add_tiny_checkpoint(), 1, duration_s=2.0)
    assert work() == 1
    clip.refresh_from_db()
    assert clip.status == ClipStatus.READY
    codes = np.load(media_file(clip.codes_path), allow_pickle=False)
    assert codes.dtype == np.int16 and codes.shape[1] == 50
    waveform, sample_rate_hz = soundfile.read(media_file(clip.audio_path))
    assert sample_rate_hz == clip.sample_rate_hz
    assert len(waveform) / sample_rate_hz == clip.duration_s == 2.0
    for path, expected in (
        (clip.codes_path, clip.codes_sha256),
        (clip.audio_path, clip.audio_sha256),
    ):
        assert hashlib.sha256(media_file(path).read_bytes()).hexdigest() == expected
    assert len(clip.peaks) == 160 and 0.0 < max(clip.peaks) <= 1.0
    assert len(clip.header) == 10
    assert clip.sampling == asdict(SamplingSettings())  # stored whole, though none was asked
    assert Job.objects.get().state == JobState.DONE


def test_the_gain_brings_a_clip_to_the_playback_level_or_its_peak_to_the_ceiling(
    settings: LazySettings,
) -> None:
    (clip,) = request_test_clips(add_tiny_checkpoint(), 1, duration_s=2.0)
    work()
    clip.refresh_from_db()
    assert clip.loudness_lufs is not None and clip.true_peak_dbtp is not None
    heard_lufs = clip.loudness_lufs + (clip.gain_db or 0.0)
    peak_dbtp = clip.true_peak_dbtp + (clip.gain_db or 0.0)
    assert heard_lufs <= settings.ATTUNE_PLAYBACK_LUFS + 1e-6
    assert peak_dbtp <= -1.0 + 1e-6
    reached = (heard_lufs - settings.ATTUNE_PLAYBACK_LUFS, peak_dbtp + 1.0)
    assert any(abs(distance) < 1e-6 for distance in reached)


def test_equal_seeds_make_equal_clips_in_any_batch() -> None:
    checkpoint = add_tiny_checkpoint()
    together = request_test_clips(checkpoint, 3, duration_s=1.0)
    work()
    (alone,) = request_test_clips(checkpoint, 1, duration_s=1.0)
    work()
    first = Clip.objects.get(pk=together[0].pk)
    assert Clip.objects.get(pk=alone.pk).codes_sha256 == first.codes_sha256


def test_a_clip_that_the_generator_refuses_fails_alone_and_withdraws_its_pairs() -> None:
    checkpoint = add_tiny_checkpoint()
    clips = request_test_clips(checkpoint, 3, duration_s=1.0)
    Clip.objects.filter(pk=clips[1].pk).update(requested_duration_s=0.5)
    prompt = clips[0].prompt
    study = create_rated_study(n_preferences=1)
    pairs = [
        Pair.objects.create(
            study=study,
            prompt=prompt,
            purpose=PairPurpose.TRAINING,
            first_clip=first,
            second_clip=second,
            first_checkpoint=checkpoint,
            second_checkpoint=checkpoint,
        )
        for first, second in ((clips[0], clips[1]), (clips[0], clips[2]))
    ]
    Clip.objects.filter(pk__in=[clip.pk for clip in clips]).update(
        status=ClipStatus.REQUESTED, job=requeue(clips[0])
    )
    work()
    statuses = [Clip.objects.get(pk=clip.pk).status for clip in clips]
    assert statuses == [ClipStatus.READY, ClipStatus.FAILED, ClipStatus.READY]
    assert "0.5" in Clip.objects.get(pk=clips[1].pk).error
    states = [
        (pair.is_ready, pair.is_withdrawn)
        for pair in Pair.objects.filter(pk__in=[pair.pk for pair in pairs]).order_by("pk")
    ]
    assert states == [(False, True), (True, False)]


def requeue(clip: Clip) -> Job:
    """Puts a clip's finished job back, as if its worker had been lost."""
    job = Job.objects.get(clips=clip)
    Job.objects.filter(pk=job.pk).update(
        state=JobState.QUEUED, owner="", attempts=0, finished_at=None
    )
    return job


def test_a_second_attempt_leaves_ready_clips_alone_and_marks_their_pairs() -> None:
    checkpoint = add_tiny_checkpoint()
    study = create_rated_study(n_preferences=1)
    (pair,) = request_pairs(
        study=study, n_pairs=1, purpose=PairPurpose.TRAINING, rng=np.random.default_rng(1)
    )
    work()
    ready_at = {clip.pk: clip.ready_at for clip in Clip.objects.filter(checkpoint=checkpoint)}
    Pair.objects.filter(pk=pair.pk).update(is_ready=False)  # killed before it was marked
    requeue(pair.first_clip)
    assert work() == 1
    pair.refresh_from_db()
    assert pair.is_ready
    assert {clip.pk: clip.ready_at for clip in Clip.objects.all()} == ready_at


def test_unknown_sampling_settings_fail_the_clip_with_their_name() -> None:
    (clip,) = request_test_clips(add_tiny_checkpoint(), 1, duration_s=1.0)
    Clip.objects.update(sampling={"warmth": 3})
    work()
    clip.refresh_from_db()
    assert clip.status == ClipStatus.FAILED
    assert "warmth" in clip.error


def test_a_damaged_checkpoint_fails_its_job_and_clips_with_the_file() -> None:
    WARM_GENERATORS.drop()
    checkpoint = add_tiny_checkpoint()
    clips = request_test_clips(checkpoint, 2, duration_s=1.0)
    weights = next(media_file("x").parents[1].glob("checkpoints/tiny/lm.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    work()
    job = Job.objects.get()
    assert job.state == JobState.FAILED and "lm.safetensors" in job.error
    for clip in Clip.objects.filter(pk__in=[clip.pk for clip in clips]):
        assert clip.status == ClipStatus.FAILED and clip.error


def test_only_the_last_two_generators_stay_warm() -> None:
    checkpoint = add_tiny_checkpoint()
    warm = WarmGenerators(capacity=2)
    assert warm.get(checkpoint) is warm.get(checkpoint)
    assert len(warm) == 1
    warm.drop()
    assert len(warm) == 0
