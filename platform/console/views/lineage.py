"""Where every checkpoint came from, as a picture."""

from django.http import HttpRequest, HttpResponse

from attune.catalog.models import Population
from attune.leaderboard.selectors import win_rates
from attune.rounds.comparison import lineage as all_origins
from console.access import page
from console.lineage_picture import lineage_picture
from console.pages import csv_answer, show, wants_csv

CSV_HEADER = ("checkpoint", "from", "how", "weight")


@page
def lineage(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """All checkpoints under what they came from, with how they fared against it."""
    found = all_origins()
    if wants_csv(request):
        names = {node.id: node.name for node in found.nodes}
        rows = (
            (names[edge.target], names[edge.source], edge.kind.value, edge.weight)
            for edge in found.edges
        )
        return csv_answer("lineage", CSV_HEADER, rows)
    # A simulated checkpoint is never rated by people: the two have no pair in common.
    rates = {**win_rates(Population.REHEARSAL), **win_rates(Population.PEOPLE)}
    return show(
        request,
        "lineage",
        section="lineage",
        may_act=may_act,
        picture=lineage_picture(found, rates),
        n_mixes=sum(bool(node.method == "mix") for node in found.nodes),
        n_rounds=sum(node.round_id is not None for node in found.nodes),
    )
