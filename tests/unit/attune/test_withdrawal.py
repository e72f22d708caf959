"""Withdrawal erases what a person can be known by, and keeps the ratings; invitations' ways."""

import threading
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from axes.models import AccessLog
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from attune.raters.consent_services import record_consent, write_consent_text
from attune.raters.errors import InvitationError, RaterError
from attune.raters.models import Consent, Invitation, Rater, Role
from attune.raters.selectors import find_rater, open_invitations
from attune.raters.services import (
    accept_invitation,
    create_invitation,
    create_rater,
    revoke_invitation,
)
from attune.ratings import remark_services
from attune.ratings.arrival_models import PanelPerson, PanelSession, SessionEnd
from attune.ratings.errors import WithdrawnError
from attune.ratings.models import Assignment, ClipReport, Rating
from attune.ratings.own_record import count_sittings, own_record
from attune.ratings.panel_services import admit_from_panel, create_panel_link
from attune.ratings.panels import PanelIds
from attune.ratings.remark_services import add_remark
from attune.ratings.services import assign_pair, record_rating, report_clip
from attune.ratings.withdrawal_services import withdraw
from tests.factories import NOW, later, make_pair, make_study

pytestmark = pytest.mark.django_db

WEEK = timedelta(days=7)


def rated(rater: Rater) -> Assignment:
    """An assignment of the rater with a rating and own words."""
    study = make_study()
    make_pair(study)
    assignment = assign_pair(study=study, rater=rater, rng=np.random.default_rng(0), now=NOW)
    assert assignment is not None
    record_rating(
        rater=rater,
        assignment_id=assignment.pk,
        client_id=uuid4(),
        choice="A",
        strength=2,
        heard={"A": [(0.0, 1.5)], "B": [(0.0, 0.5)]},
        now=later(30),
    )
    add_remark(
        rater=rater,
        client_id=uuid4(),
        assignment_id=assignment.pk,
        side="A",
        at_s=1.0,
        text="my neighbour Ada plays like this",
    )
    return assignment


def test_a_withdrawal_leaves_nothing_the_person_can_be_known_by(client: Client) -> None:
    text, _ = write_consent_text(name="listening", title="Taking part", text="We store.")
    invitation, token = create_invitation(
        role=Role.RATER, lifetime=WEEK, now=timezone.now(), label="Ada Lovelace"
    )
    client.post(f"/join/{token}")
    client.get(f"/join/{token}")
    invitation.refresh_from_db()
    assert invitation.used_by is not None
    rater = find_rater(invitation.used_by)
    assert rater is not None
    record_consent(rater=rater, text=text, now=NOW)
    assignment = rated(rater)
    report_clip(rater=rater, assignment_id=assignment.pk, side="B", remark="Ada says", now=NOW)
    name = invitation.used_by.username
    assert AccessLog.objects.filter(username=name).exists()

    withdraw(rater=rater, now=later(60))
    withdraw(rater=rater, now=later(61))

    rater.refresh_from_db()
    invitation.refresh_from_db()
    assert rater.withdrawn_at == later(60)
    assert not AccessLog.objects.exists()
    assert invitation.label == ""
    assert ClipReport.objects.get().remark == ""
    assert list(assignment.remarks.values_list("text", flat=True)) == [""]
    assert Consent.objects.get().withdrawn_at == later(60)
    assert client.get("/me/").status_code == 302
    kept = Rating.objects.get()
    assert (kept.rater, kept.choice, kept.strength) == (rater, "A", 2)


