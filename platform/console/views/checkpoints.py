"""Checkpoints: the family tree, and one with its card and clips."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from attune.catalog.models import Checkpoint, ClipStatus, RotationEvent
from attune.catalog.selectors import recent_clips
from console.access import page
from console.pages import csv_answer, show, wants_csv
from console.selectors import checkpoint_entries, checkpoint_tree, lineage

SHOWN_CLIPS = 6
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
        clips=ready[:SHOWN_CLIPS],
    )


def _csv_row(row: Checkpoint) -> tuple[object, ...]:
    return (
        *(row.name, row.kind, row.family, row.parent.name if row.parent else None),
        *(row.content_hash, row.is_simulated, row.is_retired),
        *(getattr(row, "n_clips", 0), row.created_at),
    )
