"""Studies and how far they are."""

from django.http import HttpRequest, HttpResponse

from console.access import page
from console.pages import chosen_population, csv_answer, show, wants_csv
from console.selectors import StudyRow, study_rows

CSV_HEADER = (
    *("slug", "name", "population", "prompt_set", "is_open", "clip_duration_s"),
    *("minimum_listening_s", "overlap", "pool_target", "n_ready", "n_pending", "n_rated"),
    *("n_withdrawn", "n_ratings"),
)


@page
def study_list(request: HttpRequest, *, may_act: bool) -> HttpResponse:
    """The studies of one population with their counts."""
    rows = study_rows(chosen_population(request))
    if wants_csv(request):
        return csv_answer("studies", CSV_HEADER, map(_csv_row, rows))
    return show(
        request,
        "study_list",
        section="studies",
        may_act=may_act,
        rows=rows,
        n_open=sum(row.study.is_open for row in rows),
        n_ratings=sum(row.counts.n_ratings for row in rows),
    )


def _csv_row(row: StudyRow) -> tuple[object, ...]:
    study, counts = row.study, row.counts
    return (
        *(study.slug, study.name, study.population, study.prompt_set.name, study.is_open),
        *(study.clip_duration_s, study.minimum_listening_s, study.overlap, study.pool_target),
        *(counts.n_ready, counts.n_pending, counts.n_rated, counts.n_withdrawn, counts.n_ratings),
    )
