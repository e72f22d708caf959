"""Decisions about canaries that the site takes by itself, as people's ratings say."""

import math
from dataclasses import asdict
from typing import Any, assert_never

import structlog
from django.db import transaction

from attune.catalog.models import Checkpoint, RotationAction, RotationEntry, RotationRole
from attune.catalog.rotation_services import (
    hold_checkpoint,
    promote_checkpoint,
    roll_back_checkpoint,
)
from attune.leaderboard.selectors import (
    decision_events,
    gate_of_people,
    get_opponent,
    is_held_by_hand,
    people_gate,
)
from attune.leaderboard.sequential import GateDecision, SequentialVerdict

log = structlog.get_logger(__name__)


@transaction.atomic
def judge_canary(*, entry: RotationEntry) -> RotationAction | None:
    """Promotes the canary or rolls it back once the ratings are clear; returns what was done.

    Until then it is held, which is put on record at the fewest ratings asked for and at every
    doubling from there. None: nothing was done, since the study leaves decisions to engineers,
    an engineer holds the canary, it has no parent, or it is a canary no longer.
    """
    # First the checkpoint, then its entry, as engineers' decisions do: in the other order the two
    # could wait for each other for ever.
    Checkpoint.objects.select_for_update().get(pk=entry.checkpoint_id)
    canary = (
        RotationEntry.objects.select_for_update(of=("self",))
        .select_related("checkpoint__parent")
        .filter(pk=entry.pk, role=RotationRole.CANARY)
        .first()
    )
    if canary is None or canary.checkpoint.parent is None:
        return None
    asked = people_gate(canary.checkpoint)
    opponent = get_opponent(canary.checkpoint, canary.population)
    if not asked.automatic or is_held_by_hand(canary):
        return None
    verdict = gate_of_people(canary.checkpoint, canary.population, opponent)
    subject: dict[str, Any] = {
        "checkpoint": canary.checkpoint,
        "population": canary.population,
        "reason": f"Decided by ratings against {opponent.name}: {verdict.sentence}.",
        "figures": {
            "parent": canary.checkpoint.parent.name,
            "against": opponent.name,
            **asdict(verdict),
        },
    }
    match verdict.decision:
        case GateDecision.PROMOTE:
            promote_checkpoint(**subject)
            return RotationAction.PROMOTE
        case GateDecision.ROLL_BACK:
            roll_back_checkpoint(**subject)
            return RotationAction.ROLL_BACK
        case GateDecision.HOLD:
            if not _is_due(canary, verdict, asked.minimum_ratings):
                return None
            hold_checkpoint(**subject)
            return RotationAction.HOLD
        case _:
            assert_never(verdict.decision)


def holds_due(n_decided: int, minimum_ratings: int) -> int:
    """How many holds stand on record by now: at the fewest ratings, twice, four times, ..."""
    first = max(minimum_ratings, 1)
    return 0 if n_decided < first else 1 + int(math.log2(n_decided / first))


def _is_due(canary: RotationEntry, verdict: SequentialVerdict, minimum_ratings: int) -> bool:
    on_record = decision_events(canary).filter(action=RotationAction.HOLD).count()
    return on_record < holds_due(verdict.n_decided, minimum_ratings)