def test_a_withdrawn_rater_can_add_no_words() -> None:
    rater = create_rater()
    assignment = rated(rater)
    withdraw(rater=rater, now=later(60))
    with pytest.raises(WithdrawnError):
        report_clip(rater=rater, assignment_id=assignment.pk, side="A", remark="Ada", now=later(61))
    assert not ClipReport.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_remark_that_is_stored_while_its_rater_leaves_is_erased(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rater = create_rater()
    assignment = rated(rater)
    is_under_way, may_go_on = threading.Event(), threading.Event()
    check = remark_services._check

    def check_slowly(*arguments: Any) -> None:
        check(*arguments)
        is_under_way.set()
        may_go_on.wait(10)

    def in_thread(act: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                act()
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    monkeypatch.setattr(remark_services, "_check", check_slowly)
    adding = in_thread(
        lambda: add_remark(
            rater=rater,
            client_id=uuid4(),
            assignment_id=assignment.pk,
            side="A",
            at_s=1.0,
            text="my name is Ada",
        )
    )
    assert is_under_way.wait(10)
    leaving = in_thread(lambda: withdraw(rater=rater, now=later(60)))
    leaving.join(0.5)  # on PostgreSQL it has come as far as it can by then
    may_go_on.set()
    adding.join()
    leaving.join()
    rater.refresh_from_db()
    assert rater.withdrawn_at == later(60)
    assert set(assignment.remarks.values_list("text", flat=True)) == {""}
    assert assignment.remarks.count() == 2


def test_a_panels_person_is_forgotten_and_their_session_ends() -> None:
    link = create_panel_link(study=make_study(), panel="prolific")
    session = admit_from_panel(link=link, ids=PanelIds("ada", "s1"), now=NOW)
    withdraw(rater=session.person.rater, now=later(5))
    assert PanelPerson.objects.get().person_hash is None
    stored = PanelSession.objects.get()
    assert (stored.session_hash, stored.end) == (None, SessionEnd.DECLINED)


class TestOwnRecord:
    def test_it_counts_what_was_done(self) -> None:
        rater = create_rater()
        rated(rater)
        record = own_record(rater)
        assert (record.n_ratings, record.n_sittings, record.n_remarks) == (1, 1, 1)
        assert record.listened_s == pytest.approx(2.0)
        (last,) = record.last_ratings
        assert (last.choice, last.strength, last.was_changed) == ("A", 2, False)

    def test_a_newcomer_has_done_nothing(self) -> None:
        record = own_record(create_rater())
        assert (record.n_ratings, record.n_sittings, record.listened_s) == (0, 0, 0.0)
        assert record.last_ratings == ()

    def test_half_an_hours_pause_parts_two_sittings(self) -> None:
        minutes = [0, 10, 39, 70, 71, 200]
        assert count_sittings([later(60 * minute) for minute in minutes]) == 3
        assert count_sittings([]) == 0


class TestOpenInvitations:
    def test_an_open_link_lets_in_as_many_as_it_has_places(self) -> None:
        invitation, token = create_invitation(
            role=Role.RATER, lifetime=WEEK, now=NOW, is_open=True, places=2
        )
        users = {accept_invitation(token=token, now=later(n)) for n in range(2)}
        assert len(users) == 2
        with pytest.raises(InvitationError) as caught:
            accept_invitation(token=token, now=later(3))
        assert caught.value.reason == "full"
        invitation.refresh_from_db()
        assert (invitation.n_joined, invitation.used_by) == (2, None)
        assert Rater.objects.count() == 2
        assert list(open_invitations(NOW)) == []

    def test_a_revoked_link_lets_nobody_in(self) -> None:
        invitation, token = create_invitation(role=Role.RATER, lifetime=WEEK, now=NOW)
        assert list(open_invitations(NOW)) == [invitation]
        assert revoke_invitation(invitation=invitation, now=NOW)
        assert not revoke_invitation(invitation=invitation, now=NOW)
        with pytest.raises(InvitationError, match="revoked"):
            accept_invitation(token=token, now=later(1))

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ({"role": Role.ENGINEER, "is_open": True}, "open ones are for raters"),
            ({"role": Role.RATER, "places": 2}, "of an open invitation"),
            ({"role": Role.RATER, "is_open": True, "places": 0}, "at least 1"),
        ],
    )
    def test_what_an_open_link_cannot_be(self, asked: dict[str, object], said: str) -> None:
        with pytest.raises(RaterError, match=said):
            create_invitation(lifetime=WEEK, now=NOW, **asked)  # type: ignore[arg-type]

    def test_an_open_link_asks_for_a_press_and_knows_the_browser_again(self) -> None:
        _, token = create_invitation(
            role=Role.RATER, lifetime=WEEK, now=timezone.now(), is_open=True
        )
        client = Client()
        assert client.get(f"/join/{token}").status_code == 200
        assert Rater.objects.count() == 0
        assert client.post(f"/join/{token}").status_code == 302
        assert client.get(f"/join/{token}").status_code == 302
        assert client.post(f"/join/{token}").status_code == 302
        assert Rater.objects.count() == 1
        assert Client().post(f"/join/{token}").status_code == 302
        assert Rater.objects.count() == 2

    def test_the_command_makes_several_and_open_ones(self) -> None:
        out = StringIO()
        call_command("invite", "rater", "--count", "3", "--label", "choir", stdout=out)
        assert len(out.getvalue().split()) == 3
        assert set(Invitation.objects.values_list("label", flat=True)) == {"choir"}
        call_command("invite", "rater", "--open", "--places", "20", stdout=StringIO())
        assert Invitation.objects.get(is_open=True).places == 20
        with pytest.raises(CommandError, match="open ones are for raters"):
            call_command("invite", "engineer", "--open", stdout=StringIO())
