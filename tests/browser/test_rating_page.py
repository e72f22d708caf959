"""A rater's session in a real browser, against real services and real sound files."""

from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

from attune.ratings.choices import AssignmentState
from attune.ratings.models import Assignment, ClipReport, ListeningEvent, Rating, RatingRevision
from tests.browser.conftest import (
    STAGE,
    Seen,
    Site,
    answers_are_open,
    hear_both,
    make_site,
    open_pair,
    prompt_of,
    wait_for_other_prompt,
    wait_for_ratings,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def heard_s(page: Page, side: str) -> float:
    """How many seconds of a side the page says were heard."""
    text = page.inner_text(f"[data-side={side}] [data-show=amount]")
    return float(text.split()[0])


def test_a_pair_is_heard_and_answered_by_keyboard_alone(page: Page, site: Site, seen: Seen) -> None:
    open_pair(page, site)
    assert page.inner_text("[data-show=question]") == "Which do you prefer?"
    assert page.inner_text("[data-show=progress]") == "0 of 40 pairs"
    first_prompt = prompt_of(page)
    hear_both(page)
    page.keyboard.press("ArrowRight")
    wait_for_other_prompt(page, first_prompt)
    (rating,) = wait_for_ratings(page, 1)
    assert rating.choice == "B"
    assert rating.pair.prompt.text == first_prompt
    assert set(ListeningEvent.objects.values_list("side", flat=True)) == {"A", "B"}
    assert page.inner_text("[data-show=progress]") == "1 of 40 pairs"
    assert not answers_are_open(page)
    assert (heard_s(page, "A"), heard_s(page, "B")) == (0.0, 0.0)
    assert seen.problems == []
    assert page.evaluate("window.cspViolations") == []


def test_every_answer_has_a_key(page: Page, live_server: LiveServer) -> None:
    site = make_site(live_server.url, minimum_listening_s=0.0)
    open_pair(page, site)
    for key in ("ArrowLeft", "ArrowDown", "x"):
        prompt = prompt_of(page)
        page.keyboard.press(key)
        wait_for_other_prompt(page, prompt)
    choices = [rating.choice for rating in wait_for_ratings(page, 3)]
    assert choices == ["A", "TIE", "BOTH_BAD"]


def test_answers_stay_closed_until_both_clips_were_heard(page: Page, site: Site) -> None:
    open_pair(page, site)
    prompt = prompt_of(page)
    for key in ("ArrowLeft", "ArrowRight", "ArrowDown", "x"):
        page.keyboard.press(key)
    page.click("[data-act=answer-a]", force=True)
    page.keyboard.press("1")
    wait_until(page, '!!document.querySelector("[data-side=A] .state.enough")')
    assert not answers_are_open(page)
    assert "Listen to B for 1 more second" in page.inner_text("#gate")
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(200)
    assert prompt_of(page) == prompt
    assert Rating.objects.count() == 0


def test_the_server_refuses_forged_listening_with_a_sentence(page: Page, site: Site) -> None:
    open_pair(page, site)
    answer: dict[str, Any] = page.evaluate(
        """async () => {
        const token = document.cookie.match(/attune_csrf=([^;]+)/)[1];
        const post = (path, body) => fetch(`/api/v1/${path}`, {
          method: "POST",
          headers: {"Content-Type": "application/json", "X-CSRFToken": token},
          body: JSON.stringify(body),
        });
        const {id} = await (await post("assignments", {})).json();
        const response = await post("ratings", {
          client_id: "7e57ab1e-0000-4000-8000-000000000001", assignment: id, choice: "A",
          heard: {A: [[0, 3]], B: [[0, 0.1]]},
        });
        return {status: response.status, detail: (await response.json()).detail};
        }"""
    )
    assert answer["status"] == 422
    assert answer["detail"]
    assert Rating.objects.count() == 0


def test_a_double_click_stores_one_rating(page: Page, site: Site) -> None:
    open_pair(page, site)
    prompt = prompt_of(page)
    hear_both(page)
    page.dblclick("[data-act=answer-b]")
    wait_for_other_prompt(page, prompt)
    wait_for_ratings(page, 1)
    page.wait_for_timeout(300)
    assert Rating.objects.count() == 1


def test_a_reload_shows_the_same_pair_with_what_was_heard(page: Page, site: Site) -> None:
    open_pair(page, site)
    prompt = prompt_of(page)
    hear_both(page)
    page.reload()
    wait_until(page, f'{STAGE} === "rating"')
    assert prompt_of(page) == prompt
    assert answers_are_open(page)
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, prompt)
    (rating,) = wait_for_ratings(page, 1)
    assert rating.assignment.state == AssignmentState.ANSWERED


