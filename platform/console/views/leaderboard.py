"""The leaderboard: standings, head to head, and the canaries against their parents."""

from django.http import HttpRequest, HttpResponse

from attune.leaderboard.models import Standing
from attune.leaderboard.selectors import standings, unjudged_checkpoints, win_rates
from attune.leaderboard.win_rates import WinRate
from console.access import page
from console.charts import WhiskerRow, whisker_chart
from console.pages import chosen_population, csv_answer, show, wants_csv
from console.selectors import board_counts, duels, places

CSV_HEADER = (
    *("population", "checkpoint", "score", "low", "high", "n_wins", "n_losses", "n_ties"),
    *("n_both_bad", "n_raters", "interval_method", "groups", "refreshed_at"),
)


@page
def leaderboard(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """Standings of one population with intervals, and decisions beside their evidence."""
    population = chosen_population(request)
    rows = list(standings(population))
    if wants_csv(request):
        return csv_answer(f"leaderboard-{population}", CSV_HEADER, map(_csv_row, rows))
    in_rotation = {place.entry.checkpoint_id: place for place in places(population)}
    return show(
        request,
        "leaderboard",
        section="leaderboard",
        may_act=may_act,
        counts=board_counts(population),
        chart=whisker_chart([_whisker(row) for row in rows]),
        rows=[(row, in_rotation.get(row.checkpoint_id), _rates(row)) for row in rows],
        unjudged=unjudged_checkpoints(population),
        duels=duels(population),
        matrix=_matrix(rows, win_rates(population)),
    )


def _whisker(row: Standing) -> WhiskerRow:
    return WhiskerRow(
        name=row.checkpoint.name,
        score=row.score,
        low=row.low,
        high=row.high,
        label=(
            f"{row.score:.0f}  ({row.low:.0f} to {row.high:.0f})"
            if row.low is not None and row.high is not None
            else f"{row.score:.0f}, no decided rating"
        ),
        tone="a" if row.checkpoint.parent_id else "soft",
        groups=tuple(row.groups),
    )


def _rates(row: Standing) -> dict[str, float | int | None]:
    n_decided = row.n_wins + row.n_losses
    n_all = n_decided + row.n_ties + row.n_both_bad
    return {
        "n_all": n_all,
        "won": row.n_wins / n_decided if n_decided else None,
        "both_bad": row.n_both_bad / n_all if n_all else None,
    }


def _matrix(
    rows: list[Standing], rates: dict[tuple[int, int], WinRate]
) -> list[tuple[Standing, list[WinRate | None]]]:
    """Each checkpoint with its win rates against all others, in the order of the standings."""
    return [
        (row, [rates.get((row.checkpoint_id, other.checkpoint_id)) for other in rows])
        for row in rows
    ]


def _csv_row(row: Standing) -> tuple[object, ...]:
    return (
        *(row.population, row.checkpoint.name, row.score, row.low, row.high),
        *(row.n_wins, row.n_losses, row.n_ties, row.n_both_bad, row.n_raters),
        *(row.interval_method, " ".join(map(str, row.groups)), row.refreshed_at),
    )
