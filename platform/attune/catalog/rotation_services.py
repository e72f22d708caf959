"""Writes to the rotation. Every decision leaves a RotationEvent with its reason."""

from collections.abc import Mapping
from typing import Any

import structlog
from django.contrib.auth.models import User
from django.db import transaction

from attune.catalog.errors import RotationError
from attune.catalog.models import (
    GENERATING_KINDS,
    Checkpoint,
    Population,
    RotationAction,
    RotationEntry,
    RotationEvent,
    RotationRole,
)

log = structlog.get_logger(__name__)


@transaction.atomic
def enter_rotation(
    *,
    checkpoint: Checkpoint,
    population: Population | str,
    role: RotationRole | str,
    share: float,
    reason: str,
    actor: User | None = None,
) -> RotationEntry:
    """The checkpoint's entry. A repeat with the same role changes nothing."""
    checkpoint = _lock(checkpoint)
    if checkpoint.kind not in GENERATING_KINDS:
        raise _error(
            f"checkpoint {checkpoint.name!r} is a {checkpoint.kind} model: it makes no clips",
            checkpoint,
            population,
        )
    if checkpoint.is_retired:
        raise _error(f"checkpoint {checkpoint.name!r} is retired", checkpoint, population)
    if checkpoint.is_simulated and population == Population.PEOPLE:
        raise _error(
            f"checkpoint {checkpoint.name!r} learned from simulated ratings: "
            "it cannot enter the rotation for people",
            checkpoint,
            population,
        )
    if not 0 < share <= 1:
        raise _error(f"share {share}: expected more than 0, at most 1", checkpoint, population)
    entry = RotationEntry.objects.filter(checkpoint=checkpoint, population=population).first()
    if entry is not None:
        if entry.role != role:
            raise _error(
                f"checkpoint {checkpoint.name!r} is in rotation for {population} as "
                f"{entry.role}: it cannot enter as {role}",
                checkpoint,
                population,
            )
        return entry
    entry = RotationEntry.objects.create(
        checkpoint=checkpoint,
        population=Population(population),
        role=RotationRole(role),
        share=share,
    )
    _record(checkpoint, population, RotationAction.ENTER, reason, actor=actor, share=share)
    return entry


@transaction.atomic
def promote_checkpoint(
    *,
    checkpoint: Checkpoint,
    population: Population | str,
    reason: str,
    actor: User | None = None,
    share: float = 1.0,
    figures: Mapping[str, Any] | None = None,
) -> RotationEntry:
    """The entry of a canary that becomes FULL, with the weight of a promoted checkpoint."""
    entry = _lock_entry(checkpoint, population)
    if entry.role != RotationRole.CANARY:
        raise _error(
            f"checkpoint {checkpoint.name!r} is {entry.role}: only a canary can be promoted",
            checkpoint,
            population,
        )
    entry.role = RotationRole.FULL
    entry.share = share
    entry.save(update_fields=["role", "share"])
    _record(
        checkpoint,
        population,
        RotationAction.PROMOTE,
        reason,
        actor=actor,
        share=share,
        figures=figures,
    )
    return entry


@transaction.atomic
def hold_checkpoint(
    *,
    checkpoint: Checkpoint,
    population: Population | str,
    reason: str,
    actor: User | None = None,
    figures: Mapping[str, Any] | None = None,
) -> RotationEntry:
    """The entry, left as it is; the decision to wait is on record."""
    entry = _lock_entry(checkpoint, population)
    _record(
        checkpoint,
        population,
        RotationAction.HOLD,
        reason,
        actor=actor,
        share=entry.share,
        figures=figures,
    )
    return entry


@transaction.atomic
def roll_back_checkpoint(
    *,
    checkpoint: Checkpoint,
    population: Population | str,
    reason: str,
    actor: User | None = None,
    figures: Mapping[str, Any] | None = None,
) -> None:
    """Take the checkpoint out of one population's rotation. It may enter again."""
    entry = _lock_entry(checkpoint, population)
    _refuse_anchor(entry)
    entry.delete()
    _record(checkpoint, population, RotationAction.ROLL_BACK, reason, actor=actor, figures=figures)


@transaction.atomic
def retire_checkpoint(
    *,
    checkpoint: Checkpoint,
    population: Population | str,
    reason: str,
    actor: User | None = None,
) -> None:
    """Retire the checkpoint for good: it leaves every rotation and makes no clip again."""
    checkpoint = _lock(checkpoint)
    entries = list(
        RotationEntry.objects.select_for_update(of=("self",))
        .select_related("checkpoint")
        .filter(checkpoint=checkpoint)
    )
    for entry in entries:
        _refuse_anchor(entry)
    populations = {str(population), *(entry.population for entry in entries)}
    for entry in entries:
        entry.delete()
    Checkpoint.objects.filter(pk=checkpoint.pk).update(is_retired=True)
    for left in sorted(populations):
        _record(checkpoint, left, RotationAction.RETIRE, reason, actor=actor)


def _lock(checkpoint: Checkpoint) -> Checkpoint:
    """The fresh row, locked: decisions about one checkpoint come one after another."""
    return Checkpoint.objects.select_for_update().get(pk=checkpoint.pk)


def _lock_entry(checkpoint: Checkpoint, population: Population | str) -> RotationEntry:
    _lock(checkpoint)
    entry = (
        RotationEntry.objects.select_related("checkpoint")
        .filter(checkpoint=checkpoint, population=population)
        .first()
    )
    if entry is None:
        raise _error(
            f"checkpoint {checkpoint.name!r} is not in rotation for {population}",
            checkpoint,
            population,
        )
    return entry


def _refuse_anchor(entry: RotationEntry) -> None:
    if entry.role == RotationRole.ANCHOR:
        raise _error(
            f"checkpoint {entry.checkpoint.name!r} is the anchor for {entry.population}: "
            "an anchor does not leave",
            entry.checkpoint,
            entry.population,
        )


def _record(
    checkpoint: Checkpoint,
    population: Population | str,
    action: RotationAction,
    reason: str,
    *,
    actor: User | None,
    share: float | None = None,
    figures: Mapping[str, Any] | None = None,
) -> None:
    if not reason.strip():
        raise _error(f"{action.label} without a reason: expected one", checkpoint, population)
    RotationEvent.objects.create(
        checkpoint=checkpoint,
        population=Population(population),
        action=action,
        actor=actor,
        reason=reason.strip(),
        share=share,
        figures=dict(figures or {}),
    )
    log.info(
        "rotation_changed",
        checkpoint=checkpoint.name,
        population=str(population),
        action=action.value,
        reason=reason,
    )


def _error(message: str, checkpoint: Checkpoint, population: Population | str) -> RotationError:
    return RotationError(message, checkpoint=checkpoint.name, population=str(population))
