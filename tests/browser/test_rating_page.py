"""A rater's session in a real browser, against real services and real sound files."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, Route
from pytest_django.live_server_helper import LiveServer

from attune.raters.models import Rater
from attune.ratings.choices import AssignmentState
from attune.ratings.models import Assignment, ClipReport, ListeningEvent, Rating, RatingRevision
from attune.ratings.services import change_rating
from tests.browser.conftest import (
    STAGE,
    Seen,
    Site,
    allow_routes,
    answers_are_open,
    hear_both,
    make_site,
    open_pair,
    prompt_of,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TIMED_OUT = "status of 50"


def wait_for_ratings(page: Page, n: int, timeout_s: float = 10.0) -> list[Rating]:
    """The ratings once there are n of them, oldest first."""
    for _ in range(int(timeout_s * 20)):
        ratings = list(Rating.objects.select_related("assignment").order_by("pk"))
        if len(ratings) >= n:
            return ratings
        page.wait_for_timeout(50)
    raise AssertionError(f"expected {n} ratings, found {Rating.objects.count()}")


def wait_for_other_prompt(page: Page, prompt: str) -> None:
    """Waits until the page shows another pair, ready to be heard."""
    script = f'{STAGE} === "rating" && document.querySelector("[data-show=prompt]").textContent'
    for _ in range(200):
        shown = page.evaluate(script)
        if shown and shown != prompt:
            return
        page.wait_for_timeout(40)
    raise AssertionError(f"the page still shows {prompt!r}")


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


def test_a_clip_that_cannot_be_played_can_be_reported_and_skipped(page: Page, site: Site) -> None:
    page.route("**/audio/*.wav", lambda route: route.fulfill(status=200, body=b"no sound"))
    page.goto(site.invitation())
    wait_until(page, f'{STAGE} === "problem"')
    assert "can’t be played" in page.inner_text("[data-show=problem]")
    page.unroute("**/audio/*.wav")
    page.click("[data-act=skip-broken]")
    wait_until(page, f'{STAGE} === "rating"')
    assert ClipReport.objects.count() == 1


def test_signing_out_elsewhere_keeps_the_answer(page: Page, site: Site) -> None:
    open_pair(page, site)
    hear_both(page)
    page.context.clear_cookies()
    page.keyboard.press("ArrowLeft")
    wait_until(page, f'{STAGE} === "signed-out"')
    kept = page.evaluate("Object.keys(localStorage).filter((k) => k.includes('answers'))")
    assert len(kept) == 1
    assert Rating.objects.count() == 0


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
