"""Rounds side by side, and the lineage of checkpoints as data for a picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from attune.catalog.models import Checkpoint, CheckpointMix, RotationEntry
from attune.rounds.errors import RoundError
from attune.rounds.models import Evaluation, Round, RoundMetric
from attune.rounds.selectors import rounds as all_rounds

MOST_COMPARED = 8
FIGURES: Mapping[str, str] = {
    "n_train": "Preferences trained on",
    "n_held_out": "Preferences held out",
    "accuracy": "Held-out accuracy",
    "accuracy_low": "Held-out accuracy, lower end",
    "accuracy_high": "Held-out accuracy, upper end",
    "nll_increase": "Chosen clips' likelihood lost",
    "loss": "Last loss",
    "wall_s": "Seconds of training",
    "memory_mb": "Most memory in MB",
}


@dataclass(frozen=True)
class Row:
    """One setting or figure of all compared rounds; None where a round has none."""

    name: str
    title: str
    values: tuple[Any, ...]

    @property
    def is_different(self) -> bool:
        """Whether the rounds disagree."""
        return any(value != self.values[0] for value in self.values[1:])


@dataclass(frozen=True)
class Curve:
    """One logged quantity of one round as (step, value)."""

    round_id: int
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Comparison:
    """Rounds in the order asked for, with what tells them apart and what came of each."""

    rounds: tuple[Round, ...]
    settings: tuple[Row, ...]
    figures: tuple[Row, ...]
    checks: tuple[Row, ...]
    curves: Mapping[str, tuple[Curve, ...]]
    has_same_dataset: bool

    @property
    def different_settings(self) -> tuple[Row, ...]:
        """The settings in which the rounds differ."""
        return tuple(row for row in self.settings if row.is_different)


def compare_rounds(ids: Sequence[int]) -> Comparison:
    """The comparison of two to eight rounds, by their ids."""
    if not 2 <= len(set(ids)) <= MOST_COMPARED or len(set(ids)) < len(ids):
        raise RoundError(f"2 to {MOST_COMPARED} different rounds are compared, got {list(ids)}")
    found = {round.pk: round for round in all_rounds().filter(pk__in=ids)}
    if missing := [pk for pk in ids if pk not in found]:
        raise RoundError(f"no round {missing[0]}")
    chosen = tuple(found[pk] for pk in ids)
    return Comparison(
        rounds=chosen,
        settings=tuple(_settings(chosen)),
        figures=tuple(_figures(chosen)),
        checks=tuple(_checks(chosen)),
        curves=_curves(chosen),
        has_same_dataset=len({round.dataset_sha256 for round in chosen}) == 1,
    )


def _settings(rounds: Sequence[Round]) -> Iterable[Row]:
    yield Row("method", "Method", tuple(str(round.method) for round in rounds))
    yield Row("base", "Base checkpoint", tuple(round.base_checkpoint.name for round in rounds))
    yield Row("study", "Study", tuple(round.study.slug for round in rounds))
    yield Row("dataset", "Dataset", tuple(round.dataset_sha256[:12] for round in rounds))
    yield Row("rules", "Exclusion rules", tuple(round.exclusion_rules for round in rounds))
    yield Row("filters", "Filters", tuple(round.filters or None for round in rounds))
    for role in ("reward_model", "judge_model"):
        named = [getattr(round, role) for round in rounds]
        if any(named):
            title = role.replace("_", " ").capitalize()
            yield Row(role, title, tuple(one.name if one else None for one in named))
    for name in sorted({name for round in rounds for name in round.config}):
        yield Row(name, name, tuple(round.config.get(name) for round in rounds))


def _figures(rounds: Sequence[Round]) -> Iterable[Row]:
    told = [figures_of(round) for round in rounds]
    for name, title in FIGURES.items():
        values = tuple(figures.get(name) for figures in told)
        if any(value is not None for value in values):
            yield Row(name, title, values)


def figures_of(round: Round) -> dict[str, float | None]:
    """What came of a round, in numbers; None where it was not measured."""
    summary: Mapping[str, Any] = round.summary
    held_out: Mapping[str, Any] = summary.get("held_out") or {}
    training: Mapping[str, Any] = summary.get("training") or {}
    return {
        "n_train": round.counts.get("train"),
        "n_held_out": round.counts.get("held_out"),
        "accuracy": held_out.get("accuracy"),
        "accuracy_low": held_out.get("low"),
        "accuracy_high": held_out.get("high"),
        "nll_increase": held_out.get("nll_increase"),
        "loss": training.get("loss"),
        "wall_s": summary.get("wall_s"),
        "memory_mb": summary.get("memory_mb"),
    }


def _checks(rounds: Sequence[Round]) -> Iterable[Row]:
    """The figures of the gate's checks, in the order in which they were recorded first."""
    found = Evaluation.objects.filter(round__in=[round.pk for round in rounds]).order_by("pk")
    by_name: dict[str, dict[int, Evaluation]] = {}
    for evaluation in found:
        by_name.setdefault(evaluation.check_name, {})[evaluation.round_id] = evaluation
    for name, by_round in by_name.items():
        values = tuple(
            (by_round[round.pk].figure, str(by_round[round.pk].verdict))
            if round.pk in by_round
            else None
            for round in rounds
        )
        yield Row(name, name.replace("_", " "), values)


