"""Writes to the catalog: prompts, checkpoints and clips. The rotation has its own module."""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from attune.catalog.cards import Card, read_card
from attune.catalog.draws import UniformSource, draw_integer
from attune.catalog.errors import CheckpointError, ClipOrderError, PromptError
from attune.catalog.models import (
    GENERATING_KINDS,
    Checkpoint,
    CheckpointKind,
    Clip,
    ClipStatus,
    Melody,
    Prompt,
    PromptSet,
)
from attune.catalog.rotation_services import (
    enter_rotation,
    hold_checkpoint,
    promote_checkpoint,
    retire_checkpoint,
    roll_back_checkpoint,
)
from attune.catalog.selectors import chain_hash, find_checkpoint_by_hash
from attune.catalog.storage import checkpoint_folder, full_checkpoint, stored_folder
from attune.jobs.models import Job, JobKind, JobQueue, JobState
from attune.jobs.services import enqueue_job, lock_job

__all__ = [
    "ClipOrder",
    "MeasuredClip",
    "PromptRow",
    "add_checkpoint",
    "add_prompt_set",
    "add_prompts",
    "enter_rotation",
    "fail_clip",
    "fail_stranded_clips",
    "find_or_add_prompt",
    "hold_checkpoint",
    "order_clip",
    "promote_checkpoint",
    "record_clip",
    "request_clips",
    "retire_checkpoint",
    "roll_back_checkpoint",
    "start_clips",
]

log = structlog.get_logger(__name__)

PROMPT_CHARACTERS = 500
CLIP_DURATIONS_S = (1.0, 30.0)
SEED_LIMIT = 2**63
# The generator draws from 32-bit seeds; a caller may give a larger one.
DRAWN_SEED_LIMIT = 2**32
ORDERED_PRIORITY = 5


# Unicode categories that say nothing on their own; the generator refuses such prompts as well.
INVISIBLE = {"Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me"}


@dataclass(frozen=True)
class PromptRow:
    """A prompt to add."""

    text: str
    tags: tuple[str, ...] = ()
    is_held_out: bool = False
    melody: Melody | None = None

    def __post_init__(self) -> None:
        kinds = [unicodedata.category(character) for character in self.text]
        if set(kinds) <= INVISIBLE or len(self.text) > PROMPT_CHARACTERS:
            raise PromptError(
                f"a prompt of {len(self.text)} characters: expected 1 to {PROMPT_CHARACTERS}, "
                "not all blank"
            )
        for character, kind in zip(self.text, kinds, strict=True):
            if kind == "Cs" or (kind == "Cc" and character not in "\t\r\n"):
                raise PromptError(f"a prompt with the control character U+{ord(character):04X}")


@dataclass(frozen=True)
class ClipOrder:
    """A clip to be made."""

    prompt: Prompt
    checkpoint: Checkpoint
    duration_s: float
    seed: int
    sampling: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shortest, longest = CLIP_DURATIONS_S
        if not shortest <= self.duration_s <= longest:
            raise ClipOrderError(
                f"a clip of {self.duration_s} s: expected {shortest:g} to {longest:g} s"
            )
        if not 0 <= self.seed < SEED_LIMIT:
            raise ClipOrderError(f"seed {self.seed}: expected 0 to {SEED_LIMIT - 1}")
        if self.checkpoint.kind not in GENERATING_KINDS:
            raise ClipOrderError(
                f"checkpoint {self.checkpoint.name!r} is a {self.checkpoint.kind} model: "
                "it makes no clips"
            )
        if self.checkpoint.is_retired:
            raise ClipOrderError(f"checkpoint {self.checkpoint.name!r} is retired: no new clips")


@dataclass(frozen=True)
class MeasuredClip:
    """What a worker stored and measured. Loudness is None for silence."""

    header: Sequence[int]
    unknown_words: Sequence[str]
    codes_path: str
    codes_sha256: str
    audio_path: str
    audio_sha256: str
    duration_s: float
    sample_rate_hz: int
    gain_db: float
    loudness_lufs: float | None = None
    true_peak_dbtp: float | None = None
    peaks: Sequence[float] = ()
    sampling: Mapping[str, Any] | None = None
    """All settings the clip was drawn with, defaults included; None keeps what was asked."""


def add_prompt_set(*, name: str, description: str = "") -> PromptSet:
    """The prompt set of this name, made if there was none."""
    prompt_set, _ = PromptSet.objects.get_or_create(
        name=name, defaults={"description": description}
    )
    return prompt_set


