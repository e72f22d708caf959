"""Generates the clips of one job: audio, codes, and what is measured on them."""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import structlog
from django.conf import settings
from numpy.typing import NDArray

from attune.catalog.errors import CatalogError
from attune.catalog.models import Clip, ClipStatus, Damage
from attune.catalog.services import MeasuredClip, fail_clip, record_clip, start_clips
from attune.catalog.storage import (
    checkpoint_chain,
    clip_audio_file,
    clip_codes_file,
    full_checkpoint,
    media_file,
    write_atomically,
)
from attune.jobs.models import Job
from attune.ratings.services import mark_ready_pairs
from generator.audio import to_int16
from generator.errors import GeneratorError
from workers.damage import damage_clip
from workers.generators import WARM_GENERATORS, WarmGenerators
from workers.lease import Lease
from workers.loudness import SignalError, measure_loudness, playback_gain_db
from workers.outcomes import WorkFailed
from workers.waveform import waveform_peaks

if TYPE_CHECKING:
    from generator.lm.adapters import Adapter
    from generator.lm.sampling import SamplingSettings
    from generator.requests import ClipRequest
    from generator.synthesis import GeneratedClip, Generator

logger = structlog.get_logger(__name__)


def generate_clips(job: Job, lease: Lease, warm: WarmGenerators = WARM_GENERATORS) -> None:
    """Makes every clip of the job that is not yet ready, then marks the pairs they complete.

    A clip that the generator refuses fails alone, with the reason; the others are made. Damaged
    copies come last, from the stored audio of the clips that they are of. Safe
    to run again: clips that are ready are left alone, and a clip's seed gives the same codes.
    """
    clips = start_clips(job=job)
    whole = [clip for clip in clips if not clip.damage]
    if whole:
        _generate(whole, job, lease, warm)
    _damage_copies([clip for clip in clips if clip.damage], job, lease)
    mark_ready_pairs(clips=list(job.clips.all()))


@dataclass(frozen=True)
class _Making:
    """What all clips of a job have in common while they are made."""

    job: Job
    lease: Lease
    generator: Generator
    n_clips: int
    adapters: Mapping[int, Adapter]
    """What each checkpoint adds to the generator's own, by its id; empty where they are one."""

    def adapters_of(self, clips: Sequence[Clip]) -> list[Adapter] | None:
        """Returns the adapter of each clip, None where the generator is every clip's own."""
        return [self.adapters[clip.checkpoint_id] for clip in clips] if self.adapters else None

    def fail(self, clip: Clip, error: str) -> None:
        """Fails one clip with its reason."""
        fail_clip(clip=clip, job=self.job, owner=self.lease.owner, error=error)
        logger.warning("clip_failed", clip=str(clip.pk), job=self.job.pk, error=error)

    def renew(self, n_done: float) -> None:
        """Keeps the lease and notes how many clips are made."""
        share = round(n_done / self.n_clips, 3)
        self.lease.renew({"share": share, "n_clips": self.n_clips})


def _generate(clips: Sequence[Clip], job: Job, lease: Lease, warm: WarmGenerators) -> None:
    checkpoints = {clip.checkpoint_id: clip.checkpoint for clip in clips}
    adapters: dict[int, Adapter] = {}
    try:
        if len(checkpoints) > 1:
            generator = warm.get(full_checkpoint(clips[0].checkpoint))
            for key, checkpoint in checkpoints.items():
                adapters[key] = generator.adapter(checkpoint_chain(checkpoint)[1])
        else:
            generator = warm.get(clips[0].checkpoint)
    except (GeneratorError, CatalogError) as exc:
        if len(checkpoints) == 1:
            raise WorkFailed(f"checkpoint {clips[0].checkpoint.name}: {exc}") from exc
        logger.warning("checkpoints_not_together", job=job.pk, error=str(exc))
        _generate_apart(clips, job, lease, warm)
        return
    lease.renew(at_once=True)
    making = _Making(
        job=job, lease=lease, generator=generator, n_clips=len(clips), adapters=adapters
    )
    by_sampling: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_sampling[json.dumps(clip.sampling, sort_keys=True)].append(clip)
    n_before = 0
    for same_sampling in by_sampling.values():
        _generate_batch(making, same_sampling, n_before)
        n_before += len(same_sampling)


