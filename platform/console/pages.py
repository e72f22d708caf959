"""What every page of the console shares: its place in the side bar, population, CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from attune.catalog.models import Population


def chosen_population(request: HttpRequest) -> Population:
    """The population that the address names; people when it names none that exists."""
    named = request.GET.get("population")
    return Population.REHEARSAL if named == Population.REHEARSAL else Population.PEOPLE


def show(
    request: HttpRequest, template: str, *, section: str, may_act: bool, **context: Any
) -> HttpResponse:
    """The page, with what the side bar and the population switch need."""
    population = chosen_population(request)
    shared = {
        "section": section,
        "may_act": may_act,
        "population": population,
        "populations": list(Population),
        "keep": f"?population={population}" if population != Population.PEOPLE else "",
        "csv_query": _query(request, format="csv"),
        "is_polled": request.headers.get("HX-Request") == "true",
    }
    return render(request, f"console/{template}.html", {**shared, **context})


def wants_csv(request: HttpRequest) -> bool:
    """Whether the page's table was asked for as a file."""
    return request.GET.get("format") == "csv"


def csv_answer(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """A table as a CSV file; a cell that a spreadsheet would run as a formula is quoted."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(header)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return HttpResponse(
        stream.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return f"'{value}"
    return value


def _query(request: HttpRequest, **changes: str) -> str:
    fields = request.GET.copy()
    for name, value in changes.items():
        fields[name] = value
    return "?" + urlencode(list(fields.items()))