@transaction.atomic
def add_prompts(*, prompt_set: PromptSet, rows: Iterable[PromptRow]) -> list[Prompt]:
    """The prompts that were new; one that the set holds already is left as it is.

    The same text with another melody, or with none, is another prompt.
    """
    known = set(prompt_set.prompts.values_list("text", "melody_id"))
    fresh: dict[tuple[str, int | None], PromptRow] = {}
    for row in rows:
        key = (row.text.strip(), row.melody.pk if row.melody else None)
        if key not in known:
            fresh.setdefault(key, row)
    return Prompt.objects.bulk_create(
        Prompt(
            prompt_set=prompt_set,
            text=text,
            melody_id=melody_id,
            tags=list(row.tags),
            is_held_out=row.is_held_out,
        )
        for (text, melody_id), row in fresh.items()
    )


@transaction.atomic
def find_or_add_prompt(
    *,
    prompt_set_name: str,
    text: str,
    melody: Melody | None = None,
    is_held_out: bool = False,
) -> Prompt:
    """The prompt of this text and melody in the named set; both are made if there was none."""
    row = PromptRow(text=text, is_held_out=is_held_out)
    prompt, _ = Prompt.objects.get_or_create(
        prompt_set=add_prompt_set(name=prompt_set_name),
        text=row.text.strip(),
        melody=melody,
        defaults={"is_held_out": is_held_out},
    )
    return prompt


def add_checkpoint(
    *,
    folder: Path,
    parent: Checkpoint | None = None,
    is_simulated: bool = False,
    name: str | None = None,
    reuse: bool = True,
) -> Checkpoint:
    """The checkpoint of a folder, registered after every file was re-hashed.

    The same content under the same parent is one checkpoint: a repeat returns its row, unless
    `reuse` is false: then it gets a row of its own under its own name.
    A child of a simulated checkpoint is simulated.
    """
    card = read_card(folder)
    if card.kind not in CheckpointKind.values:
        allowed = ", ".join(CheckpointKind.values)
        raise CheckpointError(
            f"checkpoint kind {card.kind!r}: expected {allowed}", folder=folder, file="card.json"
        )
    parent = _check_parent(card, folder, parent)
    name = name or card.name
    with transaction.atomic():
        known = find_checkpoint_by_hash(card.content_hash, parent) if reuse else None
        if known is not None:
            if not checkpoint_folder(known).is_dir():
                known.folder = stored_folder(folder)
                known.save(update_fields=["folder"])
            return known
        if Checkpoint.objects.filter(name=name).exists():
            raise CheckpointError(
                f"checkpoint name {name!r} is taken by another checkpoint", folder=folder
            )
        checkpoint = Checkpoint.objects.create(
            name=name,
            kind=card.kind,
            family=card.family,
            parent=parent,
            folder=stored_folder(folder),
            content_hash=card.content_hash,
            card=card.content,
            is_simulated=is_simulated or (parent is not None and parent.is_simulated),
        )
    log.info("checkpoint_added", checkpoint=checkpoint.name, kind=card.kind)
    return checkpoint


@transaction.atomic
def request_clips(*, requests: Sequence[ClipOrder], priority: int = 0) -> list[Clip]:
    """The requested clips, in the order asked, and the jobs that will make them.

    A job's clips share the full checkpoint that theirs adapt, duration and sampling settings, so
    that they fit one batch: both clips of a pair too, whichever adapter made each.
    """
    groups: dict[tuple[int, float, str], list[Clip]] = {}
    clips: list[Clip] = []
    for order in requests:
        clip = Clip(
            prompt=order.prompt,
            checkpoint=order.checkpoint,
            requested_duration_s=order.duration_s,
            seed=order.seed,
            sampling=dict(order.sampling),
        )
        clips.append(clip)
        settings_text = json.dumps(order.sampling, sort_keys=True, default=str)
        key = (full_checkpoint(order.checkpoint).pk, order.duration_s, settings_text)
        groups.setdefault(key, []).append(clip)
    limit = settings.ATTUNE_MAX_BATCH_CLIPS
    for (_, duration_s, _), group in groups.items():
        for start in range(0, len(group), limit):
            batch = group[start : start + limit]
            job = enqueue_job(
                kind=JobKind.GENERATE_CLIPS,
                queue=JobQueue.DEVICE,
                arguments={
                    "checkpoints": sorted({clip.checkpoint_id for clip in batch}),
                    "duration_s": duration_s,
                    "n_clips": len(batch),
                },
                priority=priority,
            )
            for clip in batch:
                clip.job = job
    return Clip.objects.bulk_create(clips)


