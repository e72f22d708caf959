"""Reads of the catalog that follow a rule."""

import hashlib

from django.db.models import QuerySet

from attune.catalog.errors import CatalogError
from attune.catalog.models import (
    Checkpoint,
    CheckpointKind,
    Clip,
    Population,
    RotationEntry,
    RotationEvent,
    RotationRole,
)


def rotation_entries(population: str) -> QuerySet[RotationEntry]:
    """The population's entries, oldest first, with their checkpoints."""
    return (
        RotationEntry.objects.filter(population=population)
        .select_related("checkpoint")
        .order_by("entered_at", "pk")
    )


def find_anchor(population: Population | str) -> Checkpoint | None:
    """The population's oldest anchor, against which others are judged."""
    entry = rotation_entries(population).filter(role=RotationRole.ANCHOR).first()
    return entry.checkpoint if entry else None


def get_anchor(population: Population | str) -> Checkpoint:
    """The population's oldest anchor; CatalogError if nothing anchors its rotation."""
    anchor = find_anchor(population)
    if anchor is None:
        raise CatalogError(f"no anchor in rotation for {population}: run setup_demo first")
    return anchor


def rotation_events(population: Population | str) -> QuerySet[RotationEvent]:
    """The decisions about a population's rotation, newest first."""
    return (
        RotationEvent.objects.filter(population=population)
        .select_related("checkpoint", "actor")
        .order_by("-created_at", "-pk")
    )


def checkpoints() -> QuerySet[Checkpoint]:
    """All checkpoints, oldest first, with their parents."""
    return Checkpoint.objects.select_related("parent").order_by("created_at", "pk")


def rotation_shares() -> dict[int, list[str]]:
    """By checkpoint in rotation: its role and share for each population, as text."""
    shares: dict[int, list[str]] = {}
    for population in Population:
        for entry in rotation_entries(population):
            told = f"{entry.role} {entry.share:.2f} for {population.value}"
            shares.setdefault(entry.checkpoint_id, []).append(told)
    return shares


def find_checkpoint(name: str) -> Checkpoint | None:
    """The checkpoint of this name."""
    return Checkpoint.objects.filter(name=name).first()


def find_checkpoint_by_hash(content_hash: str, parent: Checkpoint | None) -> Checkpoint | None:
    """The checkpoint with this content under this parent."""
    return Checkpoint.objects.filter(content_hash=content_hash, parent=parent).first()


def chain_hash(checkpoint: Checkpoint) -> str:
    """One hash over a full checkpoint and the adapters on it; a full one's own hash is it."""
    if checkpoint.kind == CheckpointKind.FULL or checkpoint.parent is None:
        return checkpoint.content_hash
    below = chain_hash(checkpoint.parent)
    return hashlib.sha256(f"{below}:{checkpoint.content_hash}".encode()).hexdigest()


def recent_clips() -> QuerySet[Clip]:
    """All clips, newest first, with prompt and checkpoint."""
    return Clip.objects.select_related("prompt__melody", "checkpoint").order_by("-created_at", "pk")
