"""Ways in and out, and where each kind of person is led."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings, settings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from attune.raters.models import Invitation, Rater, Role
from attune.raters.services import create_invitation, create_member

pytestmark = pytest.mark.django_db


def invite(role: Role, *, lifetime: timedelta = timedelta(hours=1)) -> str:
    """The path of a fresh invitation."""
    _, token = create_invitation(role=role, lifetime=lifetime, now=timezone.now())
    return f"/join/{token}"


def signed_in(role: Role) -> Client:
    """A browser in which a new member of the role is signed in."""
    client = Client()
    client.force_login(create_member(role=role), backend=settings.AUTHENTICATION_BACKENDS[1])
    return client


def test_a_stranger_sees_what_attune_is_and_where_to_sign_in(client: Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert b"Which do you prefer?" in response.content
    assert b'href="/sign-in"' in response.content


@pytest.mark.parametrize(
    ("role", "place"),
    [(Role.RATER, "/rate/"), (Role.ENGINEER, "/console/"), (Role.REVIEWER, "/console/")],
)
def test_an_invitation_signs_in_and_leads_where_the_role_works(
    client: Client, role: Role, place: str
) -> None:
    response = client.get(invite(role))
    assert (response.status_code, response["Location"]) == (302, "/")
    assert client.get("/")["Location"] == place
    user = User.objects.get(pk=client.session["_auth_user_id"])
    assert user.groups.get().name == role.value


def test_an_invitation_lets_one_browser_in() -> None:
    path = invite(Role.RATER)
    assert Client().get(path).status_code == 302
    second = Client()
    response = second.get(path)
    assert response.status_code == 410
    assert b"already used" in response.content
    assert "_auth_user_id" not in second.session
    assert Rater.objects.count() == 1


@pytest.fixture
def public(settings: LazySettings) -> None:
    """The site as a public deployment."""
    settings.ATTUNE_EMBEDDED = False


def test_a_public_invitation_is_spent_by_a_button_and_not_by_opening_it(public: None) -> None:
    path = invite(Role.RATER)
    scanner = Client()
    for _ in range(2):
        page = scanner.get(path)
        assert page.status_code == 200
        assert "no-store" in page["Cache-Control"]
    assert scanner.head(path).status_code == 405
    assert User.objects.count() == 0

    browser = Client(enforce_csrf_checks=True)
    content = browser.get(path).content.decode()
    token, _ = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', content)
    assert browser.post(path).status_code == 403
    assert User.objects.count() == 0
    answer = browser.post(path, {"csrfmiddlewaretoken": token})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert browser.get("/")["Location"] == "/rate/"


def test_a_used_public_invitation_says_so_after_the_button(public: None) -> None:
    path = invite(Role.RATER)
    first = Client()
    first.post(path)
    assert first.post(path)["Location"] == "/"
    refused = Client().post(path)
    assert refused.status_code == 410
    assert b"already used" in refused.content
    assert Rater.objects.count() == 1


def test_whoever_is_in_by_a_link_may_open_it_again(client: Client) -> None:
    path = invite(Role.RATER)
    client.get(path)
    response = client.get(path)
    assert (response.status_code, response["Location"]) == (302, "/")


def test_an_expired_invitation_says_so(client: Client) -> None:
    path = invite(Role.RATER)
    Invitation.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    response = client.get(path)
    assert response.status_code == 410
    assert b"has expired" in response.content
    assert User.objects.count() == 0


def test_an_unknown_invitation_is_not_found(client: Client) -> None:
    response = client.get("/join/nobody-made-this")
    assert response.status_code == 404
    assert b"not known here" in response.content


def test_a_name_and_password_open_the_door(client: Client) -> None:
    user = create_member(role=Role.ENGINEER)
    user.set_password("nine purple llamas")
    user.save()
    page = client.get("/sign-in")
    assert b"csrfmiddlewaretoken" in page.content
    response = client.post(
        "/sign-in", {"username": user.username, "password": "nine purple llamas"}
    )
    assert (response.status_code, response["Location"]) == (302, "/")


def test_a_wrong_password_is_said_and_too_many_lock_the_name(client: Client) -> None:
    user = create_member(role=Role.ENGINEER)
    answer = {"username": user.username, "password": "wrong"}
    first = client.post("/sign-in", answer)
    assert first.status_code == 200
    assert b"do not fit" in first.content
    for _ in range(settings.AXES_FAILURE_LIMIT):
        last = client.post("/sign-in", answer)
    assert last.status_code == 429
    assert b"Too many tries" in last.content


def test_signing_out_needs_a_post_with_a_token() -> None:
    client = signed_in(Role.RATER)
    assert client.get("/sign-out").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(), backend=settings.AUTHENTICATION_BACKENDS[1])
    refused = strict.post("/sign-out")
    assert refused.status_code == 403
    assert b"Please send it again" in refused.content
    assert client.post("/sign-out")["Location"] == "/"
    assert client.get("/").status_code == 200


def test_a_request_with_an_outlived_session_leaves_a_new_one_alone(client: Client) -> None:
    """What the page before had under way when its rater signed in again."""
    client.get(invite(Role.RATER))
    name = settings.SESSION_COOKIE_NAME
    late = Client()
    late.cookies[name] = client.cookies[name].value
    client.get(invite(Role.RATER))
    response = late.get("/rate/")
    assert response.status_code == 302
    assert name not in response.cookies
    assert "Cookie" in response["Vary"]
    assert client.get("/rate/").status_code == 200
    assert client.post("/sign-out").cookies[name]["max-age"] == 0


def test_the_rating_page_is_for_raters() -> None:
    assert Client().get("/rate/")["Location"] == "/sign-in?next=/rate/"
    assert signed_in(Role.RATER).get("/rate/").status_code == 200
    for role in (Role.ENGINEER, Role.REVIEWER):
        response = signed_in(role).get("/rate/")
        assert response.status_code == 403
        assert b"This page is for raters" in response.content


def test_a_member_without_a_role_is_told_so(client: Client) -> None:
    client.force_login(
        User.objects.create(username="nobody"), backend=settings.AUTHENTICATION_BACKENDS[1]
    )
    response = client.get("/")
    assert response.status_code == 403
    assert b"have no part here yet" in response.content


def test_a_lost_address_gets_a_kind_page(client: Client) -> None:
    response = client.get("/nowhere")
    assert response.status_code == 404
    assert b"There is nothing at this address" in response.content


def test_a_broken_page_says_so_without_any_context(tmp_path: Path) -> None:
    from django.test import RequestFactory
    from django.views.defaults import server_error

    response = server_error(RequestFactory().get("/"))
    assert response.status_code == 500
    assert b"Something broke on our side" in response.content