@transaction.atomic
def order_clip(
    *,
    prompt: Prompt | str,
    prompt_set_name: str,
    checkpoint: Checkpoint,
    duration_s: float,
    rng: UniformSource,
    melody: Melody | None = None,
    seed: int | None = None,
    sampling: Mapping[str, Any] | None = None,
) -> Clip:
    """One clip that a person waits for, of a stored prompt or a text of the named set.

    A text may come with a melody; a stored prompt has its own. Without a seed one is drawn. A
    refused order leaves no new prompt behind.
    """
    if isinstance(prompt, str):
        prompt = find_or_add_prompt(prompt_set_name=prompt_set_name, text=prompt, melody=melody)
    elif melody is not None and prompt.melody_id != melody.pk:
        raise ClipOrderError(
            f"prompt {prompt.pk} follows {prompt.melody or 'no recording'}, not {melody}: "
            "give its text to add it with another"
        )
    order = ClipOrder(
        prompt=prompt,
        checkpoint=checkpoint,
        duration_s=duration_s,
        seed=draw_integer(DRAWN_SEED_LIMIT, rng) if seed is None else seed,
        sampling=sampling or {},
    )
    return request_clips(requests=[order], priority=ORDERED_PRIORITY)[0]


@transaction.atomic
def start_clips(*, job: Job) -> list[Clip]:
    """The job's clips that are still to be made, now GENERATING, in the order requested."""
    open_states = [ClipStatus.REQUESTED, ClipStatus.GENERATING]
    Clip.objects.filter(job=job, status__in=open_states).update(status=ClipStatus.GENERATING)
    return list(
        Clip.objects.filter(job=job, status=ClipStatus.GENERATING)
        .select_related("prompt__melody", "checkpoint")
        .order_by("created_at", "pk")
    )


@transaction.atomic
def record_clip(*, clip: Clip, job: Job, owner: str, measured: MeasuredClip) -> bool:
    """True if the clip became READY; False if the job belongs to another owner by now."""
    if not lock_job(job=job, owner=owner):
        return False
    sampling = {} if measured.sampling is None else {"sampling": dict(measured.sampling)}
    recorded = Clip.objects.filter(pk=clip.pk, job=job, status=ClipStatus.GENERATING).update(
        **sampling,
        status=ClipStatus.READY,
        header=list(measured.header),
        unknown_words=list(measured.unknown_words),
        codes_path=measured.codes_path,
        codes_sha256=measured.codes_sha256,
        audio_path=measured.audio_path,
        audio_sha256=measured.audio_sha256,
        duration_s=measured.duration_s,
        sample_rate_hz=measured.sample_rate_hz,
        loudness_lufs=measured.loudness_lufs,
        true_peak_dbtp=measured.true_peak_dbtp,
        gain_db=measured.gain_db,
        peaks=list(measured.peaks),
        error="",
        ready_at=timezone.now(),
    )
    return bool(recorded)


@transaction.atomic
def fail_clip(*, clip: Clip, job: Job, owner: str, error: str) -> bool:
    """True if the clip became FAILED; fenced like `record_clip`."""
    if not lock_job(job=job, owner=owner):
        return False
    failed = Clip.objects.filter(pk=clip.pk, job=job, status=ClipStatus.GENERATING).update(
        status=ClipStatus.FAILED, error=error
    )
    return bool(failed)


@transaction.atomic
def fail_stranded_clips() -> list[Clip]:
    """The unfinished clips of jobs that ended without them, now FAILED."""
    stranded = list(
        Clip.objects.filter(
            status__in=[ClipStatus.REQUESTED, ClipStatus.GENERATING],
            job__state__in=[JobState.DONE, JobState.FAILED, JobState.CANCELLED],
        ).select_related("job")
    )
    for clip in stranded:
        clip.status = ClipStatus.FAILED
        clip.error = f"{clip.job} ended without this clip" if clip.job else ""
    Clip.objects.bulk_update(stranded, ["status", "error"])
    return stranded


def _check_parent(card: Card, folder: Path, parent: Checkpoint | None) -> Checkpoint | None:
    """The parent to store, checked against the one the card was made with."""
    if parent is None and card.parent_hash:
        candidates = Checkpoint.objects.filter(content_hash=card.parent_hash)
        parent = candidates.filter(name=card.parent).first() or candidates.first()
    if card.kind == CheckpointKind.ADAPTER and parent is None:
        raise CheckpointError(
            f"adapter {card.name!r} needs its parent {card.parent!r}, which is not registered",
            folder=folder,
        )
    if parent is not None and card.parent_hash:
        expected = {parent.content_hash, chain_hash(parent)}
        if card.parent_hash not in expected:
            raise CheckpointError(
                f"{card.name!r} was made on weights {card.parent_hash[:12]}..., "
                f"but {parent.name!r} has {parent.content_hash[:12]}...",
                folder=folder,
                file="card.json",
            )
    return parent
