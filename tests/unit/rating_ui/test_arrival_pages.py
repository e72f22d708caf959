"""Pages before the first pair, a panel's door, and a rater's own page, without a script."""

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from attune.raters.consent_services import record_consent, write_consent_text
from attune.raters.models import ConsentText, Rater
from attune.raters.services import create_rater
from attune.ratings.arrival_models import Arrival, DeviceResult, PanelSession
from attune.ratings.arrival_services import replace_consent_text
from attune.ratings.models import Study
from attune.ratings.panel_services import create_panel_link, revoke_panel_link
from attune.ratings.panels import PanelIds, link_token, sign_ids
from attune.ratings.services import update_study
from rating_ui.consent_text import BlockKind, read_blocks
from tests.factories import NOW, make_study

pytestmark = pytest.mark.django_db

IDS = "PROLIFIC_PID=ada5f3a&STUDY_ID=7&SESSION_ID=s1"


def browser_of(rater: Rater) -> Client:
    client = Client()
    client.force_login(rater.user, backend=settings.AUTHENTICATION_BACKENDS[1])
    return client


@pytest.fixture
def rater() -> Rater:
    return create_rater()


@pytest.fixture
def browser(rater: Rater) -> Client:
    return browser_of(rater)


@pytest.fixture
def text() -> ConsentText:
    written, _ = write_consent_text(
        name="listening", title="Taking part", text="We store <b>answers</b>.\n\n* One\n* Two"
    )
    return written


@pytest.fixture
def study(text: ConsentText) -> Study:
    return update_study(study=make_study(), consent=text, asks_volume=True)


class TestSteps:
    def test_each_address_leads_to_the_step_that_is_next(
        self, browser: Client, study: Study, text: ConsentText
    ) -> None:
        for path in ("/rate/", "/arrival/volume", "/arrival/practice", "/arrival/screened-out"):
            assert browser.get(path)["Location"] == "/arrival/consent", path
        answer = browser.post("/arrival/consent", {"text": text.pk, "answer": "agree"})
        assert answer["Location"] == "/rate/"
        assert browser.get("/rate/")["Location"] == "/arrival/volume"
        assert browser.get("/arrival/consent")["Location"] == "/arrival/volume"
        assert browser.post("/arrival/volume")["Location"] == "/rate/"
        assert browser.get("/rate/").status_code == 200

    def test_the_text_is_shown_as_words_and_never_as_markup(
        self, browser: Client, study: Study
    ) -> None:
        content = browser.get("/arrival/consent").content.decode()
        assert "We store &lt;b&gt;answers&lt;/b&gt;." in content
        assert "<li>One</li><li>Two</li>" in content
        assert "Step 1 of 2" in content

    def test_a_text_replaced_meanwhile_is_not_agreed_to(
        self, browser: Client, study: Study, text: ConsentText, rater: Rater
    ) -> None:
        replace_consent_text(name="listening", title="Taking part", text="New words.")
        page = browser.post("/arrival/consent", {"text": text.pk, "answer": "agree"})
        assert b"replaced while you read it" in page.content
        assert b"New words." in page.content
        assert not rater.consents.exists()

    def test_who_declines_is_thanked_and_may_read_again(
        self, browser: Client, study: Study, rater: Rater
    ) -> None:
        answer = browser.post("/arrival/consent", {"answer": "decline"})
        assert answer["Location"] == "/arrival/declined"
        page = browser.get("/arrival/declined").content.decode()
        assert "You do not take part" in page
        assert 'href="/arrival/consent"' in page
        assert Arrival.objects.get().declined_at is not None
        assert not rater.consents.exists()

    def test_a_second_try_can_be_forgone(self, browser: Client, rater: Rater) -> None:
        study = update_study(study=make_study(), device_check="exclude")
        Arrival.objects.create(
            rater=rater, study=study, device_result=DeviceResult.FAILED, n_device_tries=1
        )
        assert b"Try once more" in browser.get("/arrival/screened-out").content
        browser.post("/arrival/stop")
        assert b"Try once more" not in browser.get("/arrival/screened-out").content

    def test_pages_are_for_raters(self, study: Study) -> None:
        for path in ("/arrival/consent", "/arrival/volume", "/me/", "/me/withdraw", "/finish/"):
            assert Client().get(path)["Location"].startswith("/sign-in"), path


