"""What comes before the first pair, in a real Chromium: by mouse, by keys, on small screens."""

import re

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from attune.raters.consent_services import write_consent_text
from attune.raters.device_check import right_interval
from attune.raters.models import Consent, DeviceCheck, Rater
from attune.ratings.arrival_models import Arrival, DeviceResult, PanelSession
from attune.ratings.arrival_services import replace_consent_text
from attune.ratings.models import Rating
from attune.ratings.panel_services import create_panel_link
from attune.ratings.panels import link_token
from attune.ratings.practice import clean_side
from attune.ratings.services import update_study
from tests.browser.conftest import STAGE, Seen, Site, wait_for_ratings, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TEXT = "You listen to clips.\n\n* We store your answers.\n* You can leave at any time."


def expect_step(page: Page, heading: str) -> None:
    """Waits until a step is there and its script listens to keys."""
    expect(page.get_by_role("heading", name=heading)).to_be_visible()
    page.wait_for_load_state("load")


def ask(site: Site, **settings: object) -> None:
    """Makes the site's study ask for what is named."""
    update_study(study=site.study, **settings)


def ask_for_all(site: Site) -> None:
    text, _ = write_consent_text(name="listening", title="Taking part", text=TEXT)
    ask(site, consent=text, asks_volume=True, device_check="record", n_practice=3)


def press_when_open(page: Page, selector: str, key: str) -> None:
    wait_until(
        page, f"document.querySelector({selector!r})?.getAttribute('aria-disabled') === 'false'", 20
    )
    page.keyboard.press(key)


def make_check(page: Page, *, is_right: bool = True) -> None:
    """Answers a headphone check by keyboard, all trials rightly or all wrongly."""
    check = DeviceCheck.objects.order_by("-pk").first()
    assert check is not None
    for trial in range(6):
        answer = right_interval(check.seed, check.kind, trial)
        if trial == 0:
            page.keyboard.press("Space")
        press_when_open(
            page, "[data-act=choose]", str((answer if is_right else (answer + 1) % 3) + 1)
        )
        is_over = "document.querySelector('#check')?.dataset.stage !== 'trial'"
        count = "document.querySelector('[data-show=count]')?.textContent"
        wait_until(page, f"{is_over} || !{count}.startsWith('{trial + 1} ')", 20)


def practise(page: Page) -> None:
    """Goes through three practice pairs by keyboard with the expected answers."""
    rater = Rater.objects.get()
    for number in range(3):
        wait_until(
            page,
            f"document.querySelector('[data-show=count]')?.textContent.includes('{number + 1}')"
            " && document.querySelector('#practice')?.dataset.stage === 'rating'",
            20,
        )
        for side, key in (("A", "1"), ("B", "2")):
            page.keyboard.press(key)
            wait_until(page, f"!!document.querySelector('[data-side={side}] .state.enough')", 20)
        is_a = clean_side(rater, number).value == "A"
        page.keyboard.press("ArrowLeft" if is_a else "ArrowRight")
        wait_until(page, "document.querySelector('#practice')?.dataset.stage === 'told'")
        assert "most people hear" in page.inner_text("[data-show=verdict]")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")


def test_a_newcomer_goes_from_the_link_to_the_first_pair_by_keyboard_alone(
    page: Page, site: Site, seen: Seen
) -> None:
    ask_for_all(site)
    page.goto(site.invitation())
    expect_step(page, "Taking part")
    expect(page.get_by_text("Step 1 of 4")).to_be_visible()
    page.get_by_role("button", name="I agree and take part").focus()
    page.keyboard.press("Enter")

    expect_step(page, "Set your volume")
    page.get_by_role("button", name="Play the noise").focus()
    page.keyboard.press("Enter")
    wait_until(page, "document.querySelector('[data-act=comfortable]')?.ariaDisabled === 'false'")
    page.get_by_role("button", name="It is comfortable").focus()
    page.keyboard.press("Enter")

    expect_step(page, "Are your headphones on?")
    page.get_by_role("button", name="Start").focus()
    page.keyboard.press("Enter")
    wait_until(page, "document.querySelector('#check')?.dataset.stage === 'trial'")
    make_check(page)

    page.wait_for_url("**/arrival/practice")
    practise(page)
    wait_until(page, f'{STAGE} === "rating"')
    arrival = Arrival.objects.get()
    assert arrival.device_result == DeviceResult.PASSED
    assert len(arrival.practice) == 3
    assert Consent.objects.count() == 1
    assert not Rating.objects.exists()
    assert seen.problems == []
    assert page.evaluate("window.cspViolations") == []


def test_who_has_no_headphones_goes_on_where_the_check_is_only_recorded(
    page: Page, site: Site
) -> None:
    ask(site, device_check="record")
    page.goto(site.invitation())
    page.get_by_role("button", name="I have no headphones").first.click()
    wait_until(page, f'{STAGE} === "rating"')
    assert Arrival.objects.get().device_result == DeviceResult.NO_HEADPHONES


def test_a_check_that_hears_nothing_keeps_out_only_where_the_study_says_so(
    page: Page, site: Site
) -> None:
    ask(site, device_check="exclude")
    page.goto(site.invitation())
    assert page.get_by_role("button", name="I have no headphones").count() == 0
    page.get_by_role("button", name="Start").click()
    for kind in ("pitch", "tones"):
        wait_until(
            page,
            "document.querySelector('[data-show=question]')?.textContent"
            f" === document.querySelector('[data-show=question]')?.dataset.{kind}"
            " && document.querySelector('[data-show=count]')?.textContent.startsWith('1 ')",
        )
        make_check(page, is_right=False)
    expect_step(page, "We could not hear your headphones")
    page.get_by_role("button", name="Try once more").click()
    page.wait_for_url("**/arrival/device-check")
    page.get_by_role("button", name="Start").click()
    wait_until(page, "document.querySelector('#check')?.dataset.stage === 'trial'")
    make_check(page)
    wait_until(page, f'{STAGE} === "rating"')


