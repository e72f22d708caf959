"""The form of a mix: which adapters are offered, their weights, what is refused."""

from typing import Any

import pytest
from django.test import Client

from attune.catalog.models import Checkpoint
from attune.rounds.models import Round
from console.mix_form import WEIGHT
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy
from tests.unit.console.conftest import said
from tests.unit.console.test_pages import text_of


@pytest.fixture
def adapters(rated: RatedStudy) -> tuple[Checkpoint, Checkpoint]:
    """Two adapters of the base."""
    return tuple(rated.add_checkpoint(n, parent=rated.base) for n in ("noon", "dawn"))  # type: ignore[return-value]


def start(browser: Client, adapters: tuple[Checkpoint, ...], *weights: str, **fields: str) -> Any:
    form = {"study": "first", "base": "base"} | fields
    form |= {f"{WEIGHT}{one.pk}": w for one, w in zip(adapters, weights, strict=False)}
    return browser.post("/console/rounds/mix/start/", form, follow=True)


def test_a_mix_is_queued_with_its_weights(
    browser: Client, engineer: Person, adapters: tuple[Checkpoint, Checkpoint]
) -> None:
    answer = start(browser, adapters, "0.6", "0.4", name="noon-dawn")
    stored = Round.objects.get()
    assert stored.config["parts"] == [
        {"checkpoint": "dawn", "weight": 0.4},
        {"checkpoint": "noon", "weight": 0.6},
    ]
    assert (stored.name, stored.method, stored.created_by) == ("noon-dawn", "mix", engineer.user)
    assert said(answer) == ["Mix noon-dawn is queued; the gate judges it next."]


def test_the_numbers_follow_the_weights(
    reviewer: Person, adapters: tuple[Checkpoint, Checkpoint]
) -> None:
    assert "Give two adapters a weight" in text_of(reviewer, "rounds/mix/")
    query = f"?{WEIGHT}{adapters[0].pk}=0.6&{WEIGHT}{adapters[1].pk}=0.9"
    text = text_of(reviewer, f"rounds/mix/{query}", **{"HX-Request": "true"})
    assert "They add up to <b>1.5</b>" in text
    assert "which only measure" in text
    assert "<html" not in text


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        (("3", "0.4"), "Got 3, allowed is a number from -2 to 2."),
        (("half", "0.4"), "Got half, allowed is a number from -2 to 2."),
        (("0.6", ""), "A mix has 2 adapters or more, 1 have a weight."),
        (("0", "0.5"), "A mix has 2 adapters or more, 1 have a weight."),
    ],
)
def test_weights_that_make_no_mix_are_refused(
    weights: tuple[str, str],
    problem: str,
    browser: Client,
    adapters: tuple[Checkpoint, Checkpoint],
) -> None:
    answer = start(browser, adapters, *weights)
    assert answer.status_code == 422
    assert problem in answer.content.decode()
    assert not Round.objects.exists()


def test_a_mix_beside_a_running_round_is_refused_with_its_name(
    browser: Client, adapters: tuple[Checkpoint, Checkpoint], running: Round
) -> None:
    answer = start(browser, adapters, "0.6", "0.4")
    assert answer.status_code == 409
    assert "round dusk on base and study first" in answer.content.decode()


def test_without_two_adapters_there_is_nothing_to_mix(reviewer: Person, rated: RatedStudy) -> None:
    assert "Nothing to mix yet" in text_of(reviewer, "rounds/mix/")
