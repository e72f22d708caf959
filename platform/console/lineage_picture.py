"""Geometry of the lineage: a tree in rows, one checkpoint each, and arcs for all other origins.

A checkpoint stands under what it was trained from. What else it came from, the parts of a mix
or the reward model that was listened to, is an arc at the left. Places are pixels, so that the
picture keeps its size beside the text of its rows on any screen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from attune.catalog.models import CheckpointKind
from attune.leaderboard.win_rates import WinRate
from attune.rounds.choices import RoundMethod
from attune.rounds.comparison import Edge, EdgeKind, Lineage, Node

ROW_HEIGHT = 74
DOT_Y = 22
LARGEST_STEP, SMALLEST_STEP = 24.0, 6.0
TREE_WIDTH = 132.0
ARC_GUTTER = 46.0
MARGIN = 12.0
REACH_OF_DOT = 9.0
SHAPES = {
    "full": "M-6.5 -6.5h13v13h-13z",
    "adapter": "M-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0z",
    "mix": "M0 -8.500L8.500 0L0 8.500L-8.500 0z",
    "reward": "M0 -8L8 6.500h-16z",
}
TREE_EDGES = (EdgeKind.TRAINED, EdgeKind.SCORED)
ROLE_TONES = {"anchor": "ink", "canary": "b", "full": "ok"}


@dataclass(frozen=True)
class Chip:
    """A word about a checkpoint and its tone, and what a narrow screen leaves out."""

    word: str
    tone: str
    more: str = ""


@dataclass(frozen=True)
class LineageRow:
    """A checkpoint with its mark, and what its row says. An empty tone is a hollow mark."""

    node: Node
    shape: str
    tone: str
    x: str
    y: str
    chips: tuple[Chip, ...]
    parts: tuple[tuple[str, float], ...]
    reward_models: tuple[str, ...]
    rate: WinRate | None
    parent: str


@dataclass(frozen=True)
class Path:
    """One origin, with the weight that is written at it, if any."""

    kind: str
    points: str
    label: str
    label_x: str
    label_y: str


@dataclass(frozen=True)
class LineagePicture:
    """The picture, and its rows from the top."""

    rows: tuple[LineageRow, ...]
    paths: tuple[Path, ...]
    width: int
    height: int
    description: str


def lineage_picture(
    lineage: Lineage, rates: Mapping[tuple[int, int], WinRate]
) -> LineagePicture | None:
    """The picture of all checkpoints; rates by (checkpoint id, parent id). None without any."""
    if not lineage.nodes:
        return None
    names = {node.id: node.name for node in lineage.nodes}
    above = {edge.target: edge.source for edge in lineage.edges if edge.kind in TREE_EDGES}
    arcs = [edge for edge in lineage.edges if edge.kind not in TREE_EDGES]
    order = list(_in_tree_order(lineage.nodes, above))
    deepest = max(generation for generation, _ in order)
    step = min(LARGEST_STEP, max(SMALLEST_STEP, TREE_WIDTH / max(deepest, 1)))
    left = MARGIN + (ARC_GUTTER if arcs else 0.0)
    places = {
        node.id: (left + generation * step, row * ROW_HEIGHT + DOT_Y)
        for row, (generation, node) in enumerate(order)
    }
    kinds = {edge.target: edge.kind for edge in lineage.edges if edge.kind in TREE_EDGES}
    paths = [
        Path(kinds[child].value, _elbow(places[parent], places[child]), "", "0", "0")
        for child, parent in above.items()
    ]
    paths += [_arc(edge, places) for edge in arcs]
    rows = [
        LineageRow(
            node=node,
            shape=SHAPES[_shape_of(node)],
            tone=_tone_of(node),
            x=f"{places[node.id][0]:.1f}",
            y=f"{places[node.id][1]:.1f}",
            chips=tuple(_chips_of(node)),
            parts=tuple(
                (names[edge.source], edge.weight or 0.0)
                for edge in arcs
                if edge.target == node.id and edge.kind is EdgeKind.MIXED
            ),
            reward_models=tuple(
                names[edge.source]
                for edge in arcs
                if edge.target == node.id and edge.kind is EdgeKind.REWARDED
            ),
            rate=rates.get((node.id, above.get(node.id, 0))),
            parent=names.get(above.get(node.id, 0), ""),
        )
        for _, node in order
    ]
    return LineagePicture(
        rows=tuple(rows),
        paths=tuple(paths),
        width=round(left + deepest * step + MARGIN + REACH_OF_DOT),
        height=len(rows) * ROW_HEIGHT,
        description="; ".join(_told(row) for row in rows),
    )


def _in_tree_order(nodes: Sequence[Node], above: Mapping[int, int]) -> Iterable[tuple[int, Node]]:
    """(generation, node): each under what it was trained from, the oldest family first."""
    below: dict[int | None, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: node.id):
        below.setdefault(above.get(node.id), []).append(node)
    waiting = [(0, node) for node in reversed(below.get(None, []))]
    while waiting:
        generation, node = waiting.pop()
        yield generation, node
        waiting += [(generation + 1, child) for child in reversed(below.get(node.id, []))]


def _elbow(parent: tuple[float, float], child: tuple[float, float]) -> str:
    """Down from the parent, then to the right to its child."""
    (x, y), (child_x, child_y) = parent, child
    bend = min(8.0, child_x - x)
    return (
        f"M{x:.1f} {y + REACH_OF_DOT:.1f}V{child_y - bend:.1f}"
        f"Q{x:.1f} {child_y:.1f} {x + bend:.1f} {child_y:.1f}"
        f"H{max(x + bend, child_x - REACH_OF_DOT):.1f}"
    )


def _arc(edge: Edge, places: Mapping[int, tuple[float, float]]) -> Path:
    """Around the tree at its left; the farther the rows are apart the wider."""
    (x, y), (end_x, end_y) = places[edge.source], places[edge.target]
    rows_apart = abs(end_y - y) / ROW_HEIGHT
    out_x = MARGIN + ARC_GUTTER * max(0.0, 0.55 - 0.16 * rows_apart) - ARC_GUTTER * 0.35
    start, end = x - REACH_OF_DOT, end_x - REACH_OF_DOT
    return Path(
        kind=edge.kind.value,
        points=f"M{start:.1f} {y:.1f}C{out_x:.1f} {y:.1f} {out_x:.1f} {end_y:.1f} "
        f"{end:.1f} {end_y:.1f}",
        label=f"{edge.weight:g}" if edge.weight is not None else "",
        # The middle of a cubic curve: an eighth of both ends, three of both handles.
        label_x=f"{(start + end) / 8 + 0.75 * out_x:.1f}",
        label_y=f"{(y + end_y) / 2 + 4:.1f}",
    )


def _shape_of(node: Node) -> str:
    if node.kind == CheckpointKind.REWARD:
        return "reward"
    if node.method == RoundMethod.MIX:
        return "mix"
    return "full" if node.kind == CheckpointKind.FULL else "adapter"


def _tone_of(node: Node) -> str:
    roles = [role.split()[0] for role in node.roles]
    found = [tone for role, tone in ROLE_TONES.items() if role in roles]
    return found[0] if found else ""


def _chips_of(node: Node) -> Iterable[Chip]:
    for role in node.roles:
        word, _, more = role.partition(" ")
        tone = ROLE_TONES[word]
        yield Chip(word, "" if tone == "ink" else tone, more)
    if node.is_retired:
        yield Chip("retired", "danger")
    if node.kind == CheckpointKind.REWARD:
        yield Chip("reward model", "a")
    if node.is_simulated:
        yield Chip("simulated", "")


def _told(row: LineageRow) -> str:
    if row.parts:
        return f"{row.node.name}, mixed of {', '.join(f'{w:g} {name}' for name, w in row.parts)}"
    return f"{row.node.name} from {row.parent}" if row.parent else row.node.name
