"""Rounds side by side, and the lineage of checkpoints."""

from pathlib import Path
from typing import Any

import pytest

from attune.ratings.choices import Choice
from attune.rounds.comparison import Edge, EdgeKind, compare_rounds, lineage
from attune.rounds.errors import RoundError
from attune.rounds.models import Round, RoundState
from attune.rounds.services import (
    create_mix,
    create_round,
    publish_checkpoint,
    record_evaluation,
    record_round_metric,
    start_training,
)
from tests.unit.attune.rated import RatedStudy, rated_study, write_checkpoint

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(tmp_path: Path, settings: Any) -> RatedStudy:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    rated = rated_study(tmp_path)
    rated.rate_pairs([Choice.A] * 10)
    return rated


def finish(
    world: RatedStudy, round: Round, summary: dict[str, Any], kind: str = "adapter"
) -> Round:
    start_training(round=round)
    parent = world.base if kind == "adapter" else None
    folder = write_checkpoint(world.folder / round.name, name=round.name, kind=kind, parent=parent)
    publish_checkpoint(round=round, folder=folder, summary=summary)
    Round.objects.filter(pk=round.pk).update(state=RoundState.DONE)
    round.refresh_from_db()
    return round


def trained(world: RatedStudy, accuracy: float, **config: Any) -> Round:
    round = create_round(study=world.study, base_checkpoint=world.base, config=config)
    for step in (1, 2):
        values = {"loss": 1 / step, "note": None}
        record_round_metric(round=round, step=step, n_steps=2, values=values)
    held_out = {"accuracy": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1}
    finish(world, round, {"held_out": held_out, "wall_s": 5.0})
    record_evaluation(round=round, check_name="diversity", figure=0.95)
    return round


def test_what_differs_and_what_came_of_it_stand_side_by_side(world: RatedStudy) -> None:
    first = trained(world, 0.6, n_epochs=1, lora_rank=8)
    second = trained(world, 0.75, n_epochs=2, lora_rank=8)
    found = compare_rounds([second.pk, first.pk])
    assert found.rounds == (second, first)
    assert found.has_same_dataset
    different = {row.name: row.values for row in found.different_settings}
    assert different == {"n_epochs": (2, 1)}
    assert {row.name for row in found.settings} >= {"method", "base", "lora_rank", "rules"}
    figures = {row.name: row.values for row in found.figures}
    assert figures["accuracy"] == (0.75, 0.6)
    assert "memory_mb" not in figures, "neither round measured it"
    (check,) = found.checks
    assert check.values == ((0.95, "passed"), (0.95, "passed"))
    (of_second, of_first) = found.curves["loss"]
    assert of_second.points == of_first.points == ((1, 1.0), (2, 0.5))
    assert set(found.curves) == {"loss"}


def test_one_round_or_an_unknown_one_is_no_comparison(world: RatedStudy) -> None:
    round = trained(world, 0.6)
    for ids in ([round.pk], [round.pk, round.pk], list(range(9))):
        with pytest.raises(RoundError, match="2 to 8 different rounds"):
            compare_rounds(ids)
    with pytest.raises(RoundError, match="no round 999"):
        compare_rounds([round.pk, 999])


def test_the_lineage_has_parents_mixes_with_weights_and_reward_models(
    world: RatedStudy, django_assert_max_num_queries: Any
) -> None:
    first, second = trained(world, 0.6, seed=1), trained(world, 0.7, seed=2)
    parts = [first.produced_checkpoint, second.produced_checkpoint]
    assert parts[0] is not None
    assert parts[1] is not None
    mixed = create_mix(study=world.study, parts=[(parts[0], 0.25), (parts[1], 0.75)], name="both")
    finish(world, mixed, {})
    reward = create_round(
        study=world.study, base_checkpoint=world.base, method="reward", name="reward"
    )
    finish(world, reward, {}, kind="reward")
    with django_assert_max_num_queries(6):
        found = lineage()
    depths = {node.name: node.depth for node in found.nodes}
    assert depths == {"base": 0, first.name: 1, second.name: 1, "both": 2, "reward": 1}
    ids = {node.name: node.id for node in found.nodes}
    assert set(found.edges) == {
        Edge(ids["base"], ids[first.name], EdgeKind.TRAINED),
        Edge(ids["base"], ids[second.name], EdgeKind.TRAINED),
        Edge(ids["base"], ids["both"], EdgeKind.TRAINED),
        Edge(ids[first.name], ids["both"], EdgeKind.MIXED, 0.25),
        Edge(ids[second.name], ids["both"], EdgeKind.MIXED, 0.75),
        Edge(ids["base"], ids["reward"], EdgeKind.SCORED),
    }
    nodes = {node.name: node for node in found.nodes}
    assert nodes["base"].roles == ("anchor for people",)
    assert (nodes["both"].method, nodes["reward"].kind) == ("mix", "reward")
    assert nodes[first.name].accuracy == 0.6
