"""Aspects, remarks and older answers, in a real browser."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page
from pytest_django.live_server_helper import LiveServer

from attune.ratings.models import (
    AspectRating,
    AspectRevision,
    Rating,
    RatingRevision,
    Remark,
)
from attune.ratings.services import update_study
from tests.browser.conftest import (
    STAGE,
    Seen,
    Site,
    allow_routes,
    hear_both,
    make_site,
    open_pair,
    prompt_of,
    wait_for_other_prompt,
    wait_for_ratings,
    wait_until,
)
from tests.browser.steps import CHANGING, ask_aspects, count, wait_for_prefetch

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

QUESTION = 'document.querySelector("[data-show=question]").textContent'
HASTE_MS = 300


def press_next(page: Page, key: str) -> None:
    """Answers the question that stands there, once the page takes it for meant."""
    page.wait_for_timeout(HASTE_MS)
    page.keyboard.press(key)


def stored_aspects() -> dict[str, str]:
    return dict(AspectRating.objects.values_list("aspect", "choice"))


def test_a_whole_session_by_keyboard_alone(page: Page, live_server: LiveServer, seen: Seen) -> None:
    """Three pairs with two aspects each, a remark, an undo, a changed older answer, the thanks."""
    site = make_site(live_server.url, minimum_listening_s=0.3, pairs_per_session=3)
    ask_aspects(site, "prompt_fit", "sound_quality")
    open_pair(page, site)
    first = prompt_of(page)
    hear_both(page)
    page.keyboard.press("m")
    page.keyboard.type("a click")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(QUESTION) == "Which fits the description better?"
    assert prompt_of(page) == first
    press_next(page, "ArrowRight")
    assert page.evaluate(QUESTION) == "Which has the better sound quality?"
    assert page.inner_text("#gate") == "Question 3 of 3 about the same two clips"
    page.keyboard.press("u")  # one question back
    assert page.evaluate(QUESTION) == "Which fits the description better?"
    press_next(page, "x")
    press_next(page, "ArrowDown")
    wait_for_other_prompt(page, first)
    count(AspectRating, 2, page)
    assert stored_aspects() == {"prompt_fit": "BOTH_BAD", "sound_quality": "TIE"}
    assert [revision.choice for revision in AspectRevision.objects.all()] == ["B"]
    assert Remark.objects.get().text == "a click"

    second = prompt_of(page)
    hear_both(page)
    for key in ("ArrowRight", "ArrowRight", "ArrowRight"):
        press_next(page, key)
    wait_for_other_prompt(page, second)
    third = prompt_of(page)
    page.keyboard.press("h")
    page.keyboard.press("Tab")  # the second newest answer is the first pair's
    page.keyboard.press("Enter")
    wait_until(page, CHANGING)
    assert prompt_of(page) == first
    page.keyboard.press("ArrowDown")
    wait_until(page, f"!{CHANGING}")
    assert prompt_of(page) == third
    hear_both(page)
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft"):
        press_next(page, key)
    wait_until(page, f'{STAGE} === "done"')
    count(AspectRating, 6, page)
    ratings = wait_for_ratings(page, 3)
    assert [rating.choice for rating in ratings] == ["TIE", "B", "A"]
    assert [revision.choice for revision in RatingRevision.objects.all()] == ["A"]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # go on
    wait_until(page, f'{STAGE} !== "done"')
    assert seen.problems == []
    assert page.evaluate("window.cspViolations") == []


def test_a_double_click_answers_one_question(page: Page, site: Site) -> None:
    ask_aspects(site, "prompt_fit", "musicality")
    open_pair(page, site)
    hear_both(page)
    page.dblclick("[data-act=answer-b]")
    wait_for_ratings(page, 1)
    page.wait_for_timeout(400)
    assert page.evaluate(QUESTION) == "Which fits the description better?"
    assert AspectRating.objects.count() == 0
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # too soon to be meant for the next question
    count(AspectRating, 1, page)
    assert page.evaluate(QUESTION) == "Which is the better music?"


def test_a_reload_goes_on_with_the_question_that_was_asked(page: Page, site: Site) -> None:
    ask_aspects(site, "prompt_fit", "musicality")
    open_pair(page, site)
    prompt = prompt_of(page)
    hear_both(page)
    page.keyboard.press("ArrowLeft")
    press_next(page, "ArrowDown")
    count(AspectRating, 1, page)
    page.reload()
    wait_until(page, f'{STAGE} === "rating"')
    assert prompt_of(page) == prompt
    assert page.evaluate(QUESTION) == "Which is the better music?"
    press_next(page, "ArrowRight")
    wait_for_other_prompt(page, prompt)
    count(AspectRating, 2, page)
    assert Rating.objects.count() == 1


def test_what_is_said_offline_is_stored_once_when_back(
    page: Page, context: BrowserContext, site: Site
) -> None:
    ask_aspects(site, "musicality")
    open_pair(page, site)
    prompt = prompt_of(page)
    hear_both(page)
    wait_for_prefetch(page)
    context.set_offline(True)
    page.keyboard.press("m")
    page.keyboard.type("too loud here")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    press_next(page, "ArrowRight")
    wait_for_other_prompt(page, prompt)
    assert Rating.objects.count() == 0
    context.set_offline(False)
    count(AspectRating, 1, page)
    assert (Rating.objects.get().choice, stored_aspects()) == ("A", {"musicality": "B"})
    assert Remark.objects.get().text == "too loud here"
    page.wait_for_timeout(400)
    assert (Rating.objects.count(), Remark.objects.count()) == (1, 1)


def test_a_remark_is_pinned_listed_heard_again_and_removed(page: Page, site: Site) -> None:
    open_pair(page, site)
    page.keyboard.press("2")
    at = 'parseFloat(document.querySelector("[data-show=time]").textContent.split(":")[1])'
    wait_until(page, f"{at} >= 1.1")
    page.click("[data-act=remark]")
    title = page.inner_text("#remark-title")
    assert re.fullmatch(r"Remark on B at 0:0[123]", title)
    moment = title.split()[-1]
    page.fill("#remark-text", "worse here")
    page.click("#remark-dialog >> text=Pin it there")
    count(Remark, 1, page)
    remark = Remark.objects.get()
    assert (remark.side, remark.text) == ("B", "worse here")
    assert 1.0 <= remark.at_s <= 3.0
    assert page.locator("[data-side=B] .pin").count() == 1
    assert page.locator("[data-side=A] .pin").count() == 0

    page.reload()
    wait_until(page, f'{STAGE} === "rating"')
    item = page.locator("#remarks li")
    go = item.locator("button").first
    assert go.inner_text().split() == ["Hear", "B", moment, "worse", "here"]
    go.focus()
    page.keyboard.press("Enter")
    assert page.get_attribute("[data-act=listen-b]", "aria-pressed") == "true"
    assert page.evaluate(at) >= 1.0
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    count(Remark, 0, page)
    assert page.locator("#remarks li").count() == 0
    assert page.locator(".pin").count() == 0
    assert page.evaluate("document.activeElement.dataset.act") == "remark"


def test_a_refused_remark_is_said_and_taken_off_the_page(page: Page, site: Site) -> None:
    allow_routes(page)
    open_pair(page, site)
    page.route(
        "**/api/v1/remarks",
        lambda route: route.fulfill(
            status=422, content_type="application/json", body='{"detail": "too many remarks"}'
        ),
    )
    page.keyboard.press("m")
    page.keyboard.type("a click")
    page.keyboard.press("Enter")
    wait_until(page, '!document.querySelector("[data-show=notice]").hidden')
    assert "too many remarks" in page.inner_text("[data-show=notice]")
    assert page.locator("#remarks li").count() == 0


def test_undo_and_the_list_of_answers_outlive_a_reload(page: Page, site: Site) -> None:
    open_pair(page, site)
    first = prompt_of(page)
    hear_both(page)
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, first)
    wait_for_ratings(page, 1)
    second = prompt_of(page)
    page.reload()
    wait_until(page, f'{STAGE} === "rating"')
    page.keyboard.press("u")
    wait_until(page, CHANGING)
    assert prompt_of(page) == first
    page.keyboard.press("x")
    wait_until(page, f"!{CHANGING}")
    assert prompt_of(page) == second
    count(RatingRevision, 1, page)
    assert Rating.objects.get().choice == "BOTH_BAD"


def test_a_single_aspect_of_an_older_answer_can_be_changed(page: Page, site: Site) -> None:
    ask_aspects(site, "musicality")
    open_pair(page, site)
    first = prompt_of(page)
    hear_both(page)
    page.keyboard.press("ArrowLeft")
    press_next(page, "ArrowLeft")
    wait_for_other_prompt(page, first)
    count(AspectRating, 1, page)
    page.keyboard.press("u")
    wait_until(page, CHANGING)
    page.click("[data-act=question] >> text=Music")
    assert page.evaluate(QUESTION) == "Which is the better music?"
    assert page.get_attribute("[data-act=answer-a]", "aria-pressed") == "true"
    page.click("[data-act=answer-tie]")
    wait_until(page, f"!{CHANGING}")
    count(AspectRevision, 1, page)
    assert stored_aspects() == {"musicality": "TIE"}
    assert (Rating.objects.get().choice, RatingRevision.objects.count()) == ("A", 0)


def test_a_study_may_leave_out_strength_and_the_list(page: Page, site: Site) -> None:
    update_study(study=site.study, asks_strength=False, shows_history=False)
    open_pair(page, site)
    first = prompt_of(page)
    hear_both(page)
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, first)
    assert not page.is_visible("[data-show=strength]")
    assert not page.is_visible("footer [data-act=history]")
    page.keyboard.press("u")
    wait_until(page, CHANGING)
