"""Who may open which page of the console, told by three people and a stranger."""

import pytest
from django.test import Client
from django.urls import get_resolver

from attune.catalog.models import Checkpoint
from attune.rounds.models import Round
from tests.unit.api.people import Person

PAGES = [
    "/console/",
    "/console/leaderboard/",
    "/console/rounds/",
    "/console/rounds/new/",
    "/console/rounds/compare/",
    "/console/rounds/mix/",
    "/console/rounds/{round}/",
    "/console/checkpoints/",
    "/console/checkpoints/aligned/",
    "/console/lineage/",
    "/console/rotation/",
    "/console/studies/",
    "/console/studies/first/",
    "/console/studies/first/arrival/",
    "/console/invitations/",
    "/console/consent-texts/",
    "/console/prompts/",
    "/console/clips/",
    "/console/raters/",
    "/console/jobs/",
]
FORM_PAGES = ["/console/studies/new/", "/console/studies/first/settings/"]
ACTIONS = [
    "/console/rounds/start/",
    "/console/rounds/{round}/cancel/",
    "/console/rounds/{round}/resume/",
    "/console/rounds/mix/start/",
    "/console/rotation/decide/",
    "/console/clips/request/",
    "/console/checkpoints/base/score/",
    "/console/studies/new/create/",
    "/console/studies/first/schedule/",
    "/console/studies/first/settings/change/",
    "/console/studies/first/arrival/change/",
    "/console/studies/first/arrival/panels/",
    "/console/studies/first/arrival/panels/1/end/",
    "/console/invitations/make/",
    "/console/invitations/1/revoke/",
    "/console/consent-texts/write/",
    "/console/prompts/add/",
    "/console/melodies/upload/",
    "/console/raters/exclude/",
    "/console/raters/lift/",
]


@pytest.mark.parametrize("path", PAGES)
def test_engineers_and_reviewers_read_every_page_and_raters_none(  # noqa: PLR0917
    path: str,
    rater: Person,
    engineer: Person,
    reviewer: Person,
    canary: Checkpoint,
    running: Round,
) -> None:
    address = path.format(round=running.pk)
    assert engineer.pages.get(address).status_code == 200
    assert reviewer.pages.get(address).status_code == 200
    assert rater.pages.get(address).status_code == 403
    stranger = Client().get(address)
    assert (stranger.status_code, stranger["Location"]) == (302, f"/sign-in?next={address}")
    assert engineer.pages.post(address).status_code in (403, 405)


@pytest.mark.parametrize("path", FORM_PAGES)
def test_a_page_that_only_changes_something_is_for_engineers_alone(
    path: str, rater: Person, engineer: Person, reviewer: Person, canary: Checkpoint
) -> None:
    page = engineer.pages.get(path)
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    assert " style=" not in page.content.decode()
    assert engineer.pages.post(path).status_code in (403, 405)
    for person in (rater, reviewer):
        assert person.pages.get(path).status_code == 403
    stranger = Client().get(path)
    assert (stranger.status_code, stranger["Location"]) == (302, f"/sign-in?next={path}")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_kept_by_no_cache_and_allows_no_foreign_code(
    path: str, reviewer: Person, canary: Checkpoint, running: Round
) -> None:
    page = reviewer.pages.get(path.format(round=running.pk))
    assert "no-store" in page["Cache-Control"]
    text = page.content.decode()
    assert " style=" not in text
    assert " onclick=" not in text
    assert "<style" not in text
    assert "https://" not in text


@pytest.mark.parametrize("path", ACTIONS)
def test_only_engineers_act_and_only_by_post_with_the_csrf_token(
    path: str, rater: Person, engineer: Person, reviewer: Person, running: Round
) -> None:
    address = path.format(round=running.pk)
    for person in (rater, reviewer):
        browser = person.pages
        browser.handler.enforce_csrf_checks = False
        assert browser.post(address).status_code == 403
    assert engineer.pages.post(address).status_code == 403
    assert engineer.pages.get(address).status_code == 405
    browser = engineer.pages
    browser.handler.enforce_csrf_checks = False
    assert browser.post(address).status_code in (200, 302, 422)
    stranger = Client().post(address)
    assert stranger.status_code == 302
    assert stranger["Location"].startswith("/sign-in")


def test_every_address_of_the_console_is_in_the_lists_above() -> None:
    patterns = get_resolver("console.urls").url_patterns
    assert len(patterns) == len(PAGES) + len(FORM_PAGES) + len(ACTIONS)


def test_reviewers_are_offered_no_action(
    reviewer: Person, canary: Checkpoint, running: Round
) -> None:
    for path in PAGES:
        text = reviewer.pages.get(path.format(round=running.pk)).content.decode()
        for action in ACTIONS[1:]:
            assert f'action="{action.format(round=running.pk)}"' not in text
        for form_page in FORM_PAGES:
            assert f'href="{form_page}' not in text
        assert "Freeze and start" not in text
