"""Scores of clips by reward models: asked for, chosen, stored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import QuerySet

from attune.catalog.errors import CatalogError
from attune.catalog.models import (
    Checkpoint,
    CheckpointKind,
    Clip,
    ClipScore,
    ClipStatus,
    PromptSet,
)
from attune.jobs.models import Job, JobKind, JobQueue
from attune.jobs.services import enqueue_job

log = structlog.get_logger(__name__)

MOST_NAMED_CLIPS = 10_000


@dataclass(frozen=True)
class ScoredClip:
    """A clip with the mean and the spread of a reward model's heads."""

    clip: Clip
    mean: float
    std: float


def request_scores(
    *,
    reward_model: Checkpoint,
    clips: Sequence[UUID] | None = None,
    prompt_set: PromptSet | None = None,
    made_by: Checkpoint | None = None,
    priority: int = 0,
) -> Job:
    """The job that scores the named clips, or all ready ones of a prompt set or a checkpoint.

    Without any of the three it scores the whole catalog.
    """
    if reward_model.kind != CheckpointKind.REWARD:
        raise CatalogError(
            f"checkpoint {reward_model.name!r} is {reward_model.kind}: only a reward model scores"
        )
    arguments: dict[str, Any] = {"checkpoint": reward_model.pk}
    if clips is not None:
        if not 1 <= len(clips) <= MOST_NAMED_CLIPS:
            raise CatalogError(f"{len(clips)} clips named: expected 1 to {MOST_NAMED_CLIPS}")
        found = set(Clip.objects.filter(pk__in=clips).values_list("pk", flat=True))
        if missing := [clip for clip in clips if clip not in found]:
            raise CatalogError(f"no clip {missing[0]}; {len(missing)} of {len(clips)} are unknown")
        arguments["clips"] = [str(clip) for clip in clips]
    if prompt_set is not None:
        arguments["prompt_set"] = prompt_set.pk
    if made_by is not None:
        arguments["made_by"] = made_by.pk
    return enqueue_job(
        kind=JobKind.SCORE_CLIPS, queue=JobQueue.DEVICE, arguments=arguments, priority=priority
    )


def unscored_clips(*, checkpoint: Checkpoint, arguments: Mapping[str, Any]) -> list[Clip]:
    """The ready clips that a job names and the reward model has not scored, oldest first.

    Damaged copies have no codes to score.
    """
    found = Clip.objects.filter(status=ClipStatus.READY, damage="")
    found = found.exclude(scores__checkpoint=checkpoint)
    if "clips" in arguments:
        found = found.filter(pk__in=[UUID(clip) for clip in arguments["clips"]])
    if "prompt_set" in arguments:
        found = found.filter(prompt__prompt_set=arguments["prompt_set"])
    if "made_by" in arguments:
        found = found.filter(checkpoint=arguments["made_by"])
    return list(found.select_related("checkpoint").order_by("created_at", "pk"))


@transaction.atomic
def record_clip_scores(*, checkpoint: Checkpoint, scores: Iterable[ScoredClip]) -> int:
    """How many scores are stored now; one that was there is replaced."""
    rows = [
        ClipScore(clip=scored.clip, checkpoint=checkpoint, mean=scored.mean, std=scored.std)
        for scored in scores
    ]
    ClipScore.objects.bulk_create(
        rows,
        update_conflicts=True,
        update_fields=["mean", "std"],
        unique_fields=["clip", "checkpoint"],
    )
    return len(rows)


def clip_scores(checkpoint: Checkpoint) -> QuerySet[ClipScore]:
    """What a reward model thinks of the clips it has scored, the best first."""
    return (
        ClipScore.objects.filter(checkpoint=checkpoint)
        .select_related("clip__prompt", "clip__checkpoint")
        .order_by("-mean", "pk")
    )