def _curves(rounds: Sequence[Round]) -> dict[str, tuple[Curve, ...]]:
    points: dict[str, dict[int, list[tuple[int, float]]]] = {}
    found = RoundMetric.objects.filter(round__in=[round.pk for round in rounds]).order_by("step")
    for metric in found:
        for name, value in metric.values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                of_round = points.setdefault(name, {}).setdefault(metric.round_id, [])
                of_round.append((metric.step, float(value)))
    return {
        name: tuple(
            Curve(round.pk, tuple(by_round[round.pk])) for round in rounds if round.pk in by_round
        )
        for name, by_round in sorted(points.items())
    }


class EdgeKind(StrEnum):
    """How one checkpoint came from another."""

    TRAINED = "trained"
    MIXED = "mixed"
    SCORED = "scored"
    REWARDED = "rewarded"


@dataclass(frozen=True)
class Node:
    """A checkpoint in the lineage; `depth` is its distance from the oldest it came from."""

    id: int
    name: str
    kind: str
    method: str
    depth: int
    round_id: int | None
    is_retired: bool
    is_simulated: bool
    roles: tuple[str, ...]
    accuracy: float | None


@dataclass(frozen=True)
class Edge:
    """From what a checkpoint came: its parent, a part of its mix, or who judged its clips."""

    source: int
    target: int
    kind: EdgeKind
    weight: float | None = None


@dataclass(frozen=True)
class Lineage:
    """All checkpoints, each after those it came from, and how they hang together."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def lineage() -> Lineage:
    """Where every checkpoint came from, in a few queries."""
    found = list(Checkpoint.objects.order_by("pk"))
    by_round = {
        round.produced_checkpoint_id: round
        for round in all_rounds()
        if round.produced_checkpoint_id
    }
    edges = [
        Edge(checkpoint.parent_id, checkpoint.pk, EdgeKind.TRAINED)
        for checkpoint in found
        if checkpoint.parent_id is not None
    ]
    edges += [
        Edge(mix.part_id, mix.checkpoint_id, EdgeKind.MIXED, mix.weight)
        for mix in CheckpointMix.objects.order_by("pk")
    ]
    for produced_id, round in by_round.items():
        assert produced_id is not None
        if round.produced_checkpoint is not None and round.produced_checkpoint.parent_id is None:
            edges.append(Edge(round.base_checkpoint_id, produced_id, EdgeKind.SCORED))
        if round.reward_model_id is not None:
            edges.append(Edge(round.reward_model_id, produced_id, EdgeKind.REWARDED))
    roles: dict[int, list[str]] = {}
    for entry in RotationEntry.objects.order_by("pk"):
        roles.setdefault(entry.checkpoint_id, []).append(f"{entry.role} for {entry.population}")
    depths = _depths([checkpoint.pk for checkpoint in found], edges)
    nodes = [
        _node(checkpoint, by_round.get(checkpoint.pk), depths[checkpoint.pk], roles)
        for checkpoint in found
    ]
    return Lineage(nodes=tuple(sorted(nodes, key=lambda n: (n.depth, n.id))), edges=tuple(edges))


def _node(
    checkpoint: Checkpoint, round: Round | None, depth: int, roles: Mapping[int, Sequence[str]]
) -> Node:
    return Node(
        id=checkpoint.pk,
        name=checkpoint.name,
        kind=str(checkpoint.kind),
        method=str(round.method) if round else "",
        depth=depth,
        round_id=round.pk if round else None,
        is_retired=checkpoint.is_retired,
        is_simulated=checkpoint.is_simulated,
        roles=tuple(roles.get(checkpoint.pk, ())),
        accuracy=figures_of(round)["accuracy"] if round else None,
    )


def _depths(ids: Sequence[int], edges: Sequence[Edge]) -> dict[int, int]:
    """The longest way to each checkpoint; what it came from always has a smaller id."""
    sources: dict[int, list[int]] = {}
    for edge in edges:
        sources.setdefault(edge.target, []).append(edge.source)
    depths: dict[int, int] = {}
    for pk in sorted(ids):
        depths[pk] = 1 + max((depths.get(one, -1) for one in sources.get(pk, ())), default=-1)
    return depths
