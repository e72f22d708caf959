"""The console in a real browser: policy, phones, live rounds, audio, the keyboard."""

from pathlib import Path

import numpy as np
import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page
from pytest_django.live_server_helper import LiveServer

from attune.catalog.models import Checkpoint, RotationEntry, RotationEvent, RotationRole
from attune.catalog.services import enter_rotation
from attune.leaderboard.services import refresh_leaderboard
from attune.raters.models import Role
from attune.rounds.models import Round, RoundState
from attune.rounds.run_files import round_folder
from attune.rounds.services import record_evaluation, record_round_metric, record_round_sample
from tests.browser.conftest import CSP_WATCH, Seen, Site, wait_until
from tests.recordings import recording_bytes, tune

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PATHS = (
    *("", "leaderboard/", "rounds/", "rounds/new/", "rounds/{round}/", "checkpoints/"),
    *(
        "checkpoints/quagga-canary/",
        "lineage/",
        "rotation/",
        "studies/",
        "studies/new/",
        "studies/first-listen/",
        "studies/first-listen/settings/",
        "prompts/",
        "clips/",
        "jobs/",
    ),
    *("leaderboard/?population=rehearsal", "rotation/?population=rehearsal"),
)


@pytest.fixture
def running(site: Site) -> Round:
    """A training round on the site's anchor, and a canary with a standing."""
    anchor, canary = site.checkpoints
    for checkpoint, role in ((anchor, RotationRole.ANCHOR), (canary, RotationRole.CANARY)):
        enter_rotation(
            checkpoint=checkpoint, population="people", role=role, share=0.5, reason="for the test"
        )
    _judge(site, canary)
    stored = Round.objects.create(
        name="dusk",
        study=site.study,
        population="people",
        method="dpo",
        base_checkpoint=anchor,
        state=RoundState.TRAINING,
        dataset_sha256="0" * 64,
        counts={"ratings": 40, "usable": 36, "train": 30, "held_out": 6},
        started_at=timezone.now(),
    )
    record_round_metric(
        round=stored, step=1, n_steps=9, values={"loss": 0.693, "margin": 0.0, "accuracy": 0.5}
    )
    record_evaluation(round=stored, check_name="silence", figure=0.0)
    return stored


def _judge(site: Site, canary: Checkpoint) -> None:
    """Three raters prefer the canary, one the anchor."""
    from tests.unit.attune.rated import RatedStudy

    rated = RatedStudy(study=site.study, base=site.checkpoints[0], folder=None)  # type: ignore[arg-type]
    pairs = list(site.study.pairs.filter(second_checkpoint=canary))
    for number, choice in enumerate("BBBA"):
        rated.rate(pairs[0], choice, rater=number)
    pairs[0].purpose = "judging"
    pairs[0].save()
    refresh_leaderboard(population="people", now=timezone.now(), rng=np.random.default_rng(0))


PREFLIGHT_SAYS = 'document.querySelector(".preflight")?.innerText.includes("%s")'


def sign_in(page: Page, site: Site, role: Role = Role.ENGINEER) -> None:
    """Opens the console in one role."""
    page.goto(site.invitation(role))
    assert page.url.rstrip("/").endswith("/console")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_every_page_fits_its_screen_and_breaks_no_policy(
    browser: Browser, site: Site, running: Round, width: int, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 844},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    context.add_init_script(CSP_WATCH)
    page, seen = context.new_page(), Seen()
    seen.watch(page)
    sign_in(page, site)
    for path in PATHS:
        answer = page.goto(f"{site.url}/console/{path.format(round=running.pk)}")
        assert answer is not None
        assert answer.status == 200
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.evaluate("window.cspViolations") == []
        assert page.locator("h1").count() == 1
        assert page.locator('.sidebar [aria-current="page"]').count() == 1
    assert seen.problems == []
    context.close()


def test_curves_move_while_a_round_trains_and_stand_still_when_it_ends(
    page: Page, site: Site, running: Round, seen: Seen
) -> None:
    sign_in(page, site)
    page.goto(f"{site.url}/console/rounds/{running.pk}/")
    loss = 'document.querySelector(".plot polyline").getAttribute("points")'
    before = page.evaluate(loss)
    page.get_by_text("Table", exact=True).click()
    record_round_metric(round=running, step=4, n_steps=9, values={"loss": 0.6, "margin": 0.1})
    wait_until(page, f"{loss} !== {before!r}", timeout_s=8)
    assert "step 4 of 9" in page.inner_text("#live")
    assert page.locator("details[open] td").first.is_visible(), "an open table stays open"

    Round.objects.filter(pk=running.pk).update(
        state=RoundState.CANCELLED, finished_at=timezone.now(), outcome="Cancelled."
    )
    page.wait_for_selector("#live:not([hx-trigger])", timeout=8000)
    assert "cancelled" in page.inner_text("#live")
    assert page.get_by_role("button", name="Cancel this round").count() == 0
    assert page.evaluate("window.cspViolations") == []
    assert seen.problems == []


