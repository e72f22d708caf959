"""The console's pages about invitations, consent texts, and what comes before the first pair."""

import csv
import io
import re

import pytest
from django.test import Client
from django.utils import timezone

from attune.raters.consent_services import record_consent, write_consent_text
from attune.raters.models import ConsentText, Invitation
from attune.raters.services import create_rater
from attune.ratings.arrival_models import PanelLink, PanelSession
from attune.ratings.models import Study
from attune.ratings.panel_services import admit_from_panel
from attune.ratings.panels import PanelIds
from tests.factories import NOW, make_study
from tests.unit.api.people import Person

pytestmark = pytest.mark.django_db


def rows_of(person: Person, address: str) -> list[dict[str, str]]:
    content = person.pages.get(f"/console/{address}?format=csv").content.decode()
    return list(csv.DictReader(io.StringIO(content)))


def browser_of(person: Person) -> Client:
    """A browser in which the person is signed in; its posts need no token."""
    client = Client()
    client.force_login(person.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def study(db: None) -> Study:
    return make_study()


class TestInvitations:
    FIELDS = {"role": "rater", "count": "3", "days": "2", "label": "choir"}

    def test_several_links_are_made_at_once_and_shown_this_once(self, engineer: Person) -> None:
        page = browser_of(engineer).post("/console/invitations/make/", self.FIELDS).content.decode()
        links = re.findall(r"http://testserver/join/[\w-]+", page)
        assert len(set(links)) == 3
        assert set(Invitation.objects.values_list("label", flat=True)) == {"choir"}
        later_page = engineer.pages.get("/console/invitations/").content.decode()
        assert "3 links made so far, 3 of which" in later_page
        assert not re.search(r"/join/[\w-]{20}", later_page)
        assert engineer.pages.get(links[0].removeprefix("http://testserver")).status_code == 302

    def test_links_come_as_a_file(self, engineer: Person) -> None:
        answer = browser_of(engineer).post(
            "/console/invitations/make/", {**self.FIELDS, "as": "csv"}
        )
        assert answer["Content-Type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
        assert [row["label"] for row in rows] == ["choir"] * 3
        assert all("/join/" in row["link"] for row in rows)
        assert "link" not in rows_of(engineer, "invitations/")[0]

    def test_a_link_is_taken_back(self, engineer: Person) -> None:
        browser_of(engineer).post("/console/invitations/make/", {**self.FIELDS, "count": "1"})
        invitation = Invitation.objects.get()
        browser_of(engineer).post(f"/console/invitations/{invitation.pk}/revoke/")
        assert "taken back" in engineer.pages.get("/console/invitations/").content.decode()
        assert rows_of(engineer, "invitations/")[0]["state"] == "taken back"

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"role": "engineer", "is_open": "on"}, "Open links are for raters"),
            ({"places": "4"}, "Only an open link has places"),
            ({"count": "501"}, "less than or equal to 500"),
        ],
    )
    def test_what_cannot_be_is_said_and_makes_nothing(
        self, engineer: Person, fields: dict[str, str], said: str
    ) -> None:
        answer = browser_of(engineer).post("/console/invitations/make/", {**self.FIELDS, **fields})
        assert answer.status_code == 422
        assert said in answer.content.decode()
        assert not Invitation.objects.exists()


class TestConsentTexts:
    FIELDS = {"name": "listening", "title": "Taking part", "language": "en", "text": "We store."}

    def test_a_new_version_moves_the_studies_and_keeps_the_old(
        self, engineer: Person, study: Study
    ) -> None:
        old, _ = write_consent_text(name="listening", title="Taking part", text="Old words.")
        Study.objects.update(consent=old)
        record_consent(rater=create_rater(), text=old, now=NOW)
        answer = browser_of(engineer).post(
            "/console/consent-texts/write/", self.FIELDS, follow=True
        )
        page = answer.content.decode()
        assert "listening 2 is stored; 1 study asks for it" in page
        assert "Old words." in page
        study.refresh_from_db()
        assert study.consent == ConsentText.objects.get(version=2)
        rows = rows_of(engineer, "consent-texts/")
        assert [(row["version"], row["n_agreed"]) for row in rows] == [("2", "0"), ("1", "1")]

    def test_the_next_version_starts_from_an_older_one(self, engineer: Person) -> None:
        old, _ = write_consent_text(name="listening", title="Taking part", text="Old words.")
        page = engineer.pages.get(f"/console/consent-texts/?from={old.pk}").content.decode()
        assert "Old words.</textarea>" in page

    def test_an_empty_text_is_refused(self, engineer: Person) -> None:
        answer = browser_of(engineer).post(
            "/console/consent-texts/write/", {**self.FIELDS, "text": "  "}
        )
        assert answer.status_code == 422
        assert not ConsentText.objects.exists()


