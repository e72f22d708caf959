"""The overview: where the loop stands."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from attune.jobs.selectors import active_jobs
from attune.rounds.selectors import latest_metrics
from console.access import page
from console.pages import chosen_population, show
from console.selectors import get_loop_state, places, shares_bar, study_rows

SHOWN_JOBS = 8


@page
def overview(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """Pool, ratings, rounds and rotation of one population, and what runs now."""
    population = chosen_population(request)
    state = get_loop_state(population, now=timezone.now())
    rotation = places(population)
    latest = state.latest_round
    return show(
        request,
        "overview_live" if request.headers.get("HX-Request") else "overview",
        section="overview",
        may_act=may_act,
        state=state,
        places=rotation,
        bar=shares_bar(rotation),
        studies=[row for row in study_rows(population) if row.study.is_open],
        jobs=active_jobs()[:SHOWN_JOBS],
        metric=latest_metrics([latest]).get(latest.pk) if latest else None,
    )
