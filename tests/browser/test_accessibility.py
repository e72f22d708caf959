"""axe-core finds nothing on any page, in light and dark, on a desk and on a phone."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from attune.raters.consent_services import write_consent_text
from attune.raters.models import Role
from attune.ratings.services import update_study
from tests.browser.conftest import STAGE, Site, hear_both, make_site, open_pair, wait_until
from tests.browser.test_console import running as running_round  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
RUN = """async () => {
  const {violations} = await axe.run(document, {resultTypes: ["violations"]});
  const places = (nodes) => nodes.map((node) => node.html.slice(0, 140)).join(" | ");
  return violations.map(({id, nodes}) => `${id}: ${places(nodes)}`);
}"""
DIALOGS = ("keys", "leave", "report", "history")
STAGES = ("waiting", "problem", "signed-out", "outdated", "break", "done", "loading")
DOORS = ("/", "/sign-in", "/join/none", "/panel/none", "/withdrawn", "/arrival/declined", "/none")
CONSOLE_PAGES = 45

MODES = [
    pytest.param(({"width": 1200, "height": 860}, "light"), id="desk-light"),
    pytest.param(({"width": 1200, "height": 860}, "dark"), id="desk-dark"),
    pytest.param(({"width": 320, "height": 640}, "light"), id="phone-light"),
    pytest.param(({"width": 390, "height": 844}, "dark"), id="phone-dark"),
]


@pytest.fixture(params=MODES)
def page(
    browser: Browser, live_server: LiveServer, request: pytest.FixtureRequest
) -> Iterator[Page]:
    """A page of one size and colour scheme, in which axe can be run under the site's policy."""
    viewport, scheme = request.param
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    context.add_init_script(path=str(AXE))
    yield context.new_page()
    context.close()


@pytest.fixture
def violations(page: Page) -> dict[str, list[str]]:
    """Where axe found what, filled by `look`."""
    return {}


def look(page: Page, place: str, violations: dict[str, list[str]]) -> None:
    """Runs axe on what the page shows now."""
    found = page.evaluate(RUN)
    if found:
        violations[place] = found


def test_the_vendored_axe_is_the_one_that_was_published() -> None:
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == SHA256


def test_axe_finds_what_is_wrong(browser: Browser) -> None:
    context = browser.new_context()
    context.add_init_script(path=str(AXE))
    page = context.new_page()
    page.goto("data:text/html,<p style='color:%23ccc'>faint</p><img src='x'><button></button>")
    found = " ".join(page.evaluate(RUN))
    context.close()
    for rule in ("color-contrast", "image-alt", "button-name", "html-has-lang"):
        assert rule in found


def test_nothing_is_wrong_with_the_rating_page_in_any_stage(
    page: Page, live_server: LiveServer, violations: dict[str, list[str]]
) -> None:
    site = make_site(live_server.url, minimum_listening_s=0.3)
    update_study(study=site.study, aspects=["prompt_fit"])
    open_pair(page, site)
    look(page, "first pair", violations)
    for dialog in DIALOGS:
        page.evaluate(f"document.querySelector('#{dialog}').showModal()")
        look(page, dialog, violations)
        page.evaluate(f"document.querySelector('#{dialog}').close()")
    hear_both(page)
    page.keyboard.press("m")
    look(page, "remark", violations)
    page.fill("#remark-text", "a click")
    page.keyboard.press("Enter")
    look(page, "heard, with a remark", violations)
    page.keyboard.press("ArrowLeft")
    wait_until(page, 'document.querySelector("#rate").classList.contains("in-pass")')
    look(page, "an aspect", violations)
    page.wait_for_timeout(300)
    page.keyboard.press("ArrowDown")
    wait_until(page, '!document.querySelector("#rate").classList.contains("in-pass")')
    page.evaluate(
        """import("/static/rating_ui/texts.js").then(({texts}) => {
          document.querySelector("[data-show=advice-text]").textContent =
            texts.notice("listen_closely");
          document.querySelector("[data-show=advice]").hidden = false;
        })"""
    )
    look(page, "next pair, with strength and advice", violations)
    page.keyboard.press("h")
    look(page, "list of answers", violations)
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    wait_until(page, 'document.querySelector("#rate").classList.contains("changing")')
    look(page, "an answer being changed", violations)
    for stage in STAGES:
        page.evaluate(f'document.querySelector("#rate").dataset.stage = "{stage}"')
        look(page, stage, violations)
    assert violations == {}