def _generate_apart(clips: Sequence[Clip], job: Job, lease: Lease, warm: WarmGenerators) -> None:
    """Makes the clips of one checkpoint after the other; one that does not load fails its own."""
    by_checkpoint: dict[int, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_checkpoint[clip.checkpoint_id].append(clip)
    failures = []
    for same in by_checkpoint.values():
        try:
            _generate(same, job, lease, warm)
        except WorkFailed as exc:
            failures.append(exc)
            for clip in same:
                fail_clip(clip=clip, job=job, owner=lease.owner, error=str(exc))
    if len(failures) == len(by_checkpoint):
        raise failures[0]


def _generate_batch(making: _Making, clips: Sequence[Clip], n_before: int) -> None:
    """Makes clips that share their sampling settings, together where that works."""
    try:
        sampling = making.generator.settings(clips[0].sampling)
    except GeneratorError as exc:
        for clip in clips:
            making.fail(clip, f"sampling {clip.sampling}: {exc}")
        return
    accepted: list[tuple[Clip, ClipRequest]] = []
    for clip in clips:
        try:
            accepted.append((clip, _check_request(clip, making.generator)))
        except GeneratorError as exc:
            making.fail(clip, str(exc))
    if not accepted:
        return
    try:
        made = making.generator.generate(
            [request for _, request in accepted],
            sampling,
            lambda share: making.renew(n_before + share * len(clips)),
            making.adapters_of([clip for clip, _ in accepted]),
        )
    except GeneratorError as exc:
        if len(accepted) == 1:
            making.fail(accepted[0][0], str(exc))
            return
        logger.warning("batch_refused", job=making.job.pk, n_clips=len(accepted), error=str(exc))
        for clip, _ in accepted:  # one at a time finds which of them it was
            _generate_batch(making, [clip], n_before)
        return
    making.lease.renew(at_once=True)
    for (clip, _), generated in zip(accepted, made, strict=True):
        making.lease.renew()
        _record(making, clip, generated, sampling)


def _record(
    making: _Making, clip: Clip, generated: GeneratedClip, sampling: SamplingSettings
) -> None:
    try:
        measured = store_clip(clip, generated, sampling)
    except SignalError as exc:
        making.fail(clip, str(exc))
        return
    if not record_clip(clip=clip, job=making.job, owner=making.lease.owner, measured=measured):
        logger.warning("clip_not_recorded", clip=str(clip.pk), job=making.job.pk)


def _damage_copies(copies: Sequence[Clip], job: Job, lease: Lease) -> None:
    """Makes the job's damaged copies; one whose clip failed, or is silent, fails alone."""
    for copy in copies:
        lease.renew()
        try:
            measured = store_damaged_copy(copy)
        except (SignalError, CatalogError) as exc:
            fail_clip(clip=copy, job=job, owner=lease.owner, error=str(exc))
            logger.warning("copy_failed", clip=str(copy.pk), job=job.pk, error=str(exc))
            continue
        if not record_clip(clip=copy, job=job, owner=lease.owner, measured=measured):
            logger.warning("clip_not_recorded", clip=str(copy.pk), job=job.pk)


def store_damaged_copy(copy: Clip) -> MeasuredClip:
    """Writes a damaged copy into the media store and returns what was measured on it.

    Its file has the length and format of the whole clip's, and it keeps that one's outline:
    what is wrong with it is to be heard, not seen. SignalError where it cannot be damaged.
    """
    original = Clip.objects.get(damaged_copies=copy.pk)
    if original.status != ClipStatus.READY:
        raise SignalError(f"clip {original.pk}, of which this is a damaged copy, was not made")
    samples, sample_rate_hz = soundfile.read(media_file(original.audio_path), dtype="float32")
    waveform = damage_clip(samples.T, sample_rate_hz, Damage(copy.damage), copy.seed)
    loudness = measure_loudness(waveform, sample_rate_hz)
    audio = wav_bytes(waveform, sample_rate_hz)
    audio_path = clip_audio_file(copy.pk)
    write_atomically(media_file(audio_path), audio)
    return MeasuredClip(
        codes_path="",
        codes_sha256="",
        audio_path=audio_path,
        audio_sha256=hashlib.sha256(audio).hexdigest(),
        duration_s=waveform.shape[-1] / sample_rate_hz,
        sample_rate_hz=sample_rate_hz,
        loudness_lufs=loudness.loudness_lufs,
        true_peak_dbtp=loudness.true_peak_dbtp,
        gain_db=playback_gain_db(loudness, settings.ATTUNE_PLAYBACK_LUFS),
        peaks=original.peaks,
        header=original.header,
        unknown_words=original.unknown_words,
    )


def _check_request(clip: Clip, generator: Generator) -> ClipRequest:
    """Returns the clip's request once the generator has accepted its prompt."""
    from generator.requests import ClipRequest

    request = ClipRequest(
        prompt=clip.prompt.text,
        duration_s=clip.requested_duration_s,
        seed=clip.seed,
        melody=media_file(clip.prompt.melody.path) if clip.prompt.melody else None,
    )
    generator.plan(request.prompt)
    return request


def store_clip(clip: Clip, generated: GeneratedClip, sampling: SamplingSettings) -> MeasuredClip:
    """Writes codes and audio into the media store and returns what was measured on them."""
    codes_path, audio_path = clip_codes_file(clip.pk), clip_audio_file(clip.pk)
    codes = codes_bytes(generated.codes)
    audio = wav_bytes(generated.waveform, generated.sample_rate_hz)
    loudness = measure_loudness(generated.waveform, generated.sample_rate_hz)
    write_atomically(media_file(codes_path), codes)
    write_atomically(media_file(audio_path), audio)
    return MeasuredClip(
        codes_path=codes_path,
        codes_sha256=hashlib.sha256(codes).hexdigest(),
        audio_path=audio_path,
        audio_sha256=hashlib.sha256(audio).hexdigest(),
        duration_s=generated.waveform.shape[-1] / generated.sample_rate_hz,
        sample_rate_hz=generated.sample_rate_hz,
        loudness_lufs=loudness.loudness_lufs,
        true_peak_dbtp=loudness.true_peak_dbtp,
        gain_db=playback_gain_db(loudness, settings.ATTUNE_PLAYBACK_LUFS),
        peaks=waveform_peaks(generated.waveform),
        header=list(generated.header),
        unknown_words=list(generated.unknown_words),
        sampling=asdict(sampling),
    )


def codes_bytes(codes: NDArray[np.int16]) -> bytes:
    """Returns codes [K, T] as the content of an .npy file that holds no objects."""
    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(codes, dtype=np.int16), allow_pickle=False)
    return content.getvalue()


def wav_bytes(waveform: NDArray[np.float32], sample_rate_hz: int) -> bytes:
    """Returns a waveform, [N] or [2, N], as the content of a 16-bit WAV file."""
    content = io.BytesIO()
    soundfile.write(content, to_int16(waveform).T, sample_rate_hz, format="WAV", subtype="PCM_16")
    return content.getvalue()
