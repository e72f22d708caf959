"""A round as somebody wants it, before anything is frozen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attune.catalog.models import Checkpoint
from attune.ratings.models import Study
from attune.rounds.choices import RoundMethod
from attune.rounds.evidence import NO_FILTER, RoundFilter


@dataclass(frozen=True)
class Plan:
    """A round as somebody wants it."""

    study: Study
    base_checkpoint: Checkpoint
    method: RoundMethod = RoundMethod.DPO
    config: Mapping[str, object] | None = None
    filter: RoundFilter = NO_FILTER
    reward_model: Checkpoint | None = None
    judge_model: Checkpoint | None = None
    parts: Sequence[tuple[Checkpoint, float]] = ()
    """For a mix: the adapters and their weights."""
