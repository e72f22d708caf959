"""A study's page: how far it is, its gate, and when its next round starts by itself."""

import pytest
from django.test import Client

from attune.ratings.models import Study
from attune.rounds.models import Round, RoundSchedule
from attune.rounds.schedule import set_schedule
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy
from tests.unit.console.conftest import said
from tests.unit.console.test_pages import text_of

ADDRESS = "/console/studies/first/schedule/"
GIVEN = {"is_on": "on", "every_n_preferences": "12", "method": "kto", "settings": "n_epochs=2"}


def test_a_study_shows_counts_gate_and_rounds(reviewer: Person, running: Round) -> None:
    Study.objects.update(gate={"silence": 0.25, "automatic": 0})
    text = text_of(reviewer, "studies/first/")
    assert "<dt>ratings</dt><dd>10</dd>" in text
    assert "Off: rounds are started by engineers alone." in text
    assert '<dd class="number strong">0.25</dd>' in text
    assert "Engineers decide about it then." in text
    assert f"/console/rounds/{running.pk}/" in text
    assert "Change it" not in text
    assert reviewer.pages.get("/console/studies/nowhere/").status_code == 404


def test_a_schedule_is_set_and_tells_how_far_it_is(
    browser: Client, engineer: Person, rated: RatedStudy
) -> None:
    answer = browser.post(ADDRESS, GIVEN, follow=True)
    assert said(answer) == ["Study first starts rounds by itself now."]
    stored = RoundSchedule.objects.get()
    assert (stored.is_on, stored.every_n_preferences, stored.method, stored.config) == (
        True,
        12,
        "kto",
        {"n_epochs": 2},
    )
    assert stored.changed_by == engineer.user
    text = answer.content.decode()
    assert "<b>10</b> of 12 new preferences on base" in text
    assert 'value="n_epochs=2"' in text
    answer = browser.post(ADDRESS, {**GIVEN, "is_on": ""}, follow=True)
    assert said(answer) == ["Study first starts no round by itself."]


def test_a_schedule_names_the_round_it_waits_for(reviewer: Person, running: Round) -> None:
    schedule = set_schedule(study=running.study, is_on=True, every_n_preferences=5)
    RoundSchedule.objects.filter(pk=schedule.pk).update(last_refusal="2 MB of disk are free")
    text = text_of(reviewer, "studies/first/")
    assert "Waits for" in text
    assert ">dusk</a>, which is frozen" in text
    assert "The last one was refused: 2 MB of disk are free." in text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"every_n_preferences": "0"}, "greater than or equal to 1"),
        ({"method": "grpo"}, "grpo is not one of the available choices"),
        ({"settings": "n_epochs=99"}, "N_epochs must be between 1 and 20, got 99."),
        ({"settings": "fast"}, "Expected key=value, got &#x27;fast&#x27;."),
    ],
)
def test_a_schedule_that_could_start_nothing_is_refused_on_the_form(
    change: dict[str, str], problem: str, browser: Client, rated: RatedStudy
) -> None:
    answer = browser.post(ADDRESS, GIVEN | change)
    assert answer.status_code == 422
    assert problem in answer.content.decode()
    assert not RoundSchedule.objects.exists()
