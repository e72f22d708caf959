"""Rounds that were started, trained and sent through the gate, without any of the work."""

from typing import Any

from attune.ratings.choices import Choice
from attune.rounds.models import Round
from attune.rounds.services import (
    create_round,
    finish_gate,
    publish_checkpoint,
    record_evaluation,
    start_training,
)
from tests.unit.attune.rated import PASSING_FIGURES, RatedStudy, write_checkpoint


def start(world: RatedStudy, **fields: Any) -> Round:
    return create_round(study=world.study, base_checkpoint=world.base, **fields)


def trained_round(world: RatedStudy, *, name: str = "aligned") -> Round:
    """A round whose checkpoint is published and waits for its gate."""
    world.rate_pairs([Choice.A] * 10)
    round = start(world)
    start_training(round=round)
    folder = write_checkpoint(
        world.folder / name, name=name, kind="adapter", parent=round.base_checkpoint
    )
    publish_checkpoint(round=round, folder=folder, summary={"loss": 0.6})
    return round


def pass_gate(round: Round, **figures: float | None) -> bool:
    for check_name, figure in {**PASSING_FIGURES, **figures}.items():
        record_evaluation(round=round, check_name=check_name, figure=figure)
    return finish_gate(round=round)
