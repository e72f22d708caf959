"""What a rater's program sees: a pair, its audio, and what becomes of the answer."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import LazySettings
from django.core import signing
from django.test import Client
from django.utils import timezone

from attune.catalog.models import Clip, Population
from attune.raters.models import Role
from attune.ratings.choices import AssignmentState, Choice
from attune.ratings.models import Assignment, ClipReport, Pair, Rating, RatingRevision, Study
from tests.factories import make_checkpoint, make_pair, make_study
from tests.unit.api.people import Person, call, make_person, write_audio

MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def pair(rater: Person) -> Pair:
    """A ready pair of two checkpoints whose audio exists."""
    study = make_study(minimum_listening_s=1.0)
    pair = make_pair(study, checkpoints=[make_checkpoint("first one"), make_checkpoint("aligned")])
    write_audio(pair.first_clip, 32_000)
    write_audio(pair.second_clip, 31_000)
    return pair


def answer_of(assignment: str, **fields: Any) -> dict[str, Any]:
    content = {"client_id": str(uuid4()), "assignment": assignment, "choice": "A"}
    return content | {"heard": {"A": [[0, 1]], "B": [[0, 1.2]]}} | fields


@pytest.fixture
def assignment(rater: Person, pair: Pair) -> dict[str, Any]:
    answer = rater.api("POST", "assignments", {"study": pair.study.slug})
    assert answer.status_code == 200
    # The clock forgives a second; the rest of the listening needs time to have passed.
    Assignment.objects.update(handed_out_at="2026-01-01T00:00:00Z")
    return dict(answer.json())


def test_an_assignment_holds_what_is_needed_to_rate_and_nothing_else(
    assignment: dict[str, Any], pair: Pair
) -> None:
    assert set(assignment) == {
        *("id", "prompt", "question", "minimum_listening_s", "expires_at"),
        *("asks_strength", "aspects", "shows_history", "break_after_min", "notice", "remarks"),
        *("n_done", "n_target", "a", "b"),
    }
    assert set(assignment["a"]) == {"audio_url", "gain_db", "duration_s", "peaks"}
    assert assignment["prompt"] == pair.prompt.text
    assert assignment["minimum_listening_s"] == 1.0


def test_the_same_pair_is_handed_out_until_it_is_answered(
    rater: Person, assignment: dict[str, Any]
) -> None:
    again = rater.api("POST", "assignments")
    assert again.json()["id"] == assignment["id"]
    assert rater.api("POST", "ratings", answer_of(assignment["id"])).status_code == 201
    empty = rater.api("POST", "assignments")
    assert (empty.status_code, empty.content) == (204, b"")
    assert int(empty["Retry-After"]) > 0


def test_nothing_a_rater_receives_tells_which_clips_they_are(
    rater: Person, assignment: dict[str, Any], pair: Pair
) -> None:
    """Ids, names, seeds and hashes of clips and checkpoints; none may be readable anywhere."""
    received = [repr(assignment)]
    for side in ("a", "b"):
        audio = rater.api("GET", assignment[side]["audio_url"])
        received.append(repr(sorted(audio.headers.items())))
        token = assignment[side]["audio_url"].rsplit("/", 1)[1].removesuffix(".wav")
        received.append(repr(signing.loads(token, salt="audio")))
    rated = rater.api("POST", "ratings", answer_of(assignment["id"]))
    received += [repr(rated.json()), repr(sorted(rated.headers.items()))]
    text = " ".join(received)
    for clip in (pair.first_clip, pair.second_clip):
        for secret in (str(clip.pk), clip.pk.hex, clip.audio_path, clip.codes_path):
            assert secret not in text
        assert clip.checkpoint.name not in text
        assert clip.checkpoint.content_hash not in text
    for word in ("checkpoint", "seed", "round", "swapped", "propensity"):
        assert word not in text


def test_both_sides_come_with_the_same_headers_apart_from_length_and_tag(
    rater: Person, assignment: dict[str, Any]
) -> None:
    headers = []
    for side in ("a", "b"):
        found = dict(rater.api("GET", assignment[side]["audio_url"]).headers)
        assert found.pop("Content-Length")
        assert len(found.pop("ETag")) == 34
        headers.append(found)
    assert headers[0] == headers[1]
    assert headers[0]["Cache-Control"].startswith("private")


def test_audio_is_served_in_ranges_on_the_side_it_was_assigned_to(
    rater: Person, assignment: dict[str, Any], pair: Pair
) -> None:
    is_swapped = Assignment.objects.get().is_swapped
    shown_as_a = pair.second_clip if is_swapped else pair.first_clip
    content = write_audio(shown_as_a)
    address = assignment["a"]["audio_url"]
    whole = rater.api("GET", address)
    assert b"".join(whole.streaming_content) == content
    part = rater.api("GET", address, Range="bytes=44-143")
    assert part.status_code == 206
    assert b"".join(part.streaming_content) == content[44:144]
    assert rater.api("GET", address, Range="bytes=99999999-").status_code == 416
    assert rater.api("HEAD", address)["Content-Length"] == str(len(content))


def test_audio_is_for_its_rater_and_for_those_who_hear_everything(
    rater: Person, engineer: Person, assignment: dict[str, Any]
) -> None:
    address = assignment["a"]["audio_url"]
    assert rater.pages.get(address).status_code == 200
    assert engineer.api("GET", address).status_code == 200
    assert make_person(Role.RATER).api("GET", address).status_code == 404
    assert call("GET", address).status_code == 401
    assert call("POST", address).status_code == 405


def test_a_forged_or_old_audio_address_opens_nothing(
    rater: Person, assignment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = assignment["a"]["audio_url"]
    assert rater.api("GET", address.replace(".wav", "x.wav")).status_code == 404
    monkeypatch.setattr("api.audio.TOKEN_LIFETIME_S", -1)
    assert rater.api("GET", address).status_code == 404


def test_a_front_server_is_told_where_the_file_lies(
    rater: Person, assignment: dict[str, Any], settings: LazySettings
) -> None:
    settings.ATTUNE_ACCEL_PREFIX = "/internal/media"
    answer = rater.api("GET", assignment["a"]["audio_url"])
    assert answer["X-Accel-Redirect"].startswith("/internal/media/clips/")
    assert answer.content == b""


def test_an_answer_sent_twice_is_stored_once(rater: Person, assignment: dict[str, Any]) -> None:
    content = answer_of(assignment["id"], strength=2)
    first = rater.api("POST", "ratings", content)
    again = rater.api("POST", "ratings", content)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == {
        "id": Rating.objects.get().pk,
        "choice": "A",
        "strength": 2,
        "created": True,
    }
    assert again.json() == first.json() | {"created": False}


def test_a_second_answer_to_an_answered_pair_is_a_conflict(
    rater: Person, assignment: dict[str, Any]
) -> None:
    rater.api("POST", "ratings", answer_of(assignment["id"]))
    second = rater.api("POST", "ratings", answer_of(assignment["id"], choice="B"))
    assert second.status_code == 409
    assert "answered" in second.json()["detail"]
    assert Rating.objects.get().choice == Choice.A


def test_what_was_not_heard_is_refused_with_the_seconds(
    rater: Person, assignment: dict[str, Any]
) -> None:
    answer = rater.api("POST", "ratings", answer_of(assignment["id"], heard={"A": [[0, 2]]}))
    assert answer.status_code == 422
    assert answer.json()["side"] == "B"
    assert answer.json()["needed_s"] == 1.0
    assert "B was heard for 0.0 s" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"choice": "C"}, "'C'"),
        ({"choice": "TIE", "strength": 1}, "strength is for A or B only"),
        ({"strength": 4}, "less than or equal to 3, got 4"),
        ({"heard": {"C": [[0, 1]]}}, "'C'"),
        ({"heard": {"A": [[-1, 1]]}}, "greater than or equal to 0, got -1"),
        ({"client_id": "x"}, "client_id"),
        ({"checkpoint": "starter"}, "checkpoint"),
    ],
)
def test_a_malformed_answer_is_refused_with_what_was_given(
    change: dict[str, Any], said: str, rater: Person, assignment: dict[str, Any]
) -> None:
    answer = rater.api("POST", "ratings", answer_of(assignment["id"], **change))
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert not Rating.objects.exists()


def test_a_body_that_is_no_json_is_refused(rater: Person) -> None:
    from django.test import Client

    answer = Client().post(
        "/api/v1/ratings",
        b"{nonsense",
        content_type="application/json",
        headers={"Authorization": f"Bearer {rater.token}"},
    )
    assert answer.status_code == 400
    assert answer.json()["detail"]


def test_another_raters_assignment_does_not_exist(assignment: dict[str, Any]) -> None:
    other = make_person(Role.RATER)
    assert other.api("POST", "ratings", answer_of(assignment["id"])).status_code == 404
    assert other.api("POST", "ratings", answer_of(MISSING)).status_code == 404


def test_an_answer_can_be_changed_until_it_is_frozen(
    rater: Person, assignment: dict[str, Any]
) -> None:
    rated = rater.api("POST", "ratings", answer_of(assignment["id"])).json()
    changed = rater.api("PATCH", f"ratings/{rated['id']}", {"choice": "BOTH_BAD"})
    assert changed.json()["choice"] == "BOTH_BAD"
    assert RatingRevision.objects.get().choice == Choice.A
    Rating.objects.update(is_frozen=True)
    refused = rater.api("PATCH", f"ratings/{rated['id']}", {"choice": "A"})
    assert refused.status_code == 409
    assert (
        make_person(Role.RATER).api("PATCH", f"ratings/{rated['id']}", {"choice": "A"}).status_code
        == 404
    )


def test_a_report_skips_the_pair(rater: Person, assignment: dict[str, Any]) -> None:
    content = {"assignment": assignment["id"], "side": "B", "remark": "it is silent"}
    assert rater.api("POST", "reports", content).status_code == 201
    assert ClipReport.objects.get().remark == "it is silent"
    assert Assignment.objects.get().state == AssignmentState.SKIPPED
    assert rater.api("POST", "assignments").status_code == 204
    wrong = rater.api("POST", "reports", content | {"side": "left"})
    assert wrong.status_code == 422


def test_simulated_raters_and_people_never_share_a_study(rater: Person, pair: Pair) -> None:
    simulated = make_person(Role.RATER, is_simulated=True)
    refused = simulated.api("POST", "assignments", {"study": pair.study.slug})
    assert refused.status_code == 403
    assert simulated.api("POST", "assignments").status_code == 204
    rehearsal = make_study(population=Population.REHEARSAL)
    make_pair(rehearsal)
    assert simulated.api("POST", "assignments").status_code == 200
    assert rater.api("POST", "assignments", {"study": rehearsal.slug}).status_code == 403


def test_an_unknown_study_is_not_found(rater: Person) -> None:
    answer = rater.api("POST", "assignments", {"study": "nowhere"})
    assert answer.status_code == 404
    assert "nowhere" in answer.json()["detail"]


def test_a_study_without_listening_rule_accepts_an_answer_at_once(rater: Person) -> None:
    make_pair(make_study(minimum_listening_s=0.0))
    assignment = rater.api("POST", "assignments").json()
    answer = rater.api("POST", "ratings", answer_of(assignment["id"], heard={}))
    assert answer.status_code == 201


def test_audio_of_a_clip_that_lost_its_file_is_not_found(
    rater: Person, assignment: dict[str, Any]
) -> None:
    Clip.objects.update(audio_path="clips/gone.wav")
    assert rater.api("GET", assignment["a"]["audio_url"]).status_code == 404


def test_aspects_are_put_one_by_one_and_own_answers_are_listed(
    rater: Person, assignment: dict[str, Any], pair: Pair
) -> None:
    Study.objects.update(aspects=["prompt_fit", "musicality"])
    rated = rater.api("POST", "ratings", answer_of(assignment["id"])).json()
    address = f"ratings/{rated['id']}/aspects"
    assert rater.api("PUT", f"{address}/musicality", {"choice": "B"}).status_code == 201
    again = rater.api("PUT", f"{address}/musicality", {"choice": "TIE"})
    assert (again.status_code, again.json()["choice"]) == (200, "TIE")
    refused = rater.api("PUT", f"{address}/sound_quality", {"choice": "A"})
    assert refused.status_code == 422
    assert "prompt_fit, musicality" in refused.json()["detail"]
    assert rater.api("PUT", f"{address}/taste", {"choice": "A"}).status_code == 422

    (own,) = rater.api("GET", "answers").json()
    assert own["aspects"] == {"prompt_fit": None, "musicality": "TIE"}
    assert (own["id"], own["assignment"], own["choice"]) == (rated["id"], assignment["id"], "A")
    shown = rater.api("GET", f"assignments/{assignment['id']}").json()
    for answer in (shown, assignment):
        answer["a"].pop("audio_url")  # signed anew with the time
    assert (shown["a"], shown["prompt"]) == (assignment["a"], assignment["prompt"])


def test_a_remark_comes_back_with_its_pair_until_it_is_deleted(
    rater: Person, assignment: dict[str, Any]
) -> None:
    remark = {"client_id": str(uuid4()), "side": "B", "at_s": 0.5, "text": "a click"}
    body = remark | {"assignment": assignment["id"]}
    assert rater.api("POST", "remarks", body).status_code == 201
    assert rater.api("POST", "remarks", body).status_code == 200
    assert rater.api("POST", "assignments").json()["remarks"] == [remark]
    too_late = rater.api("POST", "remarks", body | {"client_id": str(uuid4()), "at_s": 9})
    assert too_late.status_code == 422
    assert "within 0 to 2.00 s" in too_late.json()["detail"]
    assert rater.api("DELETE", f"remarks/{remark['client_id']}").status_code == 204
    assert rater.api("DELETE", f"remarks/{remark['client_id']}").status_code == 404
    assert rater.api("POST", "assignments").json()["remarks"] == []


@pytest.mark.parametrize(("path", "field"), [("remarks", "text"), ("reports", "remark")])
def test_words_that_no_database_can_store_are_refused_for_good(
    rater: Person, assignment: dict[str, Any], path: str, field: str
) -> None:
    """A page tries a failure of the site again for ever, and sends nothing else meanwhile."""
    body = {"assignment": assignment["id"], "side": "B", field: "a click\0"}
    if path == "remarks":
        body |= {"client_id": str(uuid4()), "at_s": 0.5}
    refused = rater.api("POST", path, body)
    assert refused.status_code == 422
    assert "NUL" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ('{"A": [[0, 1]], "B": [[0, 1], [0, 1], [0, 1], [0, 1]]}', "only one side plays"),
        ('{"A": [[0, 1], [1.5, 1.2]], "B": [[0, 1.2]]}', "expected a stretch within 0 to 2"),
        ('{"A": [[0, 1]], "B": [[0, 2.4]]}', "expected a stretch within 0 to 2"),
        ('{"A": [[0, 0.6], [0.2, 0.7]], "B": [[0, 1.2]]}', "side A was heard for 0.7 s"),
        ('{"A": [[0, 1]]}', "side B was heard for 0.0 s"),
        ('{"A": [[0, 1]], "C": [[0, 1]]}', "'A' or 'B'"),
        ('{"A": [[0, NaN]], "B": [[0, 1]]}', "finite number"),
        ('{"A": [[0, 1e999]], "B": [[0, 1]]}', "finite number"),
        ('{"A": [[-1, 1]], "B": [[0, 1]]}', "greater than or equal to 0"),
        ('{"A": [[0, 1, 2]], "B": [[0, 1]]}', "at most 2 items"),
        ('{"A": [' + "[0, 1]," * 2000 + '[0, 1]], "B": [[0, 1]]}', "at most 2000 items"),
        ('{"A": "all of it", "B": [[0, 1]]}', "valid list"),
    ],
)
def test_forged_listening_is_refused_with_a_sentence(
    rater: Person, assignment: dict[str, Any], heard: str, said: str
) -> None:
    """The pair was handed out three seconds ago; the clips last two seconds, a second is asked."""
    Assignment.objects.update(handed_out_at=timezone.now() - timedelta(seconds=3))
    text = (
        f'{{"client_id": "{uuid4()}", "assignment": "{assignment["id"]}", '
        f'"choice": "A", "heard": {heard}}}'
    )
    refused = Client().post(
        "/api/v1/ratings",
        text,
        content_type="application/json",
        headers={"Authorization": f"Bearer {rater.token}"},
    )
    assert refused.status_code == 422, refused.content
    assert said in refused.json()["detail"]
    assert len(refused.content) < 2000
    assert Rating.objects.count() == 0