class TestArrivalPage:
    def test_an_engineer_sets_what_comes_first(self, engineer: Person, study: Study) -> None:
        text, _ = write_consent_text(name="listening", title="Taking part", text="We store.")
        answer = browser_of(engineer).post(
            f"/console/studies/{study.slug}/arrival/change/",
            {
                "consent": text.pk,
                "asks_volume": "on",
                "device_check": "exclude",
                "n_practice": "2",
            },
        )
        assert answer.status_code == 302
        study.refresh_from_db()
        assert (study.consent, study.asks_volume) == (text, True)
        assert (study.device_check, study.n_practice) == ("exclude", 2)
        page = engineer.pages.get(f"/console/studies/{study.slug}/arrival/").content.decode()
        assert "agreed to listening 1" in page
        assert (
            "Consent to listening 1"
            in engineer.pages.get(f"/console/studies/{study.slug}/").content.decode()
        )

    def test_more_practice_than_there_is_is_refused(self, engineer: Person, study: Study) -> None:
        answer = browser_of(engineer).post(
            f"/console/studies/{study.slug}/arrival/change/",
            {"device_check": "off", "n_practice": "4"},
        )
        assert answer.status_code == 422

    def test_a_panels_link_is_made_shown_and_ended(
        self, engineer: Person, reviewer: Person, study: Study
    ) -> None:
        address = f"/console/studies/{study.slug}/arrival/"
        browser_of(engineer).post(
            f"{address}panels/",
            {"panel": "prolific", "completion_code": "C0DE", "is_signed": "on"},
        )
        link = PanelLink.objects.get()
        page = engineer.pages.get(address).content.decode()
        assert "PROLIFIC_PID={{%PROLIFIC_PID%}}" in page
        assert "Key for signatures" in page
        assert "Key for signatures" not in reviewer.pages.get(address).content.decode()
        assert "C0DE" not in reviewer.pages.get(address).content.decode()
        browser_of(engineer).post(f"{address}panels/{link.pk}/end/")
        link.refresh_from_db()
        assert link.revoked_at is not None

    def test_an_unsafe_return_address_is_refused(self, engineer: Person, study: Study) -> None:
        answer = browser_of(engineer).post(
            f"/console/studies/{study.slug}/arrival/panels/",
            {"panel": "other", "return_address": "javascript:alert({code})"},
        )
        assert answer.status_code == 422
        assert "expected https" in answer.content.decode()

    def test_codes_are_for_engineers(
        self, engineer: Person, reviewer: Person, study: Study
    ) -> None:
        link = PanelLink.objects.create(study=study, panel="mturk")
        admit_from_panel(link=link, ids=PanelIds("ada", "s1"), now=timezone.now())
        code = PanelSession.objects.get().code
        address = f"studies/{study.slug}/arrival/"
        assert rows_of(engineer, address)[0]["code"] == code
        assert rows_of(reviewer, address)[0]["code"] == ""
        assert code not in reviewer.pages.get(f"/console/{address}").content.decode()


@pytest.mark.parametrize(
    ("path", "advice"),
    [("invitations/", "manage.py invite"), ("consent-texts/", "manage.py consent")],
)
def test_an_empty_page_says_what_to_do_next(engineer: Person, path: str, advice: str) -> None:
    assert advice in engineer.pages.get(f"/console/{path}").content.decode()
