"""A real Chromium, a live site with pairs to hear, and a rater's page."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from pytest_django.live_server_helper import LiveServer

from attune.catalog.models import Checkpoint, PromptSet
from attune.catalog.services import PromptRow, add_prompt_set, add_prompts
from attune.raters.models import Role
from attune.raters.services import create_invitation
from attune.ratings.models import Rating, Study
from attune.ratings.services import create_study
from tests.browser.clips import make_audible_pair
from tests.factories import make_checkpoint

FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PROMPTS = (
    "a slow, warm piano melody in a minor key with soft brushed drums",
    "bright marimba over a steady kick drum, cheerful and quick",
    "a lonely accordion waltz",
    "driving synth bass with hand claps at 124 beats per minute",
    "a lullaby for music box and strings",
    "solo guitar, fingerpicked, in an open tuning",
)
CSP_WATCH = """
window.cspViolations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.cspViolations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
});
"""


def find_chromium() -> str | None:
    """The path of a Chromium of this machine."""
    for candidate in (os.environ.get("CHROMIUM"), *map(shutil.which, NAMES)):
        if candidate and Path(candidate).exists():
            return candidate
    return None


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests; without one they are skipped, or fail if one is required."""
    path = find_chromium()
    if path is None:
        reason = "no Chromium: install one, or name it by CHROMIUM=/path"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    # Playwright's sync interface runs an event loop in this thread; Django would refuse the ORM.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=path, args=list(FLAGS), chromium_sandbox=os.geteuid() != 0
        )
        yield chromium
        chromium.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@dataclass
class Seen:
    """All that a page received and complained about."""

    problems: list[str] = field(default_factory=list)
    received: list[tuple[str, str, bytes]] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Collects from now on what goes wrong on the page and what it receives."""
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._note_console)
        page.on("response", self._note_response)

    def _note_console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(message.text)

    def _note_response(self, response: Any) -> None:
        headers = "\n".join(f"{name}: {value}" for name, value in response.all_headers().items())
        try:
            body = response.body()
        except Exception:  # a redirect has no body; its headers are what it sends
            body = b""
        self.received.append((response.url, headers, body))


@dataclass(frozen=True)
class Site:
    """A running site with one study of audible pairs."""

    url: str
    study: Study
    checkpoints: tuple[Checkpoint, Checkpoint]

    def invitation(self, role: Role = Role.RATER) -> str:
        """The address of a fresh invitation."""
        _, token = create_invitation(role=role, lifetime=timedelta(hours=1), now=timezone.now())
        return f"{self.url}/join/{token}"


def make_site(
    url: str,
    *,
    n_pairs: int = 4,
    minimum_listening_s: float = 0.6,
    clip_duration_s: float = 3.0,
    pairs_per_session: int = 40,
) -> Site:
    """A study of real sound files whose checkpoints have names that nothing else has."""
    prompt_set: PromptSet = add_prompt_set(name="listening prompts")
    prompts = add_prompts(prompt_set=prompt_set, rows=[PromptRow(text=text) for text in PROMPTS])
    study = create_study(
        slug="first-listen",
        name="First listen",
        population="people",
        prompt_set=prompt_set,
        clip_duration_s=clip_duration_s,
        minimum_listening_s=minimum_listening_s,
        pairs_per_session=pairs_per_session,
    )
    anchor = make_checkpoint("quagga-anchor")
    canary = make_checkpoint("quagga-canary", parent=anchor)
    for number in range(n_pairs):
        make_audible_pair(
            study,
            prompts[number % len(prompts)],
            (anchor, canary if number % 2 else anchor),
            seed=770_011_000 + 10 * number,
        )
    return Site(url=url, study=study, checkpoints=(anchor, canary))


@pytest.fixture
def site(live_server: LiveServer, transactional_db: None) -> Site:
    """A running site with four pairs, 3 s long, 0.6 s of each to be heard."""
    return make_site(live_server.url)


def count_open_connections() -> int:
    """How many browser connections the live server still serves, a thread for each."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def _quiet_end(transactional_db: None) -> Iterator[None]:
    """Empties the tables only when no request is being answered any more.

    A request that outlives its page holds rows, PostgreSQL then cannot empty the tables, and the
    next test meets this one's.
    """
    yield
    end = time.monotonic() + 30
    while count_open_connections() and time.monotonic() < end:
        time.sleep(0.02)
    assert not count_open_connections(), "requests are being answered 30 s after their page closed"


@pytest.fixture
def context(browser: Browser, live_server: LiveServer) -> Iterator[BrowserContext]:
    """A browser profile of its own, of desktop size; gone before the site and its rows are."""
    context = browser.new_context(viewport={"width": 1200, "height": 860})
    context.add_init_script(CSP_WATCH)
    yield context
    context.close()


@pytest.fixture
def seen() -> Seen:
    """What the page of this test received and complained about."""
    return Seen()


@pytest.fixture
def page(context: BrowserContext, seen: Seen) -> Page:
    """A page whose console, violations and responses are kept in `seen`."""
    page = context.new_page()
    seen.watch(page)
    return page


def allow_routes(page: Page) -> None:
    """Lets routes that are added later hold from their first request on. Call before loading.

    The browser starts to intercept when it gets round to it, and requests slip through until then.
    """
    page.route("**/an-address-that-nothing-has", lambda route: route.continue_())


def wait_until(page: Page, expression: str, timeout_s: float = 10.0) -> Any:
    """The expression's value once it is true. Polls, because the policy forbids eval."""
    end = time.monotonic() + timeout_s
    while not (value := _evaluate(page, expression)):
        assert time.monotonic() < end, f"never became true: {expression}"
        page.wait_for_timeout(40)
    return value


def _evaluate(page: Page, expression: str) -> Any:
    """The expression's value; None while the page goes to another address."""
    try:
        return page.evaluate(expression)
    except PlaywrightError as exc:
        if "context was destroyed" not in str(exc):
            raise
        return None


STAGE = 'document.querySelector("#rate")?.dataset.stage'


def open_pair(page: Page, site: Site) -> None:
    """Signs a new rater in by invitation and waits for the first pair."""
    page.goto(site.invitation())
    wait_until(page, f'{STAGE} === "rating"')


def prompt_of(page: Page) -> str:
    """The prompt that the page shows."""
    return page.inner_text("[data-show=prompt]")


def answers_are_open(page: Page) -> bool:
    """Whether the page takes an answer now."""
    return page.get_attribute("[data-act=answer-a]", "aria-disabled") == "false"


def hear_both(page: Page) -> None:
    """Listens to A and B by keyboard until the answers open."""
    for side, key in (("A", "1"), ("B", "2")):
        page.keyboard.press(key)
        wait_until(
            page, f'!!document.querySelector("[data-side={side}] .state.enough")', timeout_s=15
        )
    assert answers_are_open(page)


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
