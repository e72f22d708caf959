"""Rounds side by side, and where checkpoints come from."""

from django.http import HttpRequest
from ninja import Query, Router, Schema

from api.access import READERS, allow
from api.rounds import get_round
from api.shapes import Json
from attune.rounds.comparison import EdgeKind, Row, compare_rounds, lineage

router = Router(tags=["rounds"], auth=allow(READERS))


class RowAnswer(Schema):
    """One setting or figure, a value for each round in the order asked for."""

    name: str
    title: str
    values: list[Json | list[float | str | None] | bool | int | float | str | None]
    is_different: bool


class CurveAnswer(Schema):
    """One logged quantity of one round as [step, value] pairs."""

    round: str
    points: list[tuple[int, float]]


class ComparisonAnswer(Schema):
    """What tells rounds apart, and what came of each."""

    rounds: list[str]
    has_same_dataset: bool
    settings: list[RowAnswer]
    figures: list[RowAnswer]
    checks: list[RowAnswer]
    curves: dict[str, list[CurveAnswer]]


class NodeAnswer(Schema):
    """A checkpoint; depth is its distance from the oldest it came from."""

    id: int
    name: str
    kind: str
    method: str
    depth: int
    round: int | None
    is_retired: bool
    is_simulated: bool
    roles: list[str]
    accuracy: float | None


class EdgeAnswer(Schema):
    """From which checkpoint another one came, with its weight in a mix."""

    source: int
    target: int
    kind: EdgeKind
    weight: float | None


class LineageAnswer(Schema):
    """All checkpoints and how they hang together."""

    nodes: list[NodeAnswer]
    edges: list[EdgeAnswer]


def _rows(rows: tuple[Row, ...]) -> list[RowAnswer]:
    return [
        RowAnswer(
            name=row.name,
            title=row.title,
            values=[list(value) if isinstance(value, tuple) else value for value in row.values],
            is_different=row.is_different,
        )
        for row in rows
    ]


@router.get("round-comparison", response=ComparisonAnswer)
def read_comparison(request: HttpRequest, *, round: Query[list[str]]) -> ComparisonAnswer:
    """Two to eight rounds side by side: `?round=first-dpo-1&round=first-dpo-2`."""
    found = compare_rounds([get_round(id_or_name).pk for id_or_name in round])
    names = {stored.pk: stored.name for stored in found.rounds}
    return ComparisonAnswer(
        rounds=list(names.values()),
        has_same_dataset=found.has_same_dataset,
        settings=_rows(found.settings),
        figures=_rows(found.figures),
        checks=_rows(found.checks),
        curves={
            name: [
                CurveAnswer(round=names[curve.round_id], points=list(curve.points))
                for curve in curves
            ]
            for name, curves in found.curves.items()
        },
    )


@router.get("lineage", response=LineageAnswer)
def read_lineage(request: HttpRequest) -> LineageAnswer:
    """Where every checkpoint came from: parents, mixes with weights, and reward models."""
    found = lineage()
    return LineageAnswer(
        nodes=[
            NodeAnswer(
                id=node.id,
                name=node.name,
                kind=node.kind,
                method=node.method,
                depth=node.depth,
                round=node.round_id,
                is_retired=node.is_retired,
                is_simulated=node.is_simulated,
                roles=list(node.roles),
                accuracy=node.accuracy,
            )
            for node in found.nodes
        ],
        edges=[
            EdgeAnswer(source=edge.source, target=edge.target, kind=edge.kind, weight=edge.weight)
            for edge in found.edges
        ],
    )
