"""Answers on their way: offline, refused, out of date, of somebody else; none is lost."""

import pytest
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, Route
from pytest_django.live_server_helper import LiveServer

from attune.raters.models import Rater
from attune.ratings.models import Rating
from attune.ratings.services import change_rating
from tests.browser.conftest import (
    STAGE,
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

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TIMED_OUT = "status of 50"


def test_an_answer_given_offline_is_stored_once_when_back(
    page: Page, context: BrowserContext, site: Site
) -> None:
    open_pair(page, site)
    prompt = prompt_of(page)
    hear_both(page)
    context.set_offline(True)
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, prompt)  # the pair fetched ahead
    second = prompt_of(page)
    hear_both(page)
    page.keyboard.press("ArrowRight")
    wait_until(page, f'{STAGE} === "problem"')
    assert "kept in this browser" in page.inner_text("[data-show=problem]")
    assert Rating.objects.count() == 0
    context.set_offline(False)
    ratings = wait_for_ratings(page, 2)
    assert [rating.choice for rating in ratings] == ["A", "B"]
    wait_for_other_prompt(page, second)
    assert Rating.objects.count() == 2


def test_an_unsent_answer_survives_a_reload(
    page: Page, context: BrowserContext, site: Site
) -> None:
    allow_routes(page)
    open_pair(page, site)
    prompt = prompt_of(page)
    hear_both(page)
    page.route("**/api/v1/ratings", lambda route: route.abort())
    page.keyboard.press("ArrowDown")
    wait_for_other_prompt(page, prompt)
    assert Rating.objects.count() == 0
    page.unroute("**/api/v1/ratings")
    page.reload()
    (rating,) = wait_for_ratings(page, 1)
    assert rating.choice == "TIE"
    wait_until(page, f'{STAGE} === "rating"')
    assert prompt_of(page) != prompt


def test_a_refused_answer_is_said_and_the_pair_comes_back(page: Page, site: Site) -> None:
    allow_routes(page)
    open_pair(page, site)
    prompt = prompt_of(page)
    hear_both(page)
    refusal = '{"detail": "side B was heard for 0.1 s: 0.6 s are needed"}'
    page.route(
        "**/api/v1/ratings",
        lambda route: route.fulfill(status=422, content_type="application/json", body=refusal),
    )
    page.keyboard.press("ArrowLeft")
    wait_until(page, '!document.querySelector("[data-show=notice]").hidden')
    assert "side B was heard for 0.1 s" in page.inner_text("[data-show=notice]")
    assert page.inner_text("[data-show=progress]") == "0 of 40 pairs"
    page.unroute("**/api/v1/ratings")
    page.reload()
    wait_until(page, f'{STAGE} === "rating"')
    assert prompt_of(page) == prompt


def test_an_answer_changed_while_others_are_sent_is_changed_after_them(
    page: Page, live_server: LiveServer
) -> None:
    site = make_site(live_server.url, minimum_listening_s=0.0)
    open_pair(page, site)
    said = page.evaluate(
        """async () => {
        const { Answers } = await import("/static/rating_ui/answers.js");
        const calls = [];
        const pause = (ms) => new Promise((next) => setTimeout(next, ms));
        const api = {
          async send(method, path, body) {
            calls.push(`${method} ${path} ${body.assignment ?? ""}${body.choice}`);
            await pause(30);
            return { body: { id: 41 } };
          },
        };
        const empty = { getItem: () => null, setItem: () => {} };
        const answers = new Answers(api, empty, "k");
        answers.add({ client_id: "1", assignment: "x", choice: "A" });
        // The queue empties and fills again at once, as when the next pair is answered.
        answers.sending.then(() => answers.add({ client_id: "2", assignment: "y", choice: "B" }));
        await Promise.resolve();
        await answers.change("2", { choice: "TIE" });
        return calls;
        }"""
    )
    assert said == ["POST ratings xA", "POST ratings yB", "PATCH ratings/41 TIE"]


def test_a_refused_answer_is_not_changed_later(page: Page, site: Site) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    allow_routes(page)
    open_pair(page, site)
    first = prompt_of(page)
    hear_both(page)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/v1/ratings", hold)
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, first)
    page.keyboard.press("u")
    page.keyboard.press("ArrowRight")
    held[0].fulfill(status=422, content_type="application/json", body='{"detail": "too soon"}')
    notice = 'document.querySelector("[data-show=notice]").textContent'
    wait_until(page, f'{notice}.includes("not changed")')
    assert "it was not stored: too soon" in page.inner_text("[data-show=notice]")
    assert [entry for entry in asked if entry.startswith("PATCH")] == []


def test_a_forbidden_answer_is_said_and_the_next_ones_are_stored(page: Page, site: Site) -> None:
    allow_routes(page)
    open_pair(page, site)
    first = prompt_of(page)
    hear_both(page)
    refusal = '{"detail": "this answer is not yours to give"}'
    page.route(
        "**/api/v1/ratings",
        lambda route: route.fulfill(status=403, content_type="application/json", body=refusal),
        times=1,
    )
    page.keyboard.press("ArrowLeft")
    wait_until(page, '!document.querySelector("[data-show=notice]").hidden')
    assert "not yours to give" in page.inner_text("[data-show=notice]")
    wait_for_other_prompt(page, first)
    hear_both(page)
    page.keyboard.press("ArrowRight")
    (rating,) = wait_for_ratings(page, 1)
    assert rating.choice == "B"


def test_a_page_without_its_token_asks_to_be_loaded_again_and_keeps_the_answer(
    page: Page, site: Site
) -> None:
    open_pair(page, site)
    hear_both(page)
    page.context.clear_cookies(name="attune_csrf")
    page.keyboard.press("ArrowDown")
    wait_until(page, f'{STAGE} === "outdated"')
    assert "out of date" in page.inner_text("[data-for=outdated]")
    page.wait_for_timeout(300)
    assert page.evaluate(STAGE) == "outdated"
    assert Rating.objects.count() == 0
    page.click("[data-for=outdated] a")
    (rating,) = wait_for_ratings(page, 1)
    assert rating.choice == "TIE"


def test_signing_out_elsewhere_keeps_the_answer(page: Page, site: Site) -> None:
    open_pair(page, site)
    hear_both(page)
    page.context.clear_cookies()
    page.keyboard.press("ArrowLeft")
    wait_until(page, f'{STAGE} === "signed-out"')
    kept = page.evaluate("Object.keys(localStorage).filter((k) => k.includes('answers'))")
    assert len(kept) == 1
    assert Rating.objects.count() == 0


def test_a_signed_in_rater_sees_no_other_raters_unsent_answers(page: Page, site: Site) -> None:
    open_pair(page, site)
    first_key = page.get_attribute("#rate", "data-rater-key")
    page.goto(site.invitation())
    wait_until(page, f'{STAGE} === "rating"')
    assert page.get_attribute("#rate", "data-rater-key") != first_key
    assert Rater.objects.count() == 2


def test_a_change_made_elsewhere_does_not_disturb(page: Page, site: Site) -> None:
    """The page's PATCH after another change still says what the rater meant last."""
    open_pair(page, site)
    first = prompt_of(page)
    hear_both(page)
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, first)
    (rating,) = wait_for_ratings(page, 1)
    change_rating(
        rater=rating.rater, rating_id=rating.pk, choice="TIE", strength=None, now=timezone.now()
    )
    page.keyboard.press("u")
    page.keyboard.press("x")
    wait_until(page, '!document.querySelector("[data-show=notice]").hidden')
    assert Rating.objects.get().choice == "BOTH_BAD"
