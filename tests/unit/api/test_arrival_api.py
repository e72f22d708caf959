"""What scripts and pages ask of the site before the first pair, and what it refuses."""

import io
import wave
from typing import Any

import pytest
from django.urls import reverse

from attune.raters.consent_services import write_consent_text
from attune.raters.device_check import right_interval
from attune.raters.models import DeviceCheck, Rater, Role
from attune.ratings.models import Rating, Study
from attune.ratings.practice import clean_side
from attune.ratings.services import update_study
from tests.factories import make_pair, make_study
from tests.unit.api.people import Person, call, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def rater(db: None) -> Person:
    return make_person(Role.RATER)


@pytest.fixture
def study(db: None) -> Study:
    text, _ = write_consent_text(name="listening", title="Taking part", text="We store answers.")
    study = update_study(
        study=make_study(), consent=text, asks_volume=True, device_check="record", n_practice=2
    )
    make_pair(study)
    return study


def get(person: Person, address: str) -> Any:
    return call("GET", address, token=person.token)


def test_a_script_goes_the_same_way_as_a_page(rater: Person, study: Study) -> None:
    codes = []

    def ask_for_a_pair() -> None:
        answer = rater.api("POST", "assignments", {})
        codes.append((answer.status_code, answer.json().get("code")))

    ask_for_a_pair()
    arrival = rater.api("GET", "arrival").json()
    assert arrival["asked"] == ["consent", "volume", "device_check", "practice"]
    assert arrival["consent"]["text"] == "We store answers."
    rater.api("POST", "arrival/consent", {"text": arrival["consent"]["id"], "agrees": True})
    ask_for_a_pair()
    rater.api("POST", "arrival/volume")
    ask_for_a_pair()
    state = rater.api("POST", "arrival/device-check").json()
    while state["sound_url"]:
        check = DeviceCheck.objects.get(pk=state["check"])
        answer = right_interval(check.seed, check.kind, state["trial"])
        body = {"check": state["check"], "trial": state["trial"], "interval": answer}
        state = rater.api("POST", "arrival/device-check/answers", body).json()
    ask_for_a_pair()
    for number in range(2):
        pair = rater.api("GET", "arrival/practice").json()
        assert (pair["number"], pair["n_pairs"]) == (number, 2)
        answer = rater.api("POST", "arrival/practice", {"number": number, "choice": "A"}).json()
        assert answer["is_expected"] == (answer["clean_side"] == "A")
        assert answer["clean_side"] == clean_side(rater.rater, number).value
    ask_for_a_pair()
    assert codes == [
        (403, "consent_needed"),
        (403, "volume_needed"),
        (403, "device_check_needed"),
        (403, "practice_needed"),
        (200, None),
    ]
    assert not Rating.objects.exists()


def test_a_check_sends_the_sound_that_is_asked_now_to_its_rater_alone(
    rater: Person, study: Study
) -> None:
    state = _begin_check(rater, study)
    answer = get(rater, state["sound_url"])
    assert answer["Content-Type"] == "audio/wav"
    assert answer["Cache-Control"] == "no-store"
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.getnchannels() == 2
    assert set(state) == {"step", "check", "kind", "trial", "n_trials", "sound_url"}
    later_trial = reverse("api:check_sound", args=[state["check"], 3])
    assert get(rater, later_trial).status_code == 404
    assert get(make_person(Role.RATER), state["sound_url"]).status_code == 404
    assert call("GET", state["sound_url"]).status_code == 401


def test_both_sides_of_a_practice_pair_weigh_the_same(rater: Person, study: Study) -> None:
    pair = rater.api("GET", "arrival/practice").json()
    sizes = {len(get(rater, pair[side]["audio_url"]).content) for side in "ab"}
    assert len(sizes) == 1
    assert set(pair["a"]) == {"audio_url", "gain_db", "duration_s", "peaks"}
    assert get(rater, "/api/v1/arrival/practice/7/A.wav").status_code == 404


def test_what_cannot_be_is_refused_with_a_sentence(rater: Person, study: Study) -> None:
    refusals = [
        rater.api("POST", "arrival/consent", {"text": 999, "agrees": True}),
        rater.api("POST", "arrival/practice", {"number": 1, "choice": "A"}),
        rater.api("POST", "arrival/device-check/answers", {"check": 1, "trial": 0, "interval": 3}),
        rater.api("GET", "arrival?study=nowhere"),
    ]
    assert [answer.status_code for answer in refusals] == [409, 409, 422, 404]
    assert all(answer.json()["detail"] for answer in refusals)


def test_engineers_write_versions_and_set_what_is_asked(study: Study) -> None:
    engineer = make_person(Role.ENGINEER)
    body = {"name": "listening", "title": "Taking part", "text": "We store remarks as well."}
    written = engineer.api("POST", "consent-texts", body)
    assert written.status_code == 201
    assert (written.json()["version"], written.json()["studies"]) == (2, [study.slug])
    listed = engineer.api("GET", "consent-texts").json()
    assert [text["version"] for text in listed] == [2, 1]
    changed = engineer.api(
        "PATCH", f"studies/{study.slug}", {"consent": "", "device_check": "exclude"}
    ).json()
    assert (changed["consent"], changed["device_check"], changed["n_practice"]) == (
        "",
        "exclude",
        2,
    )
    unknown = engineer.api("PATCH", f"studies/{study.slug}", {"consent": "nothing"})
    assert unknown.status_code == 409
    assert "there is listening" in unknown.json()["detail"]
    assert make_person(Role.RATER).api("POST", "consent-texts", body).status_code == 403


def test_withdrawal_by_api_ends_the_token(rater: Person) -> None:
    assert rater.api("POST", "withdrawal").status_code == 204
    assert Rater.objects.get().withdrawn_at is not None
    assert rater.api("GET", "arrival").status_code == 401


def _begin_check(rater: Person, study: Study) -> Any:
    text = study.consent
    assert text is not None
    rater.api("POST", "arrival/consent", {"text": text.pk, "agrees": True})
    rater.api("POST", "arrival/volume")
    return rater.api("POST", "arrival/device-check").json()
