"""Who may call which address: three people, a stranger, and a stolen session."""

import pytest
from django.utils import timezone

from api.site import api
from attune.raters.services import revoke_api_tokens
from tests.unit.api.people import Person, call

ANY_ID = "00000000-0000-4000-8000-000000000000"
RATER, READER, ENGINEER = {"rater"}, {"engineer", "reviewer"}, {"engineer"}

ADDRESSES = [
    ("GET", "arrival", RATER),
    ("POST", "arrival/consent", RATER),
    ("POST", "arrival/volume", RATER),
    ("POST", "arrival/device-check", RATER),
    ("POST", "arrival/device-check/answers", RATER),
    ("POST", "arrival/device-check/no-headphones", RATER),
    ("GET", "arrival/practice", RATER),
    ("POST", "arrival/practice", RATER),
    ("POST", "withdrawal", RATER),
    ("GET", "consent-texts", READER),
    ("POST", "consent-texts", ENGINEER),
    ("POST", "assignments", RATER),
    ("POST", "ratings", RATER),
    ("PATCH", "ratings/1", RATER),
    ("POST", "reports", RATER),
    ("GET", "answers", RATER),
    ("GET", f"assignments/{ANY_ID}", RATER),
    ("PUT", "ratings/1/aspects/prompt_fit", RATER),
    ("POST", "remarks", RATER),
    ("DELETE", f"remarks/{ANY_ID}", RATER),
    ("POST", "clips", ENGINEER),
    ("GET", "clips", READER),
    ("GET", f"clips/{ANY_ID}", READER),
    ("GET", f"clips/{ANY_ID}/audio", READER),
    ("HEAD", f"clips/{ANY_ID}/audio", READER),
    ("POST", "melodies", ENGINEER),
    ("GET", "melodies", ENGINEER),
    ("GET", "melodies/1/audio", ENGINEER),
    ("HEAD", "melodies/1/audio", ENGINEER),
    ("GET", "checkpoints", READER),
    ("GET", "checkpoints/none", READER),
    ("GET", "studies", READER),
    ("POST", "studies", ENGINEER),
    ("GET", "studies/none", READER),
    ("PATCH", "studies/none", ENGINEER),
    ("POST", "studies/none/pairs", ENGINEER),
    ("GET", "studies/none/preflight", READER),
    ("POST", "rounds", ENGINEER),
    ("GET", "rounds", READER),
    ("GET", "rounds/1", READER),
    ("POST", "rounds/1/cancel", ENGINEER),
    ("POST", "rounds/1/resume", ENGINEER),
    ("POST", "rounds/preflight", ENGINEER),
    ("POST", "rounds/mix", ENGINEER),
    ("GET", "rounds/1/dataset", READER),
    ("GET", "rounds/1/samples/1/audio", READER),
    ("HEAD", "rounds/1/samples/1/audio", READER),
    ("GET", "round-comparison?round=1&round=2", READER),
    ("GET", "lineage", READER),
    ("GET", "studies/none/schedule", READER),
    ("PUT", "studies/none/schedule", ENGINEER),
    ("GET", "rater-groups", READER),
    ("GET", "rater-groups/none", READER),
    ("PUT", "rater-groups/none", ENGINEER),
    ("POST", "scores", ENGINEER),
    ("GET", "scores?reward_model=none", READER),
    ("GET", "rotation", READER),
    ("POST", "rotation/none/promote", ENGINEER),
    ("POST", "rotation/none/hold", ENGINEER),
    ("POST", "rotation/none/roll-back", ENGINEER),
    ("POST", "rotation/none/retire", ENGINEER),
    ("GET", "leaderboard", READER),
    ("GET", "win-rates?checkpoint=none", READER),
    ("GET", "raters", READER),
    ("GET", f"raters/{ANY_ID}", READER),
    ("POST", f"raters/{ANY_ID}/exclusion", ENGINEER),
    ("POST", f"raters/{ANY_ID}/exclusion/lift", ENGINEER),
    ("POST", f"raters/{ANY_ID}/work", ENGINEER),
    ("GET", "jobs", READER),
]


@pytest.mark.parametrize(("method", "path", "allowed"), ADDRESSES)
def test_each_address_is_open_to_its_roles_only(  # noqa: PLR0917
    method: str, path: str, allowed: set[str], rater: Person, engineer: Person, reviewer: Person
) -> None:
    people = {"rater": rater, "engineer": engineer, "reviewer": reviewer}
    for role, person in people.items():
        answer = person.api(method, path, {} if method != "GET" else None)
        assert (answer.status_code != 403) == (role in allowed), (role, answer.content)
        if answer.status_code == 403 and method != "HEAD":
            assert answer.json()["detail"].startswith("this needs the role ")
    stranger = call(method, path, {})
    assert stranger.status_code == 401
    assert stranger["WWW-Authenticate"] == "Bearer"


def test_every_operation_is_in_the_list_above() -> None:
    listed = {(method, path.partition("?")[0]) for method, path, _ in ADDRESSES}
    paths = api.get_openapi_schema()["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert len(listed) == len(described)


@pytest.mark.django_db
def test_a_wrong_or_revoked_token_opens_nothing(reviewer: Person) -> None:
    assert call("GET", "rounds", token="guessed").status_code == 401
    revoke_api_tokens(user=reviewer.user, now=timezone.now())
    assert reviewer.api("GET", "rounds").status_code == 401


def test_a_session_reads_freely_but_writes_only_with_the_csrf_token(rater: Person) -> None:
    browser = rater.pages
    refused = browser.post("/api/v1/assignments", {}, content_type="application/json")
    assert refused.status_code == 403
    assert "CSRF" in refused.json()["detail"]
    assert refused.json()["reason"] == "csrf"
    browser.cookies["attune_csrf"] = "a" * 32
    accepted = browser.post(
        "/api/v1/assignments",
        {},
        content_type="application/json",
        headers={"X-CSRFToken": "a" * 32},
    )
    assert accepted.status_code == 204


def test_a_bad_token_is_not_rescued_by_a_session(reviewer: Person) -> None:
    answer = reviewer.pages.get("/api/v1/rounds", headers={"Authorization": "Bearer guessed"})
    assert answer.status_code == 401


@pytest.mark.django_db
def test_the_api_describes_itself_to_anybody() -> None:
    assert call("GET", "openapi.json").json()["info"]["title"] == "Attune"
    page = call("GET", "docs")
    assert page.status_code == 200
    assert b"https://" not in page.content
