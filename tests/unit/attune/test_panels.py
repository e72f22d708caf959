"""People of panels: one rater for one id, codes out, forged and replayed ids refused."""

import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import numpy as np
import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from attune.raters.errors import ArrivalError, PanelError
from attune.raters.models import Rater
from attune.raters.services import create_rater
from attune.ratings.arrival_models import PanelLink, PanelPerson, PanelSession, SessionEnd
from attune.ratings.arrival_services import replace_consent_text
from attune.ratings.choices import AssignmentState
from attune.ratings.errors import StudyError
from attune.ratings.models import Assignment, Rating, Study
from attune.ratings.panel_selectors import find_session, get_way_back
from attune.ratings.panel_services import (
    admit_from_panel,
    complete_session,
    create_panel_link,
    end_sessions,
    forget_panel_ids,
    revoke_panel_link,
)
from attune.ratings.panels import (
    PanelIds,
    find_link_id,
    is_preview,
    link_path,
    link_token,
    read_ids,
    sign_ids,
)
from attune.ratings.selectors import open_studies
from attune.ratings.services import assign_pair, close_study, update_study
from tests.factories import NOW, later, make_pair, make_study

pytestmark = pytest.mark.django_db

ADA = PanelIds(person="ada5f3a", session="s1")


def make_link(study: Study | None = None, **settings: object) -> PanelLink:
    return create_panel_link(study=study or make_study(), panel="prolific", **settings)  # type: ignore[arg-type]


def rate(study: Study, rater: Rater) -> None:
    """A rating of a new pair of the study, given now."""
    assignment = Assignment.objects.create(
        pair=make_pair(study),
        rater=rater,
        is_swapped=False,
        propensity=1.0,
        state=AssignmentState.ANSWERED,
        lease_until=timezone.now(),
    )
    Rating.objects.create(
        client_id=uuid4(),
        assignment=assignment,
        pair=assignment.pair,
        rater=rater,
        choice="A",
        is_simulated=False,
    )


class TestArrival:
    def test_the_same_person_is_the_same_rater_in_every_session(self) -> None:
        link = make_link()
        first = admit_from_panel(link=link, ids=ADA, now=NOW)
        again = admit_from_panel(link=link, ids=ADA, now=later(5))
        next_day = admit_from_panel(link=link, ids=PanelIds(ADA.person, "s2"), now=later(86_400))
        assert first == again
        assert first.person == next_day.person
        assert first != next_day
        assert Rater.objects.count() == 1

    def test_another_link_of_the_study_knows_the_person_and_another_study_does_not(self) -> None:
        link = make_link()
        rater = admit_from_panel(link=link, ids=ADA, now=NOW).person.rater
        same_study = make_link(link.study)
        assert admit_from_panel(link=same_study, ids=ADA, now=NOW).person.rater == rater
        assert admit_from_panel(link=make_link(), ids=ADA, now=NOW).person.rater != rater

    def test_no_external_id_is_stored(self) -> None:
        admit_from_panel(link=make_link(), ids=ADA, now=NOW)
        stored = str([*PanelPerson.objects.values(), *PanelSession.objects.values()])
        assert ADA.person not in stored
        assert len(PanelPerson.objects.get().person_hash or "") == 64

    def test_a_session_cannot_be_taken_over_with_another_id(self) -> None:
        link = make_link()
        admit_from_panel(link=link, ids=ADA, now=NOW)
        with pytest.raises(PanelError) as caught:
            admit_from_panel(link=link, ids=PanelIds("eve", "s1"), now=later(1))
        assert caught.value.reason == "other"
        assert Rater.objects.count() == 1

    def test_a_link_lets_in_as_many_people_as_it_has_places(self) -> None:
        link = make_link(places=1)
        admit_from_panel(link=link, ids=ADA, now=NOW)
        with pytest.raises(PanelError, match="all 1 places"):
            admit_from_panel(link=link, ids=PanelIds("bob", "s2"), now=NOW)
        assert admit_from_panel(link=link, ids=PanelIds("ada5f3a", "s3"), now=NOW)

    def test_an_ended_link_lets_nobody_in(self) -> None:
        link = make_link()
        assert revoke_panel_link(link=link, now=NOW)
        assert not revoke_panel_link(link=link, now=NOW)
        link.refresh_from_db()
        with pytest.raises(PanelError, match="was ended"):
            admit_from_panel(link=link, ids=ADA, now=NOW)

    def test_a_closed_study_gives_newcomers_no_code_for_nothing(self) -> None:
        link = make_link(completion_code="PAID")
        began = admit_from_panel(link=link, ids=ADA, now=NOW)
        bob = PanelIds("bob", "s2")
        declined = admit_from_panel(link=link, ids=bob, now=NOW)
        end_sessions(rater=declined.person.rater, end=SessionEnd.DECLINED, now=NOW)
        close_study(study=link.study)
        for ids in (PanelIds("eve", "s3"), PanelIds(ADA.person, "s4"), bob):
            with pytest.raises(PanelError) as caught:
                admit_from_panel(link=link, ids=ids, now=later(5))
            assert caught.value.reason == "ended"
        assert admit_from_panel(link=link, ids=ADA, now=later(5)) == began

    def test_a_study_is_listed_once_however_many_came_by_panels(self) -> None:
        link = make_link()
        for number in range(5):
            ids = PanelIds(person=f"p{number}", session=f"s{number}")
            admit_from_panel(link=link, ids=ids, now=NOW)
        assert list(open_studies(create_rater())) == [link.study]

    def test_a_panels_rater_has_their_study_and_no_other(self) -> None:
        older = make_study()
        link = make_link()
        rater = admit_from_panel(link=link, ids=ADA, now=NOW).person.rater
        assert list(open_studies(rater)) == [link.study]
        assert set(open_studies(create_rater())) == {older, link.study}

    def test_a_panels_rater_gets_no_pair_of_another_study_by_naming_it(self) -> None:
        link = make_link()
        rater = admit_from_panel(link=link, ids=ADA, now=NOW).person.rater
        other = make_study()
        make_pair(link.study)
        make_pair(other)
        rng = np.random.default_rng(1)
        with pytest.raises(ArrivalError, match="another study") as caught:
            assign_pair(study=other, rater=rater, rng=rng, now=NOW)
        assert caught.value.code == "other_study"
        assert assign_pair(study=link.study, rater=rater, rng=rng, now=NOW) is not None