def test_a_wrong_practice_answer_is_told_kindly_and_may_be_heard_again(
    page: Page, site: Site
) -> None:
    ask(site, n_practice=1)
    page.goto(site.invitation())
    wait_until(page, "document.querySelector('#practice')?.dataset.stage === 'rating'", 20)
    for side, key in (("A", "1"), ("B", "2")):
        page.keyboard.press(key)
        wait_until(page, f"!!document.querySelector('[data-side={side}] .state.enough')", 20)
    page.keyboard.press("ArrowDown")
    expect(page.get_by_text(re.compile("Most people prefer [AB] here"))).to_be_visible()
    page.get_by_role("button", name="Listen again").click()
    page.keyboard.press("2")
    wait_until(page, "document.querySelector('#deck')?.classList.contains('playing')")
    page.keyboard.press("ArrowDown")
    page.get_by_role("button", name="Next").click()
    wait_until(page, f'{STAGE} === "rating"')


def test_no_answer_of_the_check_is_in_what_the_page_receives(
    page: Page, site: Site, seen: Seen
) -> None:
    ask(site, device_check="record")
    page.goto(site.invitation())
    page.get_by_role("button", name="Start").click()
    wait_until(page, "document.querySelector('#check')?.dataset.stage === 'trial'")
    make_check(page)
    wait_until(page, f'{STAGE} === "rating"')
    check = DeviceCheck.objects.get()
    told = [(url, body) for url, _, body in seen.received if "device-check" in url]
    sounds = [(url, body) for url, body in told if url.endswith(".wav")]
    assert len(sounds) == 6
    assert len({len(body) for _, body in sounds}) == 1
    for url, body in told:
        assert str(check.seed) not in url
        if not url.endswith(".wav"):
            assert str(check.seed).encode() not in body
            assert b"correct" not in body


def test_a_newer_text_is_asked_before_the_next_pair(page: Page, site: Site) -> None:
    text, _ = write_consent_text(name="listening", title="Taking part", text=TEXT)
    ask(site, consent=text)
    page.goto(site.invitation())
    page.get_by_role("button", name="I agree and take part").click()
    wait_until(page, f'{STAGE} === "rating"')
    replace_consent_text(name="listening", title="Taking part", text=TEXT + "\n\nAnd remarks.")
    page.reload()
    expect(page.get_by_text("There is a new version")).to_be_visible()
    page.get_by_role("button", name="I agree and take part").click()
    wait_until(page, f'{STAGE} === "rating"')


def test_withdrawing_says_what_goes_and_what_stays_and_does_it(page: Page, site: Site) -> None:
    page.goto(site.invitation())
    wait_until(page, f'{STAGE} === "rating"')
    page.goto(f"{site.url}/me/")
    page.get_by_role("link", name="Withdraw").click()
    expect_step(page, "Erased at once")
    page.get_by_role("button", name="Withdraw and erase").click()
    expect_step(page, "You have withdrawn")
    assert Rater.objects.get().withdrawn_at is not None
    page.goto(f"{site.url}/rate/")
    assert "/sign-in" in page.url


def test_a_panels_person_comes_with_an_id_and_leaves_with_a_code(
    page: Page, site: Site, seen: Seen
) -> None:
    update_study(study=site.study, pairs_per_session=1)
    link = create_panel_link(
        study=site.study,
        panel="prolific",
        completion_code="C0DE123",
        return_address="https://app.prolific.com/submissions/complete?cc={code}",
    )
    address = f"{site.url}/panel/{link_token(link)}?PROLIFIC_PID=5f3a&STUDY_ID=77&SESSION_ID=aa1"
    page.goto(address)
    page.get_by_role("button", name="Begin").click()
    wait_until(page, f'{STAGE} === "rating"')
    assert not any(b"C0DE123" in body for _, _, body in seen.received)
    page.goto(f"{site.url}/finish/")
    expect(page.get_by_text("1 more pair, then")).to_be_visible()
    page.goto(f"{site.url}/rate/")
    wait_until(page, f'{STAGE} === "rating"')
    for side, key in (("A", "1"), ("B", "2")):
        page.keyboard.press(key)
        wait_until(page, f"!!document.querySelector('[data-side={side}] .state.enough')", 20)
    page.keyboard.press("ArrowLeft")
    wait_until(page, f'{STAGE} === "done"')
    wait_for_ratings(page, 1)
    page.get_by_role("link", name="Finish and get your code").click()
    expect(page.get_by_text("C0DE123")).to_be_visible()
    back = page.get_by_role("link", name="Back to the panel")
    assert back.get_attribute("href") == "https://app.prolific.com/submissions/complete?cc=C0DE123"
    session = PanelSession.objects.get()
    assert session.end == "completed"
    assert session.ended_at is not None
    assert session.ended_at <= timezone.now()


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_every_page_fits_its_screen(page: Page, site: Site, width: int) -> None:
    ask_for_all(site)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(site.invitation())
    for path, forward in (
        ("arrival/consent", "I agree and take part"),
        ("arrival/volume", None),
        ("me/", None),
        ("me/withdraw", None),
    ):
        page.goto(f"{site.url}/{path}")
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, path
        small = page.evaluate(
            """[...document.querySelectorAll('main button, main .button')]
              .filter((e) => e.offsetHeight && e.offsetHeight < 43).map((e) => e.textContent)"""
        )
        assert small == [], path
        if forward:
            page.get_by_role("button", name=forward).click()