def test_the_next_pair_is_decoded_before_the_answer(page: Page, site: Site) -> None:
    open_pair(page, site)
    prompt = prompt_of(page)
    hear_both(page)
    assert Assignment.objects.filter(state=AssignmentState.OPEN).count() == 2
    wait_ms = page.evaluate(
        """async () => {
        const prompt = document.querySelector("[data-show=prompt]");
        const before = prompt.textContent;
        const start = performance.now();
        document.querySelector("[data-act=answer-a]").click();
        while (prompt.textContent === before) await new Promise((next) => setTimeout(next));
        return performance.now() - start;
        }"""
    )
    assert prompt_of(page) != prompt
    assert wait_ms < 300, f"{wait_ms:.0f} ms until the next pair"


def test_the_last_answer_can_be_changed_and_strength_added(page: Page, site: Site) -> None:
    open_pair(page, site)
    first = prompt_of(page)
    hear_both(page)
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, first)
    second = prompt_of(page)
    wait_for_ratings(page, 1)
    page.keyboard.press("u")
    assert prompt_of(page) == first
    page.keyboard.press("ArrowRight")
    assert prompt_of(page) == second
    wait_until(page, '!document.querySelector("[data-show=notice]").hidden')
    page.click("[data-strength='2']")
    wait_until(page, """document.querySelector("[data-strength='2']").ariaPressed === "true" """)
    rating = Rating.objects.get()
    assert (rating.choice, rating.strength) == ("B", 2)
    assert RatingRevision.objects.filter(rating=rating, choice="A").count() == 1
    assert (heard_s(page, "A"), heard_s(page, "B")) == (0.0, 0.0)


def test_a_frozen_answer_says_why_it_cannot_change(page: Page, site: Site) -> None:
    open_pair(page, site)
    first = prompt_of(page)
    hear_both(page)
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, first)
    wait_for_ratings(page, 1)
    Rating.objects.update(is_frozen=True)
    page.keyboard.press("u")
    page.keyboard.press("ArrowRight")
    notice = '!document.querySelector("[data-show=notice]").hidden'
    wait_until(page, notice)
    assert "can no longer be changed" in page.inner_text("[data-show=notice]")
    assert Rating.objects.get().choice == "A"


def test_a_reported_clip_skips_its_pair(page: Page, site: Site) -> None:
    open_pair(page, site)
    prompt = prompt_of(page)
    page.click("[data-act=report]")
    page.check("input[name=side][value=B]")
    page.fill("#remark", "it stops after a second")
    page.click("text=Report and skip")
    wait_for_other_prompt(page, prompt)
    report = ClipReport.objects.get()
    assert (report.side, report.remark) == ("B", "it stops after a second")
    assert report.assignment.state == AssignmentState.SKIPPED
    assert report.assignment.pair.is_withdrawn
    assert Rating.objects.count() == 0


def test_waiting_goes_on_by_itself_when_a_pair_is_ready(page: Page, site: Site) -> None:
    pairs = site.study.pairs
    pairs.update(is_ready=False)
    page.goto(site.invitation())
    wait_until(page, f'{STAGE} === "waiting"')
    assert "continues by itself" in page.inner_text("[data-for=waiting]")
    pairs.update(is_ready=True)
    wait_until(page, f'{STAGE} === "rating"')


def test_a_full_session_ends_with_thanks_and_can_go_on(page: Page, live_server: LiveServer) -> None:
    site = make_site(live_server.url, minimum_listening_s=0.0, pairs_per_session=2)
    open_pair(page, site)
    prompt = prompt_of(page)
    page.keyboard.press("ArrowLeft")
    wait_for_other_prompt(page, prompt)
    page.keyboard.press("ArrowLeft")
    wait_until(page, f'{STAGE} === "done"')
    assert "Thank you" in page.inner_text("[data-for=done]")
    assert page.inner_text("[data-show=progress]") == "2 of 2 pairs"
    page.click("[data-for=done] [data-act=go-on]")
    wait_until(page, f'{STAGE} === "rating"')
    wait_for_ratings(page, 2)


def test_a_clip_that_cannot_be_played_can_be_reported_and_skipped(page: Page, site: Site) -> None:
    page.route("**/audio/*.wav", lambda route: route.fulfill(status=200, body=b"no sound"))
    page.goto(site.invitation())
    wait_until(page, f'{STAGE} === "problem"')
    assert "can’t be played" in page.inner_text("[data-show=problem]")
    page.unroute("**/audio/*.wav")
    page.click("[data-act=skip-broken]")
    wait_until(page, f'{STAGE} === "rating"')
    assert ClipReport.objects.count() == 1


LEAST_TIME = """() => {
  const shown = document.querySelector("[data-show=time]");
  window.leastTime = Infinity;
  new MutationObserver(() => {
    window.leastTime = Math.min(window.leastTime, parseFloat(shown.textContent.split(":")[1]));
  }).observe(shown, {childList: true, characterData: true, subtree: true});
}"""


