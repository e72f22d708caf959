"""Rounds side by side."""

import pytest

from attune.catalog.models import Checkpoint
from attune.rounds.models import Round
from attune.rounds.services import create_round, fail_round, record_evaluation, record_round_metric
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy
from tests.unit.console.test_pages import rows_of, text_of


@pytest.fixture
def two(running: Round, rated: RatedStudy) -> tuple[Round, Round]:
    """A round with a failed check, and another one with a loss and an epoch of its own."""
    fail_round(round=running, error="stopped")
    other = create_round(
        study=rated.study,
        base_checkpoint=rated.base,
        name="dawn",
        config={"loss": "ipo", "n_epochs": 2},
    )
    record_round_metric(round=other, step=1, n_steps=4, values={"loss": 0.7, "kl": 0.01})
    record_evaluation(round=other, check_name="silence", figure=0.0)
    return running, other


def address(*rounds: Round) -> str:
    return "rounds/compare/?" + "&".join(f"round={round.pk}" for round in rounds)


def test_what_differs_stands_apart_from_what_is_the_same(
    reviewer: Person, two: tuple[Round, Round]
) -> None:
    text = text_of(reviewer, address(*two))
    assert "2 rounds, all of the same frozen dataset; 2 settings differ" in text
    differing, _, alike = text.partition("that are the same")
    assert "ipo" in differing
    assert "exclusion rules" in alike.lower()
    assert '<span class="chip danger">failed 0.5</span>' in text


def test_curves_of_all_rounds_share_a_picture(reviewer: Person, two: tuple[Round, Round]) -> None:
    text = text_of(reviewer, address(*two))
    loss = text.partition("<h3>Loss</h3>")[2].partition("</figure>")[0]
    assert loss.count("<polyline") == 2
    assert "stroke-a" in loss
    assert "stroke-b" in loss
    kl = text.partition("<h3>KL</h3>")[2].partition("</figure>")[0]
    assert kl.count("<polyline") == 1
    assert "stroke-b" in kl, "a round keeps its colour where another one has no curve"


def test_win_rates_stand_beside_the_figures(
    reviewer: Person, two: tuple[Round, Round], canary: Checkpoint
) -> None:
    Round.objects.filter(pk=two[0].pk).update(produced_checkpoint=canary)
    text = text_of(reviewer, address(*two))
    assert "<b>75.0%</b>" in text
    assert "not rated" in text


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("?round=1", "2 to 6 rounds are compared, 1 was chosen"),
        ("?" + "&".join(f"round={n}" for n in range(1, 8)), "2 to 6 rounds are compared, 7 were"),
        ("?round=98765&round=98766", "No round 98765"),
        ("?round=dusk&round=1", "A round is named by its number, got &#x27;dusk&#x27;"),
        ("", "Choose rounds"),
    ],
)
def test_a_choice_that_cannot_be_compared_says_why_and_offers_rounds(
    query: str, problem: str, reviewer: Person, running: Round
) -> None:
    text = text_of(reviewer, f"rounds/compare/{query}")
    assert problem in text
    assert f'value="{running.pk}"' in text


def test_a_comparison_comes_as_csv(reviewer: Person, two: tuple[Round, Round]) -> None:
    rows = {row["name"]: row for row in rows_of(reviewer, f"{address(*two)}&format=csv")}
    assert (rows["loss"]["dusk"], rows["loss"]["dawn"]) == ("", "ipo")
    assert (rows["silence"]["dusk"], rows["silence"]["dawn"]) == ("0.5", "0.0")
