"""Accounts, single-use invitations, hashed tokens, roles and withdrawal."""

import threading
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import CommandError, call_command
from django.db import connection

from attune.raters.consent_services import record_consent, write_consent_text
from attune.raters.errors import InvitationError, RaterError
from attune.raters.models import ApiToken, Invitation, Rater, Role
from attune.raters.selectors import (
    find_rater,
    find_user_by_api_token,
    has_consented,
    has_role,
)
from attune.raters.services import (
    accept_invitation,
    create_api_token,
    create_invitation,
    create_member,
    create_rater,
    revoke_api_tokens,
    withdraw_rater,
)
from tests.factories import NOW, later

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


class TestRoles:
    def test_three_people_have_each_one_role(self) -> None:
        people = {role: create_member(role=role) for role in Role}
        for role, user in people.items():
            assert [other for other in Role if has_role(user, other)] == [role]

    def test_a_superuser_has_all_and_a_stranger_none(self) -> None:
        boss = User.objects.create_superuser("boss")
        assert all(has_role(boss, role) for role in Role)
        assert not any(has_role(AnonymousUser(), role) for role in Role)

    def test_an_inactive_account_has_no_role(self) -> None:
        user = create_member(role=Role.ENGINEER)
        user.is_active = False
        user.save()
        assert not has_role(user, Role.ENGINEER)

    def test_accounts_are_made_without_a_password(self) -> None:
        assert not create_member(role=Role.REVIEWER).has_usable_password()

    def test_a_member_who_rates_has_a_rater(self) -> None:
        assert find_rater(create_member(role=Role.RATER)) is not None
        assert find_rater(create_member(role=Role.ENGINEER)) is None
        assert find_rater(AnonymousUser()) is None


class TestInvitations:
    def test_an_invitation_opens_the_door_once(self) -> None:
        invitation, token = create_invitation(role=Role.RATER, lifetime=DAY, now=NOW)
        user = accept_invitation(token=token, now=later(60))
        assert has_role(user, Role.RATER)
        invitation.refresh_from_db()
        assert (invitation.used_by, invitation.used_at) == (user, later(60))
        with pytest.raises(InvitationError) as caught:
            accept_invitation(token=token, now=later(61))
        assert caught.value.reason == "used"
        assert User.objects.count() == 1

    def test_the_token_is_not_stored(self) -> None:
        invitation, token = create_invitation(role=Role.RATER, lifetime=DAY, now=NOW)
        assert token not in str(Invitation.objects.values().get())
        assert len(invitation.token_sha256) == 64

    def test_an_old_or_invented_invitation_says_which(self) -> None:
        _, token = create_invitation(role=Role.RATER, lifetime=DAY, now=NOW)
        with pytest.raises(InvitationError, match="expired"):
            accept_invitation(token=token, now=NOW + DAY)
        with pytest.raises(InvitationError, match="unknown"):
            accept_invitation(token="invented", now=NOW)
        assert not User.objects.exists()

    def test_an_invitation_needs_a_lifetime(self) -> None:
        with pytest.raises(RaterError, match="positive lifetime"):
            create_invitation(role=Role.RATER, lifetime=timedelta(0), now=NOW)

    @pytest.mark.django_db(transaction=True)
    def test_of_four_who_come_at_once_one_gets_in(self) -> None:
        _, token = create_invitation(role=Role.ENGINEER, lifetime=DAY, now=NOW)
        outcomes: list[str] = []
        start = threading.Barrier(4)

        def accept() -> None:
            start.wait()
            try:
                accept_invitation(token=token, now=later(1))
                outcomes.append("in")
            except InvitationError as exc:
                outcomes.append(exc.reason)
            finally:
                connection.close()

        threads = [threading.Thread(target=accept) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["in", "used", "used", "used"]
        assert User.objects.count() == 1


class TestTokens:
    def test_a_token_finds_its_user_until_it_is_revoked(self) -> None:
        user = create_member(role=Role.ENGINEER)
        token = create_api_token(user=user)
        assert find_user_by_api_token(token) == user
        assert find_user_by_api_token(token + "x") is None
        assert revoke_api_tokens(user=user, now=NOW) == 1
        assert find_user_by_api_token(token) is None

    def test_only_the_hash_of_a_token_is_stored(self) -> None:
        token = create_api_token(user=create_member(role=Role.ENGINEER))
        assert token not in str(ApiToken.objects.values().get())

    def test_an_inactive_user_is_not_found(self) -> None:
        user = create_member(role=Role.ENGINEER)
        token = create_api_token(user=user)
        User.objects.update(is_active=False)
        assert find_user_by_api_token(token) is None


class TestWithdrawal:
    def test_withdrawal_erases_what_the_person_can_be_known_by(self) -> None:
        rater = create_rater()
        user, pseudonym = rater.user, rater.pseudonym
        User.objects.update(username="ada", email="ada@example.org", first_name="Ada")
        token = create_api_token(user=user)
        text, _ = write_consent_text(name="listening", title="Consent", text="we store answers")
        record_consent(rater=rater, text=text, now=NOW)
        rater = Rater.objects.get()
        withdraw_rater(rater=rater, now=NOW)
        withdraw_rater(rater=rater, now=later(99))
        user = User.objects.get()
        assert "ada" not in f"{user.username} {user.email} {user.first_name}".lower()
        assert not user.is_active
        assert find_user_by_api_token(token) is None
        kept = Rater.objects.get()
        assert (kept.pseudonym, kept.withdrawn_at) == (pseudonym, NOW)
        assert find_rater(user) is None
        assert not has_consented(kept, text.pk)


class TestCommands:
    def run(self, *arguments: str) -> list[str]:
        out = StringIO()
        call_command(*arguments, stdout=out)
        return out.getvalue().splitlines()

    def test_token_prints_working_tokens_and_nothing_else(self) -> None:
        lines = self.run("token", "rater", "--simulated", "--count", "3")
        users = [find_user_by_api_token(line) for line in lines]
        assert len({user.pk for user in users if user}) == 3
        assert set(Rater.objects.values_list("is_simulated", flat=True)) == {True}

    def test_token_makes_an_engineer(self) -> None:
        [token] = self.run("token", "engineer")
        user = find_user_by_api_token(token)
        assert user is not None
        assert has_role(user, Role.ENGINEER)

    def test_only_raters_are_simulated(self) -> None:
        with pytest.raises(CommandError, match="goes with the role rater"):
            self.run("token", "engineer", "--simulated")

    def test_invite_prints_a_link_that_works(self) -> None:
        [link] = self.run("invite", "reviewer", "--base-url", "https://attune.example/")
        start, _, token = link.rpartition("/")
        assert start == "https://attune.example/join"
        # The command reads the real clock, so the test's own would be too early or too late.
        invitation = Invitation.objects.get()
        user = accept_invitation(token=token, now=invitation.created_at)
        assert has_role(user, Role.REVIEWER)


def test_revoke_ends_the_tokens_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, ended = (create_api_token(user=create_member(role=Role.ENGINEER)) for _ in range(2))
    monkeypatch.setattr("sys.stdin", StringIO(f"{ended}\nunknown\n"))
    output = StringIO()
    call_command("revoke", stdout=output)
    assert output.getvalue() == "1 of 2 tokens ended\n"
    assert find_user_by_api_token(ended) is None
    assert find_user_by_api_token(kept) is not None
