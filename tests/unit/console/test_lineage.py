"""The lineage as a picture: who stands under whom, and the arcs of all other origins."""

from attune.catalog.models import Checkpoint, CheckpointMix
from attune.rounds.comparison import Edge, EdgeKind, Lineage, Node
from console.lineage_picture import (
    ARC_GUTTER,
    DOT_Y,
    LARGEST_STEP,
    MARGIN,
    ROW_HEIGHT,
    lineage_picture,
)
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy
from tests.unit.console.test_pages import rows_of, text_of


def node(number: int, name: str, **changes: object) -> Node:
    told: dict[str, object] = {
        "kind": "adapter",
        "method": "dpo",
        "depth": 0,
        "round_id": None,
        "is_retired": False,
        "is_simulated": False,
        "roles": (),
        "accuracy": None,
    }
    return Node(id=number, name=name, **(told | changes))  # type: ignore[arg-type]


BASE = node(1, "base", kind="full", method="", roles=("anchor for people",))
ONE, OTHER = node(2, "one"), node(3, "other", roles=("canary for people",))
GRANDCHILD = node(4, "grandchild", is_retired=True)
MIX = node(5, "mix", method="mix")
TREE = (
    Edge(1, 2, EdgeKind.TRAINED),
    Edge(1, 3, EdgeKind.TRAINED),
    Edge(2, 4, EdgeKind.TRAINED),
    Edge(1, 5, EdgeKind.TRAINED),
)
PARTS = (Edge(2, 5, EdgeKind.MIXED, 0.75), Edge(3, 5, EdgeKind.MIXED, 0.25))


def test_children_stand_under_their_parents_one_step_to_the_right() -> None:
    picture = lineage_picture(Lineage((BASE, ONE, OTHER, GRANDCHILD), TREE[:3]), {})
    assert picture is not None
    assert [row.node.name for row in picture.rows] == ["base", "one", "grandchild", "other"]
    assert [row.x for row in picture.rows] == [
        f"{MARGIN + generation * LARGEST_STEP:.1f}" for generation in (0, 1, 2, 1)
    ]
    assert [row.y for row in picture.rows] == [
        f"{DOT_Y + number * ROW_HEIGHT:.1f}" for number in range(4)
    ]
    assert picture.height == 4 * ROW_HEIGHT
    assert picture.description == "base; one from base; grandchild from one; other from base"


def test_the_parts_of_a_mix_are_arcs_with_their_weights() -> None:
    picture = lineage_picture(Lineage((BASE, ONE, OTHER, MIX), (*TREE[:2], TREE[3], *PARTS)), {})
    assert picture is not None
    mixed = [path for path in picture.paths if path.kind == "mixed"]
    assert [path.label for path in mixed] == ["0.75", "0.25"]
    assert all(float(path.label_x) > 0 for path in mixed)
    assert picture.rows[0].x == f"{MARGIN + ARC_GUTTER:.1f}"
    assert picture.rows[-1].parts == (("one", 0.75), ("other", 0.25))
    assert "mix, mixed of 0.75 one, 0.25 other" in picture.description


def test_a_mark_tells_kind_and_state() -> None:
    picture = lineage_picture(Lineage((BASE, ONE, OTHER, GRANDCHILD), TREE[:3]), {})
    assert picture is not None
    by_name = {row.node.name: row for row in picture.rows}
    assert [by_name[name].tone for name in ("base", "one", "other")] == ["ink", "", "b"]
    assert by_name["base"].shape != by_name["one"].shape
    assert [chip.word for chip in by_name["grandchild"].chips] == ["retired"]


def test_a_long_line_of_generations_stays_narrow() -> None:
    nodes = tuple(node(number, f"n{number}") for number in range(1, 22))
    edges = tuple(Edge(number, number + 1, EdgeKind.TRAINED) for number in range(1, 21))
    picture = lineage_picture(Lineage(nodes, edges), {})
    assert picture is not None
    assert picture.width < 180
    assert lineage_picture(Lineage((), ()), {}) is None


def test_the_page_names_origins_weights_and_win_rates(
    reviewer: Person, canary: Checkpoint, rated: RatedStudy
) -> None:
    other = rated.add_checkpoint("other", parent=rated.base)
    mixed = rated.add_checkpoint("mixed", parent=rated.base)
    for part, weight in ((canary, 0.6), (other, 0.4)):
        CheckpointMix.objects.create(checkpoint=mixed, part=part, weight=weight)
    text = text_of(reviewer, "lineage/")
    assert "<b>75%</b> of 4 won against base" in text
    assert "0.6 aligned + 0.4 other" in text
    assert text.count('class="origin origin-mixed"') == 2
    rows = rows_of(reviewer, "lineage/?format=csv")
    assert {"checkpoint": "mixed", "from": "aligned", "how": "mixed", "weight": "0.6"} in rows
