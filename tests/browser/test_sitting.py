"""A sitting at the rating page: breaks, advice, language, small screens, the pair ahead."""

from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page
from pytest_django.live_server_helper import LiveServer

from attune.ratings.models import (
    AspectRating,
    Assignment,
    Rating,
)
from attune.ratings.services import update_study
from tests.browser.conftest import (
    STAGE,
    Site,
    allow_routes,
    answers_are_open,
    hear_both,
    make_site,
    open_pair,
    prompt_of,
    wait_for_other_prompt,
    wait_until,
)
from tests.browser.steps import CHANGING, IN_PASS, ask_aspects, count, wait_for_prefetch

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AHEAD = """
const real = Date.now.bind(Date);
window.ahead_ms = 0;
Date.now = () => real() + window.ahead_ms;
"""


def test_a_break_is_offered_after_the_studys_minutes_and_once(
    page: Page, live_server: LiveServer
) -> None:
    page.add_init_script(AHEAD)
    site = make_site(live_server.url, minimum_listening_s=0.0, n_pairs=6)
    update_study(study=site.study, break_after_min=4)
    open_pair(page, site)

    def answer() -> None:
        prompt = prompt_of(page)
        page.keyboard.press("ArrowLeft")
        wait_until(
            page,
            f'{STAGE} === "break" || ({STAGE} === "rating" && '
            f'document.querySelector("[data-show=prompt]").textContent !== "{prompt}")',
        )

    page.evaluate("window.ahead_ms = 3.5 * 60000")
    answer()
    assert page.evaluate(STAGE) == "rating"
    page.evaluate("window.ahead_ms = 4.2 * 60000")
    answer()
    assert page.evaluate(STAGE) == "break"
    assert "listening for 4 minutes" in page.inner_text("[data-for=break]")
    assert page.evaluate("document.activeElement.dataset.show") == "break-heading"
    page.click("[data-for=break] [data-act=go-on]")
    wait_until(page, f'{STAGE} === "rating"')
    answer()
    assert page.evaluate(STAGE) == "rating"
    count(Rating, 3, page)


def test_advice_is_given_once_and_can_be_put_away(page: Page, site: Site) -> None:
    """The site's answers carry the kind of an advice; the page has the words."""
    allow_routes(page)

    def advise(route: Any) -> None:
        response = route.fetch()
        if response.status != 200:
            route.fulfill(response=response)
            return
        route.fulfill(
            response=response, json=response.json() | {"notice": {"kind": "listen_closely"}}
        )

    page.route("**/api/v1/assignments", advise)
    open_pair(page, site)
    wait_until(page, '!document.querySelector("[data-show=advice]").hidden')
    assert "Take your time" in page.inner_text("[data-show=advice]")
    page.click("[data-act=end-advice]")
    first = prompt_of(page)
    hear_both(page)
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, first)
    assert not page.is_visible("[data-show=advice]")


def test_a_rater_who_must_do_something_first_is_led_there(page: Page, site: Site) -> None:
    allow_routes(page)
    open_pair(page, site)
    first = prompt_of(page)
    hear_both(page)
    wait_for_prefetch(page)
    refusal = '{"detail": "agree first", "code": "consent_needed"}'
    page.route(
        "**/api/v1/assignments",
        lambda route: route.fulfill(status=403, content_type="application/json", body=refusal),
    )
    Assignment.objects.exclude(rating=None).update(state="answered")
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, first)  # it was there already
    hear_both(page)
    with page.expect_navigation(url="**/rate/"):
        page.keyboard.press("ArrowLeft")
    page.unroute("**/api/v1/assignments")


def test_a_german_browser_is_spoken_to_in_german(
    page: Page, site: Site, context: BrowserContext
) -> None:
    context.set_extra_http_headers({"Accept-Language": "de"})
    open_pair(page, site)
    assert page.inner_text("[data-show=progress]") == "0 von 40 Paaren"
    assert page.inner_text("[data-show=question]") == "Welcher gefällt Ihnen besser?"
    assert page.inner_text("#gate") == "Hören Sie 0,6 Sekunden von jedem Clip, um zu antworten"
    assert page.inner_text("[data-side=A] [data-show=amount]") == "0,0 von 0,6 s"
    prompt = prompt_of(page)
    hear_both(page)
    page.click(".languages >> text=English")
    wait_until(page, f'{STAGE} === "rating"')
    assert prompt_of(page) == prompt
    assert page.inner_text("[data-show=question]") == "Which do you prefer?"
    assert answers_are_open(page)  # what was heard is remembered
    assert page.evaluate("document.documentElement.lang") == "en"


def test_the_next_pair_is_decoded_before_the_answer_is_given(page: Page, site: Site) -> None:
    """So the pause between an answer and the next play holds no transfer and no decoding."""
    page.add_init_script(
        """
        window.events = [];
        const decode = BaseAudioContext.prototype.decodeAudioData;
        BaseAudioContext.prototype.decodeAudioData = async function (bytes) {
          const buffer = await decode.call(this, bytes);
          window.events.push("decoded");
          return buffer;
        };
        """
    )
    open_pair(page, site)
    prompt = prompt_of(page)
    hear_both(page)
    wait_until(page, "window.events.length >= 4")
    page.evaluate(
        """
        const shown = document.querySelector("[data-show=prompt]");
        new MutationObserver(() => window.events.push("shown")).observe(shown, {childList: true});
        window.addEventListener("keydown", () => window.events.push("answered"), true);
        """
    )
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, prompt)
    events = page.evaluate("window.events")
    assert events[:6] == ["decoded", "decoded", "decoded", "decoded", "answered", "shown"]


def test_a_phone_of_320_px_shows_all_of_a_session_without_scrolling_sideways(
    page: Page, live_server: LiveServer
) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    site = make_site(live_server.url, minimum_listening_s=0.3)
    ask_aspects(site, "prompt_fit", "musicality", "sound_quality")
    open_pair(page, site)

    def assert_fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        small = page.evaluate(
            """[...document.querySelectorAll("main button, main a, dialog[open] button")]
            .filter((el) => el.checkVisibility())
            .map((el) => [el.textContent.trim(), el.getBoundingClientRect()])
            .filter(([, box]) => box.height < 43.9 || box.right > 320.5)
            .map(([text]) => text)"""
        )
        assert small == []

    assert_fits()
    page.click("[data-act=remark]")
    page.fill("#remark-text", "an uncommonly long remark about averylongwordindeedthatdoesnotbreak")
    page.click("text=Pin it there")
    hear_both(page)
    assert_fits()
    page.click("[data-act=answer-a]")
    assert_fits()
    for act in ("answer-b", "answer-tie", "answer-bad"):
        page.wait_for_timeout(600)  # presses so far apart are no double click
        page.click(f"[data-act={act}]")
    wait_until(page, f"!{IN_PASS}")
    count(AspectRating, 3, page)
    assert_fits()
    page.click("footer [data-act=history]")
    assert_fits()
    page.click("#history li button")
    wait_until(page, CHANGING)
    assert_fits()
