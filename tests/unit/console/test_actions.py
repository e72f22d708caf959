"""What engineers do on pages: start and cancel rounds, decide, ask for clips."""

from typing import Any

import pytest
from django.test import Client

from attune.catalog.models import Checkpoint, Clip, RotationEntry, RotationEvent
from attune.rounds.models import Round, RoundState
from attune.rounds.run_files import round_folder
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy
from tests.unit.console.conftest import said


def test_a_round_is_cancelled_once(browser: Client, running: Round) -> None:
    address = f"/console/rounds/{running.pk}/cancel/"
    first = browser.post(address, follow=True)
    running.refresh_from_db()
    assert running.state == RoundState.CANCELLED
    assert said(first) == ["Round dusk is cancelled; what it saved is kept."]
    assert "cancelled already" in said(browser.post(address, follow=True))[0]


def test_a_cancelled_round_is_resumed_where_something_was_saved(
    browser: Client, running: Round
) -> None:
    page, address = f"/console/rounds/{running.pk}/", f"/console/rounds/{running.pk}/resume/"
    assert address not in browser.get(page).content.decode()
    browser.post(f"{page}cancel/")
    shown = browser.get(page).content.decode()
    assert "ended before its first save: there is nothing to resume; start one like it" in shown
    assert address not in shown
    assert "there is nothing to resume" in said(browser.post(address, follow=True))[0]

    save = round_folder(running) / "checkpoints" / "checkpoint-2"
    save.mkdir(parents=True)
    (save / "complete").touch()
    shown = browser.get(page).content.decode()
    assert "It can be resumed: its training goes on after step 2 of 9." in shown
    assert address in shown
    told = said(browser.post(address, follow=True))
    assert told == ["Resumed: its training goes on after step 2 of 9."]
    running.refresh_from_db()
    assert running.state == RoundState.FROZEN
    assert "Resumed" in browser.get(page).content.decode()


def decide(browser: Client, decision: str, **fields: str) -> Any:
    form = {"checkpoint": "aligned", "population": "people", "reason": "63% of 214"}
    form |= {"decision": decision, "next": "/console/leaderboard/"} | fields
    return browser.post("/console/rotation/decide/", form, follow=True)


def test_a_canary_is_promoted_with_the_reason_on_record(
    browser: Client, engineer: Person, canary: Checkpoint
) -> None:
    answer = decide(browser, "promote")
    assert answer.redirect_chain[-1][0] == "/console/leaderboard/"
    assert said(answer) == ["aligned was promoted."]
    assert RotationEntry.objects.get(checkpoint=canary).role == "full"
    event = RotationEvent.objects.latest("pk")
    assert (event.action, event.reason, event.actor) == ("promote", "63% of 214", engineer.user)


def test_one_click_takes_a_checkpoint_out(browser: Client, canary: Checkpoint) -> None:
    page = browser.get("/console/rotation/").content.decode()
    assert 'value="Taken out by hand."' in page
    assert page.count("Take out</button>") == 1
    decide(browser, "roll_back", reason="Taken out by hand.")
    assert not RotationEntry.objects.filter(checkpoint=canary).exists()
    assert "Taken out by hand." in browser.get("/console/rotation/").content.decode()


def test_holding_and_retiring_are_on_record(browser: Client, canary: Checkpoint) -> None:
    decide(browser, "hold")
    decide(browser, "retire")
    actions = RotationEvent.objects.order_by("-pk").values_list("action", flat=True)
    assert list(actions[:2]) == ["retire", "hold"]
    canary.refresh_from_db()
    assert canary.is_retired


@pytest.mark.parametrize(
    ("decision", "fields", "problem"),
    [
        ("promote", {"reason": ""}, "reason: This field is required"),
        ("promote", {"checkpoint": "base"}, "only a canary can be promoted"),
        ("roll_back", {"checkpoint": "base"}, "an anchor does not leave"),
        ("enter", {}, "decision"),
        ("promote", {"checkpoint": "nowhere"}, "checkpoint"),
        ("promote", {"population": "rehearsal"}, "not in rotation for rehearsal"),
    ],
)
def test_a_decision_against_the_rules_changes_nothing(  # noqa: PLR0917
    decision: str,
    fields: dict[str, str],
    problem: str,
    browser: Client,
    canary: Checkpoint,
    rated: RatedStudy,
) -> None:
    n_events = RotationEvent.objects.count()
    (message,) = said(decide(browser, decision, **fields))
    assert message.startswith("Nothing was changed")
    assert problem in message
    assert RotationEvent.objects.count() == n_events


def test_a_decision_never_leads_to_another_site(browser: Client, canary: Checkpoint) -> None:
    answer = decide(browser, "hold", next="https://elsewhere.example/")
    assert answer.redirect_chain[-1][0] == "/console/rotation/"


def test_a_clip_is_asked_for(browser: Client, canary: Checkpoint) -> None:
    before = Clip.objects.count()
    form = {"prompt": "a calm harp", "checkpoint": "aligned", "duration_s": "4", "seed": "7"}
    answer = browser.post("/console/clips/request/", form, follow=True)
    assert Clip.objects.count() == before + 1
    clip = Clip.objects.get(prompt__text="a calm harp")
    assert (clip.checkpoint, clip.seed, clip.requested_duration_s) == (canary, 7, 4.0)
    assert "requested" in said(answer)[0]


@pytest.mark.parametrize(
    "change", [{"prompt": ""}, {"duration_s": "99"}, {"seed": "-1"}, {"checkpoint": "none"}]
)
def test_a_clip_that_cannot_be_made_is_refused_on_the_form(
    change: dict[str, str], browser: Client, canary: Checkpoint
) -> None:
    before = Clip.objects.count()
    form = {"prompt": "a calm harp", "checkpoint": "aligned", "duration_s": "4"} | change
    answer = browser.post("/console/clips/request/", form)
    assert answer.status_code == 422
    assert 'class="errorlist"' in answer.content.decode()
    assert Clip.objects.count() == before