class TestPanels:
    def test_opening_the_address_makes_nothing_and_the_button_signs_in(self) -> None:
        link = create_panel_link(study=make_study(), panel="prolific")
        address = f"/panel/{link_token(link)}?{IDS}"
        client = Client()
        assert b"Begin" in client.get(address).content
        assert not Rater.objects.exists()
        assert client.post(address)["Location"] == "/rate/"
        assert client.get("/rate/").status_code == 200
        assert client.get("/finish/").status_code == 200
        other_device = Client()
        assert other_device.post(address)["Location"] == "/rate/"
        assert Rater.objects.count() == 1

    def test_a_code_waits_for_whoever_is_screened_out_or_declines(self, text: ConsentText) -> None:
        study = update_study(study=make_study(), consent=text, device_check="exclude")
        link = create_panel_link(
            study=study,
            panel="prolific",
            screened_out_code="OUTCODE",
            declined_code="NOCODE",
            return_address="https://app.example.org/?cc={code}",
        )
        address = f"/panel/{link_token(link)}?{IDS}"
        client = Client()
        client.post(address)
        client.post("/arrival/consent", {"answer": "decline"})
        declined = client.get("/arrival/declined").content.decode()
        assert 'href="https://app.example.org/?cc=NOCODE"' in declined
        assert PanelSession.objects.get().end == "declined"
        client.post(address)
        assert PanelSession.objects.get().end == ""
        client.post("/arrival/consent", {"text": text.pk, "answer": "agree"})
        Arrival.objects.update(device_result=DeviceResult.FAILED, n_device_tries=2)
        assert "OUTCODE" in client.get("/arrival/screened-out").content.decode()
        assert PanelSession.objects.get().end == "screened_out"

    def test_every_refusal_says_what_to_do(self) -> None:
        link = create_panel_link(study=make_study(), panel="prolific", places=1)
        signed = create_panel_link(study=link.study, panel="prolific", is_signed=True)
        token = link_token(link)
        Client().post(f"/panel/{token}?{IDS}")
        answers = [
            Client().get("/panel/invented"),
            Client().get(f"/panel/{token}"),
            Client().post(f"/panel/{token}?PROLIFIC_PID=eve&SESSION_ID=s1"),
            Client().post(f"/panel/{token}?PROLIFIC_PID=eve&SESSION_ID=s2"),
            Client().get(f"/panel/{link_token(signed)}?{IDS}"),
        ]
        assert [answer.status_code for answer in answers] == [404, 403, 403, 403, 403]
        said = ["not known here", "missing", "another person", "places are taken", "not signed"]
        for answer, words in zip(answers, said, strict=True):
            assert words in answer.content.decode()
        revoke_panel_link(link=link, now=timezone.now())
        assert Client().get(f"/panel/{token}?{IDS}").status_code == 410
        signature = sign_ids(signed, PanelIds("ada5f3a", "s1"))
        signed_address = f"/panel/{link_token(signed)}?{IDS}&signature={signature}"
        assert Client().get(signed_address).status_code == 200

    def test_a_preview_lets_nobody_in(self) -> None:
        link = create_panel_link(study=make_study(), panel="mturk")
        query = "workerId=&assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&hitId=h"
        page = Client().post(f"/panel/{link_token(link)}?{query}")
        assert b"This is a preview" in page.content
        assert not Rater.objects.exists()


class TestOwnPage:
    def test_it_shows_what_was_agreed_to_word_for_word(
        self, browser: Client, rater: Rater, text: ConsentText
    ) -> None:
        consent = record_consent(rater=rater, text=text, now=NOW)
        assert b"version 1" in browser.get("/me/").content
        page = browser.get(f"/me/consent/{consent.pk}").content.decode()
        assert "We store &lt;b&gt;answers" in page
        stranger = browser_of(create_rater())
        assert stranger.get(f"/me/consent/{consent.pk}")["Location"] == "/me/"

    def test_withdrawing_needs_the_button_and_says_what_happened(
        self, browser: Client, rater: Rater
    ) -> None:
        browser.get("/me/withdraw")
        browser.post("/me/withdraw")
        rater.refresh_from_db()
        assert rater.withdrawn_at is None
        answer = browser.post("/me/withdraw", {"sure": "yes"}, follow=True)
        assert b"You have withdrawn" in answer.content
        rater.refresh_from_db()
        assert rater.withdrawn_at is not None
        assert browser.get("/me/")["Location"].startswith("/sign-in")

    def test_it_works_without_any_open_study(self, browser: Client) -> None:
        assert b"None yet." in browser.get("/me/").content


def test_a_text_is_read_as_headings_points_and_paragraphs() -> None:
    blocks = read_blocks("Hello\nthere.\n\n## What\n* one\n* two\n\n- three")
    assert [(block.kind, block.lines) for block in blocks] == [
        (BlockKind.PARAGRAPH, ("Hello", "there.")),
        (BlockKind.HEADING, ("What",)),
        (BlockKind.POINTS, ("one", "two")),
        (BlockKind.POINTS, ("three",)),
    ]