def test_switching_keeps_the_position_unless_restart_is_on(page: Page, site: Site) -> None:
    open_pair(page, site)
    at = 'parseFloat(document.querySelector("[data-show=time]").textContent.split(":")[1])'
    page.keyboard.press("1")
    wait_until(page, f"{at} >= 0.8")
    page.keyboard.press("2")
    assert page.evaluate(at) >= 0.8
    page.keyboard.press("r")
    page.evaluate(LEAST_TIME)
    page.keyboard.press("1")
    wait_until(page, "window.leastTime < 0.6")
    page.keyboard.press("Space")
    play = 'document.querySelector("[data-act=play]")'
    wait_until(page, f'{play}.getAttribute("aria-label") === {play}.dataset.play')
    stopped_at = page.evaluate(at)
    page.wait_for_timeout(250)
    assert page.evaluate(at) == stopped_at


def test_a_drag_marks_a_loop_of_at_least_half_a_second(page: Page, site: Site) -> None:
    open_pair(page, site)
    box = page.locator("[data-side=A] .wave").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.5, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.55, y, steps=4)
    page.mouse.up()
    assert page.get_attribute("[data-act=loop]", "aria-pressed") == "true"
    wave = 'getComputedStyle(document.querySelector("[data-side=A] .wave"))'
    start, end = (
        float(page.evaluate(f'{wave}.getPropertyValue("--loop-{name}")')) * 3.0
        for name in ("start", "end")
    )
    assert end - start == pytest.approx(0.5, abs=0.01)
    page.keyboard.press("1")
    page.wait_for_timeout(900)
    at = page.evaluate(
        'parseFloat(document.querySelector("[data-show=time]").textContent.split(":")[1])'
    )
    assert start - 0.1 <= at <= end + 0.1
    heard = 'parseFloat(document.querySelector("[data-side=A] [data-show=amount]").textContent)'
    wait_until(page, f"{heard} >= 0.45")
    page.wait_for_timeout(600)
    assert heard_s(page, "A") <= 0.56


def test_the_focused_waveform_is_a_slider(page: Page, site: Site) -> None:
    open_pair(page, site)
    slider = page.locator("[data-side=A] [role=slider]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "2.0 of 3.0 seconds"
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuenow") == "0.0"
    assert Rating.objects.count() == 0


def test_keys_can_be_switched_off(page: Page, site: Site) -> None:
    open_pair(page, site)
    page.keyboard.press("?")
    page.uncheck("#keys-are-on")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    page.wait_for_timeout(150)
    assert page.get_attribute("[data-act=play]", "aria-label") == "Play"


def test_the_page_fits_320_px_and_targets_are_large(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    open_pair(page, site)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    small = page.evaluate(
        """[...document.querySelectorAll("#rate button, #rate [role=slider]")]
        .filter((el) => el.checkVisibility())
        .map((el) => [el.textContent.trim(), el.getBoundingClientRect().height])
        .filter(([, height]) => height < 44)"""
    )
    assert small == []
    hear_both(page)
    page.click("[data-act=answer-tie]")
    wait_for_ratings(page, 1)


def test_the_page_weighs_less_than_100_kb(page: Page, site: Site) -> None:
    """All that is transferred before the first pair can be played, without audio.

    Scripts and styles are weighed as the site's own middleware serves them, compressed: the test
    server serves files by itself. Each answer's head counts with 400 bytes.
    """
    sizes: dict[str, int] = {}
    page.on(
        "requestfinished",
        lambda request: sizes.update({request.url: request.sizes()["responseBodySize"]}),
    )
    open_pair(page, site)
    page.wait_for_load_state("networkidle")
    client = Client(headers={"Accept-Encoding": "gzip"})
    for url in list(sizes):
        if "/static/" in url:
            answer = client.get(url.removeprefix(site.url))
            assert answer["Content-Encoding"] == "gzip"
            sizes[url] = len(answer.getvalue())
    weight = {url: size + 400 for url, size in sizes.items() if "/audio/" not in url}
    assert any(url.endswith("page.js") for url in weight)
    assert any(url.endswith("rate.css") for url in weight)
    assert 20_000 < sum(weight.values()) < 100_000, weight
    print(f"{sum(weight.values())} bytes in {len(weight)} answers")


def test_signing_out_warns_that_the_link_works_once(page: Page, site: Site) -> None:
    open_pair(page, site)
    page.click(".leave")
    assert "An invitation works once" in page.inner_text("#leave")
    page.click("#leave >> text=Stay")
    assert page.evaluate(STAGE) == "rating"
    page.click(".leave")
    page.click("#leave form button")
    page.wait_for_url(f"{site.url}/")
    assert "Two clips of music" in page.inner_text("h1")
