"""Checkpoints: what exists, where it comes from, and its card."""

from datetime import datetime

from django.http import HttpRequest
from ninja import Router, Schema

from api.access import READERS, allow
from api.clips import get_checkpoint
from api.shapes import Json
from attune.catalog.models import Checkpoint, CheckpointKind, Population, RotationRole
from attune.catalog.rotation import rotation_shares
from attune.catalog.selectors import rotation_entries

router = Router(tags=["checkpoints"], auth=allow(READERS))


class RotationPlace(Schema):
    """A checkpoint's entry in one rotation, and its part of that population's new clips."""

    population: Population
    role: RotationRole
    share: float
    new_clip_share: float


class CheckpointAnswer(Schema):
    """A checkpoint without its card."""

    name: str
    kind: CheckpointKind
    family: str
    parent: str | None
    content_hash: str
    is_simulated: bool
    is_retired: bool
    created_at: datetime
    rotation: list[RotationPlace]


class CheckpointDetail(CheckpointAnswer):
    """A checkpoint with its card, its children and the round that made it."""

    card: Json
    children: list[str]
    round: str | None


def rotation_places() -> dict[int, list[RotationPlace]]:
    """Checkpoint id -> its places in both rotations."""
    places: dict[int, list[RotationPlace]] = {}
    for population in Population:
        entries = list(rotation_entries(population))
        shares = rotation_shares(entries)
        for entry in entries:
            place = RotationPlace(
                population=population,
                role=RotationRole(entry.role),
                share=entry.share,
                new_clip_share=shares[entry.checkpoint_id],
            )
            places.setdefault(entry.checkpoint_id, []).append(place)
    return places


def _fields(checkpoint: Checkpoint, places: dict[int, list[RotationPlace]]) -> Json:
    return {
        "name": checkpoint.name,
        "kind": CheckpointKind(checkpoint.kind),
        "family": checkpoint.family,
        "parent": checkpoint.parent.name if checkpoint.parent else None,
        "content_hash": checkpoint.content_hash,
        "is_simulated": checkpoint.is_simulated,
        "is_retired": checkpoint.is_retired,
        "created_at": checkpoint.created_at,
        "rotation": places.get(checkpoint.pk, []),
    }


@router.get("checkpoints", response=list[CheckpointAnswer])
def list_checkpoints(request: HttpRequest) -> list[CheckpointAnswer]:
    """All checkpoints, newest first."""
    places = rotation_places()
    checkpoints = Checkpoint.objects.select_related("parent").order_by("-pk")
    return [CheckpointAnswer(**_fields(checkpoint, places)) for checkpoint in checkpoints]


@router.get("checkpoints/{name}", response=CheckpointDetail)
def read_checkpoint(request: HttpRequest, name: str) -> CheckpointDetail:
    """One checkpoint with its card."""
    checkpoint = get_checkpoint(name)
    produced_by = getattr(checkpoint, "produced_by", None)
    return CheckpointDetail(
        **_fields(checkpoint, rotation_places()),
        card=checkpoint.card,
        children=list(checkpoint.children.order_by("pk").values_list("name", flat=True)),
        round=produced_by.name if produced_by else None,
    )