def test_a_sample_plays_on_while_the_page_refreshes(
    page: Page, site: Site, running: Round, seen: Seen
) -> None:
    sample = record_round_sample(
        round=running,
        step=0,
        number=0,
        prompt="a lonely accordion waltz",
        seed=7,
        audio_path="samples/step-0-0.wav",
        duration_s=3.0,
    )
    file = round_folder(running) / sample.audio_path
    file.parent.mkdir(parents=True)
    file.write_bytes(recording_bytes(samples=tune(duration_s=20.0)))
    sign_in(page, site)
    page.goto(f"{site.url}/console/rounds/{running.pk}/")
    sound = f'document.querySelector("#sound-{sample.pk}")'
    page.evaluate(f"{sound}.muted = true; {sound}.play()")
    wait_until(page, f"{sound}.currentTime > 0")
    record_round_metric(round=running, step=4, n_steps=9, values={"loss": 0.6})
    wait_until(page, 'document.querySelector("#live").innerText.includes("step 4 of 9")')
    assert page.evaluate(f"!{sound}.paused && {sound}.currentTime > 0")
    assert page.evaluate("window.cspViolations") == []
    assert seen.problems == []


def test_a_clip_can_be_played(page: Page, site: Site, running: Round) -> None:
    sign_in(page, site, Role.REVIEWER)
    page.goto(f"{site.url}/console/clips/")
    assert page.locator("audio").count() == 8
    page.evaluate('document.querySelector("audio").load()')
    page.evaluate('document.querySelector("audio").preload = "auto"')
    wait_until(page, 'document.querySelector("audio").duration > 2.9')
    page.evaluate('document.querySelector("audio").currentTime = 2')
    wait_until(page, 'document.querySelector("audio").currentTime === 2')
    assert page.evaluate("window.cspViolations") == []


def test_a_recording_is_uploaded_and_heard(page: Page, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "evening song.ogg"
    file.write_bytes(recording_bytes("OGG"))
    sign_in(page, site)
    page.goto(f"{site.url}/console/prompts/")
    page.get_by_text("Upload a recording").click()
    page.get_by_label("Recording", exact=True).set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    page.wait_for_selector(".messages")
    assert "Recording evening song is stored" in page.inner_text(".messages")
    page.evaluate('document.querySelector("audio").preload = "auto"')
    wait_until(page, 'document.querySelector("audio").duration > 2.9')
    page.evaluate('document.querySelector("audio").currentTime = 2')
    wait_until(page, 'document.querySelector("audio").currentTime === 2')
    assert page.evaluate("window.cspViolations") == []


def test_a_canary_is_taken_out_by_keyboard_alone(page: Page, site: Site, running: Round) -> None:
    sign_in(page, site)
    page.goto(f"{site.url}/console/rotation/")
    page.get_by_label("Reason for taking quagga-canary out").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("it hums")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".messages")
    assert "quagga-canary was rolled back" in page.inner_text(".messages")
    assert not RotationEntry.objects.filter(checkpoint=site.checkpoints[1]).exists()
    assert RotationEvent.objects.latest("pk").reason == "it hums"


def test_enter_in_the_reason_decides_nothing(page: Page, site: Site, running: Round) -> None:
    sign_in(page, site)
    page.goto(f"{site.url}/console/leaderboard/")
    n_events = RotationEvent.objects.count()
    page.get_by_label("Reason, kept with the decision").focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert RotationEvent.objects.count() == n_events


def test_another_base_is_counted_as_soon_as_it_is_chosen(
    page: Page, site: Site, running: Round
) -> None:
    sign_in(page, site)
    page.goto(f"{site.url}/console/rounds/new/")
    assert not page.get_by_text("Show the numbers for these").is_visible()
    page.get_by_label("Base checkpoint").select_option("quagga-canary")
    page.wait_for_url("**base=quagga-canary**")
    wait_until(page, PREFLIGHT_SAYS % "on quagga-canary")
    page.reload()
    assert "on quagga-canary" in page.inner_text(".preflight")


def test_settings_follow_the_method_and_mistakes_are_told_at_once(
    page: Page, site: Site, running: Round, seen: Seen
) -> None:
    sign_in(page, site)
    page.goto(f"{site.url}/console/rounds/new/")
    page.get_by_text("KTO", exact=True).click()
    page.get_by_label("Weight of wanted clips").wait_for()
    assert page.get_by_label("Loss", exact=True).count() == 0
    page.get_by_label("Epochs").fill("99")
    page.keyboard.press("Tab")
    page.get_by_text("Got 99, allowed is a whole number from 1 to 20.").wait_for()
    assert page.get_by_label("Epochs").input_value() == "99"
    assert page.get_by_role("button", name="Freeze and start").is_disabled()
    assert page.evaluate("window.cspViolations") == []
    assert seen.problems == []


def test_the_api_documents_itself_within_the_policy(
    context: BrowserContext, page: Page, live_server: LiveServer, seen: Seen
) -> None:
    page.goto(f"{live_server.url}/api/v1/docs")
    wait_until(page, 'document.querySelectorAll(".opblock").length > 20', timeout_s=20)
    page.locator(".opblock-summary", has_text="/api/v1/clips").first.click()
    wait_until(page, 'document.querySelector(".opblock-body .parameters, .opblock-section")')
    assert page.evaluate("window.cspViolations") == []
    assert seen.problems == []