@pytest.mark.django_db(transaction=True)
def test_an_address_opened_four_times_at_once_makes_one_rater() -> None:
    link = make_link()
    start = threading.Barrier(4)
    seen: list[int] = []

    def arrive() -> None:
        start.wait()
        try:
            seen.append(admit_from_panel(link=link, ids=ADA, now=NOW).pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=arrive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert len(set(seen)) == 1
    assert Rater.objects.count() == 1


class TestAddresses:
    def test_ids_are_read_by_the_panels_own_names(self) -> None:
        link = make_link()
        query = {"PROLIFIC_PID": "ada5f3a", "STUDY_ID": "x", "SESSION_ID": "s1"}
        assert read_ids(link, query) == ADA
        worker = create_panel_link(study=link.study, panel="mturk")
        query = {"workerId": "ada5f3a", "assignmentId": "s1", "hitId": "h"}
        assert read_ids(worker, query) == ADA

    @pytest.mark.parametrize(
        "query",
        [
            {},
            {"PROLIFIC_PID": "ada"},
            {"PROLIFIC_PID": "", "SESSION_ID": "s"},
            {"PROLIFIC_PID": "{{%PROLIFIC_PID%}}", "SESSION_ID": "s"},
            {"PROLIFIC_PID": "a" * 129, "SESSION_ID": "s"},
        ],
    )
    def test_missing_and_odd_ids_are_refused(self, query: dict[str, str]) -> None:
        with pytest.raises(PanelError) as caught:
            read_ids(make_link(), query)
        assert caught.value.reason == "ids"

    def test_a_preview_is_told_apart(self) -> None:
        link = create_panel_link(study=make_study(), panel="mturk")
        assert is_preview(link, {"assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE"})
        assert not is_preview(link, {"assignmentId": "3XJ"})

    def test_the_address_cannot_be_invented(self) -> None:
        link = make_link()
        token = link_token(link)
        assert find_link_id(token) == link.pk
        assert find_link_id(token[:-1] + ("A" if token[-1] != "A" else "B")) is None
        assert find_link_id("1") is None
        assert set(parse_qs(urlsplit(link_path(link)).query)) == {
            "PROLIFIC_PID", "STUDY_ID", "SESSION_ID",
        }  # fmt: skip

    def test_a_signed_link_takes_only_ids_signed_with_its_key(self) -> None:
        link = make_link(is_signed=True)
        query = {"PROLIFIC_PID": "ada5f3a", "SESSION_ID": "s1"}
        signature = sign_ids(link, ADA)
        assert read_ids(link, {**query, "signature": signature}) == ADA
        other_link = make_link(link.study, is_signed=True)
        for forged in (
            query,
            {**query, "signature": "0" * 64},
            {**query, "PROLIFIC_PID": "eve", "signature": signature},
            {**query, "SESSION_ID": "s2", "signature": signature},
            {**query, "signature": sign_ids(other_link, ADA)},
        ):
            with pytest.raises(PanelError) as caught:
                read_ids(link, forged)
            assert caught.value.reason == "signature"


class TestCodes:
    def test_the_code_comes_when_a_sittings_pairs_are_rated(self) -> None:
        study = update_study(study=make_study(), pairs_per_session=2)
        link = make_link(study, completion_code="C0DE", return_address="https://p.org/?cc={code}")
        session = admit_from_panel(link=link, ids=ADA, now=timezone.now())
        for n_done in range(2):
            session = complete_session(session=session, now=timezone.now())
            way_back = get_way_back(session)
            assert (way_back.end, way_back.code, way_back.n_done) == (SessionEnd.OPEN, "", n_done)
            rate(study, session.person.rater)
        session = complete_session(session=session, now=later(90))
        way_back = get_way_back(session)
        assert (way_back.code, way_back.address) == ("C0DE", "https://p.org/?cc=C0DE")
        assert session.ended_at == later(90)

    def test_without_a_code_of_the_link_each_session_has_its_own(self) -> None:
        link = make_link()
        codes = {
            admit_from_panel(link=link, ids=PanelIds(f"p{i}", f"s{i}"), now=NOW).code
            for i in range(5)
        }
        assert len(codes) == 5
        assert all(len(code) == 10 for code in codes)

    def test_a_closed_study_keeps_nobody_waiting(self) -> None:
        link = make_link()
        session = admit_from_panel(link=link, ids=ADA, now=NOW)
        close_study(study=link.study)
        session.link.study.refresh_from_db()
        assert complete_session(session=session, now=NOW).end == SessionEnd.COMPLETED

    def test_screened_out_and_declined_have_codes_of_their_own(self) -> None:
        link = make_link(screened_out_code="OUT", declined_code="NO")
        rater = admit_from_panel(link=link, ids=ADA, now=NOW).person.rater
        (session,) = end_sessions(rater=rater, end=SessionEnd.SCREENED_OUT, now=NOW)
        assert get_way_back(session).code == "OUT"
        assert end_sessions(rater=rater, end=SessionEnd.DECLINED, now=NOW) == []

    def test_whoever_declined_may_come_back_to_the_same_session(self) -> None:
        link = make_link(declined_code="NO")
        session = admit_from_panel(link=link, ids=ADA, now=NOW)
        end_sessions(rater=session.person.rater, end=SessionEnd.DECLINED, now=NOW)
        again = admit_from_panel(link=link, ids=ADA, now=later(60))
        assert (again, again.end) == (session, SessionEnd.OPEN)

    def test_forgetting_erases_the_hashes_and_nothing_else(self) -> None:
        link = make_link()
        session = admit_from_panel(link=link, ids=ADA, now=NOW)
        rater = session.person.rater
        assert forget_panel_ids(rater=rater) == 2
        assert find_session(rater) == session
        assert PanelPerson.objects.get().person_hash is None
        assert admit_from_panel(link=link, ids=ADA, now=NOW).person.rater != rater


class TestLinks:
    @pytest.mark.parametrize(
        "address", ["http://p.org/{code}", "https://p.org/", "javascript:{code}"]
    )
    def test_a_return_address_is_a_safe_one_with_a_place_for_the_code(self, address: str) -> None:
        with pytest.raises(StudyError, match="expected https"):
            make_link(return_address=address)

    def test_rehearsals_have_no_people(self) -> None:
        with pytest.raises(StudyError, match="is a rehearsal"):
            make_link(make_study(population="rehearsal"))

    def test_a_link_has_a_place_or_any_number(self) -> None:
        with pytest.raises(StudyError, match="0 places"):
            make_link(places=0)


def test_a_consent_text_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("Taking part\n\nWe store answers.\n")
    study = make_study()
    call_command("consent", "listening", str(file), "--study", study.slug)
    study.refresh_from_db()
    assert study.consent is not None
    assert (study.consent.title, study.consent.text) == ("Taking part", "We store answers.")
    written, n_studies = replace_consent_text(name="listening", title="Taking part", text="More.")
    assert (written.version, n_studies) == (2, 1)