def test_nothing_is_wrong_with_the_doors(
    page: Page, site: Site, violations: dict[str, list[str]]
) -> None:
    for path in DOORS:
        page.goto(site.url + path)
        look(page, path, violations)
    assert violations == {}


def test_nothing_is_wrong_with_what_comes_before_the_first_pair(
    page: Page, site: Site, violations: dict[str, list[str]]
) -> None:
    text, _ = write_consent_text(name="listening", title="Taking part", text="You listen.")
    settings: dict[str, Any] = {
        "consent": text,
        "asks_volume": True,
        "device_check": "record",
        "n_practice": 1,
    }
    update_study(study=site.study, **settings)
    page.goto(site.invitation())
    steps = ("consent", "volume", "device-check", "practice")
    for step, setting, off in zip(steps, settings, (None, False, "off", 0), strict=True):
        page.goto(f"{site.url}/rate/")
        page.wait_for_url(f"**/arrival/{step}")
        page.wait_for_load_state("networkidle")
        look(page, step, violations)
        update_study(study=site.study, **{setting: off})
    for path in ("/me/", "/me/withdraw"):
        page.goto(site.url + path)
        look(page, path, violations)
    assert violations == {}


@pytest.mark.usefixtures("running_round")
def test_nothing_is_wrong_with_the_console(
    page: Page, site: Site, violations: dict[str, list[str]]
) -> None:
    """Every page that can be reached by links from the console's first one."""
    page.goto(site.invitation(Role.ENGINEER))
    ahead, seen = ["/console/"], {"/console/"}
    while ahead and len(seen) <= CONSOLE_PAGES:
        path = ahead.pop(0)
        answer = page.goto(site.url + path)
        assert answer is not None
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        look(page, path, violations)
        for link in page.eval_on_selector_all(
            'a[href^="/console/"]:not([download])', "all => all.map((a) => a.pathname)"
        ):
            if link not in seen and "." not in link:
                seen.add(link)
                ahead.append(link)
    assert len(seen) > 12
    assert violations == {}


def test_the_rating_page_can_be_used_at_twice_the_size(
    browser: Browser, live_server: LiveServer
) -> None:
    """200 % zoom of a 1280 px window is a window of 640 px with twice the pixels."""
    site = make_site(live_server.url, minimum_listening_s=0.3)
    context = browser.new_context(viewport={"width": 640, "height": 400}, device_scale_factor=2)
    page = context.new_page()
    open_pair(page, site)
    assert page.evaluate("document.documentElement.scrollWidth") <= 640
    hear_both(page)
    page.click("[data-act=answer-b]")
    wait_until(page, f'{STAGE} === "rating"')
    context.close()


def test_nothing_moves_for_those_who_asked_for_that(
    browser: Browser, live_server: LiveServer
) -> None:
    site = make_site(live_server.url)
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    open_pair(page, site)
    page.evaluate('document.querySelector("#rate").dataset.stage = "waiting"')
    page.wait_for_timeout(100)
    moving = "document.getAnimations().filter((a) => a.playState === 'running').length"
    assert page.evaluate(moving) == 0
    context.close()
    context = browser.new_context()
    page = context.new_page()
    open_pair(page, site)
    page.evaluate('document.querySelector("#rate").dataset.stage = "waiting"')
    page.wait_for_timeout(100)
    assert page.evaluate(moving) > 0
    context.close()
