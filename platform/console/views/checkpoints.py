"""Checkpoints: the family tree, and one with its card and clips."""

from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from attune.catalog.errors import CatalogError
from attune.catalog.models import (
    Checkpoint,
    CheckpointKind,
    ClipScore,
    ClipStatus,
    RotationEvent,
)
from attune.catalog.score_services import request_scores
from attune.catalog.selectors import recent_clips
from attune.rounds.selectors import rounds
from console.access import action, page
from console.forms import ScoreForm
from console.pages import csv_answer, show, wants_csv
from console.reward_report import find_reward_report
from console.selectors import checkpoint_entries, checkpoint_tree, lineage

SHOWN_CLIPS = 6
SHOWN_LISTENERS = 20
CSV_HEADER = (
    *("name", "kind", "family", "parent", "content_hash", "is_simulated", "is_retired"),
    *("n_clips", "created_at"),
)


@page
def checkpoint_list(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """All checkpoints as a family tree."""
    tree = checkpoint_tree()
    if wants_csv(request):
        return csv_answer("checkpoints", CSV_HEADER, (_csv_row(row) for _, row in tree))
    entries = checkpoint_entries()
    return show(
        request,
        "checkpoint_list",
        section="checkpoints",
        may_act=may_act,
        rows=[(generation, row, entries.get(row.pk, [])) for generation, row in tree],
        n_in_rotation=len(entries),
    )


@page
def checkpoint_detail(request: HttpRequest, name: str, *, may_act: bool) -> HttpResponse:
    """One checkpoint: card, ancestry, rotation, and clips to hear."""
    checkpoint = get_object_or_404(Checkpoint.objects.select_related("parent"), name=name)
    card = {
        key: value for key, value in checkpoint.card.items() if key not in ("files", "name", "kind")
    }
    is_reward = checkpoint.kind == CheckpointKind.REWARD
    ready = recent_clips().filter(checkpoint=checkpoint, status=ClipStatus.READY)
    return show(
        request,
        "checkpoint_detail",
        section="checkpoints",
        may_act=may_act,
        checkpoint=checkpoint,
        card=card,
        files=checkpoint.card.get("files", {}),
        lineage=lineage(checkpoint),
        children=checkpoint.children.order_by("pk"),
        entries=checkpoint_entries().get(checkpoint.pk, []),
        events=RotationEvent.objects.filter(checkpoint=checkpoint)
        .select_related("checkpoint", "actor")
        .order_by("-pk")[:20],
        made_by=getattr(checkpoint, "produced_by", None),
        parts=checkpoint.mix_parts.select_related("part").order_by("pk"),
        can_be_retired=checkpoint.parent_id is not None or is_reward,
        **(_reward_context(checkpoint) if is_reward else {}),
        clips=ready[:SHOWN_CLIPS],
    )


def _reward_context(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the page of a reward model shows beside its card."""
    named = Q(reward_model=checkpoint) | Q(judge_model=checkpoint)
    return {
        "report": find_reward_report(checkpoint),
        "n_scores": ClipScore.objects.filter(checkpoint=checkpoint).count(),
        "listeners": rounds().filter(named)[:SHOWN_LISTENERS],
        "score_form": ScoreForm(),
    }


@action
def score_clips(request: HttpRequest, name: str) -> HttpResponse:
    """Queues the scoring of clips that a reward model has not scored yet."""
    checkpoint = get_object_or_404(Checkpoint, name=name)
    form = ScoreForm(request.POST)
    if not form.is_valid():
        problems = "; ".join(f"{field}: {form.errors[field][0]}" for field in form.errors)
        messages.error(request, f"Nothing was queued. {problems}")
        return redirect("console:checkpoint", name)
    try:
        job = request_scores(
            reward_model=checkpoint,
            prompt_set=form.cleaned_data["prompt_set"],
            made_by=form.cleaned_data["made_by"],
        )
    except CatalogError as exc:
        messages.error(request, f"Nothing was queued: {exc}.")
    else:
        messages.success(request, f"Job {job.pk} scores the clips; they appear as it goes on.")
    return redirect("console:checkpoint", name)


def _csv_row(row: Checkpoint) -> tuple[object, ...]:
    return (
        *(row.name, row.kind, row.family, row.parent.name if row.parent else None),
        *(row.content_hash, row.is_simulated, row.is_retired),
        *(getattr(row, "n_clips", 0), row.created_at),
    )
