"""Rounds side by side: what differs between them, what came of each, and their curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

from attune.catalog.models import Population
from attune.leaderboard.selectors import win_rates
from attune.leaderboard.win_rates import WinRate
from attune.rounds.comparison import Comparison, Row, compare_rounds
from attune.rounds.errors import RoundError
from attune.rounds.models import Round
from attune.rounds.selectors import rounds
from console.access import page
from console.charts import LineChart, Series, line_chart
from console.pages import chosen_population, csv_answer, show, wants_csv
from console.round_charts import COLUMNS, SHARES

MOST_SHOWN = 6
OFFERED_ROUNDS = 40
TONES = ("a", "b", "ok", "ink", "a dashed", "b dashed")
"""How the rounds are drawn, in their order; a dash where the colours are used up."""
GUIDES: Mapping[str, float] = {"margin": 0.0, "accuracy": 0.5, "held_out_accuracy": 0.5}
TITLES = {
    **COLUMNS,
    "accuracy": "Training accuracy",
    "held_out_accuracy": "Held-out accuracy",
    "chosen_logp": "Chosen, log-probability a code",
    "rejected_logp": "Rejected, log-probability a code",
    "reward_mean": "Mean reward",
    "judge_reward": "Unseen judge",
}
UNDRAWN = ("reward_std",)


@page
def compare(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """Two to six rounds; with fewer, more or unknown ones the choice alone."""
    ids, problem = _chosen_ids(request)
    found: Comparison | None = None
    if ids and not problem:
        try:
            found = compare_rounds(ids)
        except RoundError as exc:
            problem = str(exc)
    if found is not None and wants_csv(request):
        return _csv(found)
    population = found.rounds[0].population if found else chosen_population(request)
    return show(
        request,
        "comparison",
        section="rounds",
        may_act=may_act,
        found=found,
        problem=problem,
        columns=list(zip(found.rounds, TONES, strict=False)) if found else [],
        figures=_by_round(found, found.figures) if found else [],
        checks=_by_round(found, found.checks) if found else [],
        different=_by_round(found, found.different_settings) if found else [],
        alike=[row for row in found.settings if not row.is_different] if found else [],
        rates=list(zip(found.rounds, _rates(found.rounds), strict=True)) if found else [],
        charts=comparison_charts(found) if found else [],
        offered=rounds(population=Population(population))[:OFFERED_ROUNDS],
        ids=ids,
    )


@dataclass(frozen=True)
class ShownRow:
    """A setting or a figure with its value for each round."""

    title: str
    by_round: tuple[tuple[Round, Any], ...]


def _by_round(found: Comparison, rows: Sequence[Row]) -> list[ShownRow]:
    return [ShownRow(row.title, tuple(zip(found.rounds, row.values, strict=True))) for row in rows]


def _chosen_ids(request: HttpRequest) -> tuple[list[int], str]:
    """The rounds that the address names, each once, and what is wrong with the choice."""
    given = dict.fromkeys(request.GET.getlist("round"))
    if wrong := [text for text in given if not (text.isascii() and text.isdigit())]:
        return [], f"a round is named by its number, got {wrong[0]!r}"
    ids = [int(text) for text in given if len(text) < 19]
    if ids and not 2 <= len(ids) <= MOST_SHOWN:
        return ids, f"2 to {MOST_SHOWN} rounds are compared, {len(ids)} {_was(ids)} chosen"
    return ids, ""


def _was(ids: Sequence[int]) -> str:
    return "was" if len(ids) == 1 else "were"


def _rates(compared: Sequence[Round]) -> list[WinRate | None]:
    """How each round's checkpoint fares against its base, as of the leaderboard's refresh."""
    by_population = {
        population: win_rates(population)
        for population in {Population(round.population) for round in compared}
    }
    return [
        by_population[Population(round.population)].get(
            (round.produced_checkpoint_id or 0, round.base_checkpoint_id)
        )
        for round in compared
    ]


def comparison_charts(found: Comparison) -> list[LineChart]:
    """One picture a quantity that any of the rounds logged, a line for each round."""
    tones = {round.pk: (round.name, tone) for round, tone in zip(found.rounds, TONES, strict=False)}
    charts = (
        line_chart(
            TITLES[name],
            [Series(*tones[curve.round_id], curve.points) for curve in found.curves[name]],
            n_steps=max(curve.points[-1][0] for curve in found.curves[name]),
            guide=GUIDES.get(name),
            is_share=name in SHARES,
            height=190,
        )
        for name in TITLES
        if name in found.curves and name not in UNDRAWN
    )
    return [chart for chart in charts if chart is not None]


def _csv(found: Comparison) -> HttpResponse:
    rows = [
        (kind, row.name, *row.values)
        for kind, group in (("setting", found.settings), ("figure", found.figures))
        for row in group
    ]
    rows += [
        ("check", row.name, *(value[0] if value else None for value in row.values))
        for row in found.checks
    ]
    names = [round.name for round in found.rounds]
    return csv_answer("comparison", ("kind", "name", *names), rows)
