"""The rotation's page: evidence beside every decision, and figures kept with those taken."""

import pytest
from django.test import Client

from attune.catalog.models import Checkpoint, RotationEntry, RotationEvent
from attune.catalog.rotation_services import hold_checkpoint, promote_checkpoint
from attune.ratings.models import Study
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy
from tests.unit.console.conftest import said
from tests.unit.console.test_pages import rows_of, text_of

FIGURES = {
    "parent": "base",
    "n_wins": 30,
    "n_losses": 10,
    "low": 0.55,
    "high": 0.87,
    "alpha": 0.05,
    "design_effect": 1.25,
    "n_more": 0,
}


def decide(browser: Client, **fields: str) -> object:
    form = {"checkpoint": "aligned", "population": "people", "reason": "heard it"} | fields
    return browser.post("/console/rotation/decide/", form, follow=True)


def test_a_canary_stands_beside_its_evidence_and_what_is_missing(
    engineer: Person, canary: Checkpoint
) -> None:
    text = text_of(engineer, "rotation/")
    assert "aligned</a> against its parent" in text
    assert "3 of 4 decided ratings won" in text
    assert "more ratings needed" in text
    assert "The site decides by itself" in text
    assert "from 30 decided ratings on" in text
    for decision in ("promote", "hold", "roll_back", "retire"):
        assert f'value="{decision}"' in text


def test_a_reviewer_reads_the_evidence_and_is_offered_no_decision(
    reviewer: Person, canary: Checkpoint
) -> None:
    text = text_of(reviewer, "rotation/")
    assert "more ratings needed" in text
    assert 'name="decision"' not in text


def test_who_decides_is_said(engineer: Person, canary: Checkpoint, rated: RatedStudy) -> None:
    hold_checkpoint(checkpoint=canary, population="people", reason="wait", actor=engineer.user)
    assert "An engineer holds it" in text_of(engineer, "rotation/")
    RotationEvent.objects.filter(action="hold").delete()
    from attune.rounds.models import Round
    from attune.rounds.services import create_round

    stored = create_round(study=rated.study, base_checkpoint=rated.base)
    Round.objects.filter(pk=stored.pk).update(produced_checkpoint=canary)
    Study.objects.update(gate={"automatic": 0})
    assert "The study leaves decisions to engineers." in text_of(engineer, "rotation/")


def test_decisions_keep_the_figures_of_their_test(reviewer: Person, canary: Checkpoint) -> None:
    promote_checkpoint(
        checkpoint=canary, population="people", reason="Decided by ratings.", figures=FIGURES
    )
    text = text_of(reviewer, "rotation/")
    assert "30, lost 10 against base" in text
    assert "55.0% to 87.0%, alpha 0.05" in text
    assert "Already promoted" in text
    newest = rows_of(reviewer, "rotation/?format=csv")[0]
    assert (newest["n_wins"], newest["low"], newest["design_effect"]) == ("30", "0.55", "1.25")


@pytest.mark.parametrize(("share", "expected"), [("0.4", 0.4), ("", 1.0)])
def test_a_promotion_sets_the_weight(
    share: str, expected: float, browser: Client, canary: Checkpoint
) -> None:
    decide(browser, decision="promote", share=share)
    entry = RotationEntry.objects.get(checkpoint=canary)
    assert (entry.role, entry.share) == ("full", expected)


@pytest.mark.parametrize("share", ["0", "1.5", "much"])
def test_a_weight_that_cannot_be_is_refused(
    share: str, browser: Client, canary: Checkpoint
) -> None:
    (message,) = said(decide(browser, decision="promote", share=share))
    assert message.startswith("Nothing was changed. share:")
    assert RotationEntry.objects.get(checkpoint=canary).role == "canary"
