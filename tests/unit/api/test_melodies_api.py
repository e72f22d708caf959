"""Recordings over the API: uploaded and heard by engineers, named by prompts and clips."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from attune.catalog.models import Clip, Melody, Prompt
from attune.catalog.storage import media_file
from tests.factories import make_anchor, make_melody, make_pair, make_study
from tests.recordings import recording_bytes
from tests.unit.api.people import Person


def upload(person: Person, content: bytes, name: str = "", file_name: str = "tune.wav") -> Any:
    return Client().post(
        "/api/v1/melodies",
        {"file": SimpleUploadedFile(file_name, content, "text/html"), "name": name},
        headers={"Authorization": f"Bearer {person.token}"},
    )


def test_a_recording_is_stored_once_and_listed(engineer: Person) -> None:
    content = recording_bytes("MP3")
    first = upload(engineer, content, "evening", "page.html")
    again = upload(engineer, content, "morning")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    told = first.json()
    assert (told["name"], told["format"], told["media_type"]) == ("evening", "mp3", "audio/mpeg")
    assert told["created_by"] == engineer.user.get_username()
    assert told["n_bytes"] == len(content)
    assert engineer.api("GET", "melodies").json() == [told]
    assert engineer.api("GET", "melodies?offset=1").json() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty: expected WAV, FLAC, OGG or MP3"),
        (b"<html>", "no recording"),
        (recording_bytes()[:5000], "cut off"),
        (b"RIFF" + bytes(26_000_000), "the file has 26.0 MB: expected at most 25 MB"),
    ],
)
def test_a_bad_file_is_answered_with_what_is_allowed(
    content: bytes, said: str, engineer: Person
) -> None:
    answer = upload(engineer, content)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert not Melody.objects.exists()


def test_an_upload_without_a_file_or_with_a_taken_name_says_so(engineer: Person) -> None:
    answer = Client().post(
        "/api/v1/melodies", {"name": "x"}, headers={"Authorization": f"Bearer {engineer.token}"}
    )
    assert (answer.status_code, answer.json()["detail"]) == (422, "file is missing")
    make_melody("evening")
    taken = upload(engineer, recording_bytes("FLAC"), "evening")
    assert taken.status_code == 422
    assert "'evening' is taken" in taken.json()["detail"]


def test_an_upload_far_beyond_the_limit_is_not_kept_on_disk(engineer: Person) -> None:
    from config.uploads import BoundedFileUploadHandler

    handler = BoundedFileUploadHandler()
    handler.new_file("file", "x.wav", "audio/wav", None)
    block, n_blocks = bytes(1_000_000), 40
    for number in range(n_blocks):
        handler.receive_data_chunk(block, number * len(block))
    file = handler.file_complete(n_blocks * len(block))
    assert file is not None
    assert file.size == 40_000_000
    assert len(file.read()) == 25_000_001


def test_an_engineer_hears_a_recording_in_parts_and_nobody_else_does(
    engineer: Person, reviewer: Person, rater: Person
) -> None:
    content = recording_bytes("OGG")
    address = upload(engineer, content).json()["audio_url"]
    whole = engineer.api("GET", address)
    assert (whole["Content-Type"], whole["X-Content-Type-Options"]) == ("audio/ogg", "nosniff")
    assert b"".join(whole) == content
    part = engineer.api("GET", address, Range="bytes=4-9")
    assert (part.status_code, b"".join(part)) == (206, content[4:10])
    assert part["Content-Range"] == f"bytes 4-9/{len(content)}"
    assert engineer.api("GET", address, Range="bytes=9999999-").status_code == 416
    assert {person.api("GET", address).status_code for person in (reviewer, rater)} == {403}
    media_file(Melody.objects.get().path).unlink()
    assert engineer.api("GET", address).status_code == 404


def test_a_front_server_is_told_which_file_to_send(engineer: Person, settings: Any) -> None:
    settings.ATTUNE_ACCEL_PREFIX = "/protected-media/"
    melody = make_melody()
    answer = engineer.api("GET", f"melodies/{melody.pk}/audio")
    assert answer["X-Accel-Redirect"] == f"/protected-media/{melody.path}"
    assert answer["Content-Type"] == "audio/wav"


def test_a_clip_names_the_recording_that_it_follows(engineer: Person) -> None:
    make_anchor()
    melody = make_melody("evening")
    content = {"prompt": "a calm harp", "melody": "evening"}
    clip = engineer.api("POST", "clips", content).json()
    assert clip["melody"] == "evening"
    assert Clip.objects.get().prompt.melody == melody
    plain = engineer.api("POST", "clips", {"prompt": "a calm harp"}).json()
    assert plain["melody"] is None
    assert plain["prompt_id"] != clip["prompt_id"]
    assert [one["melody"] for one in engineer.api("GET", "clips").json()] == [None, "evening"]
    other = engineer.api("POST", "clips", {"prompt": plain["prompt_id"], "melody": "evening"})
    assert (other.status_code, "follows no recording" in other.json()["detail"]) == (422, True)


def test_a_study_is_opened_with_prompts_that_follow_a_recording(engineer: Person) -> None:
    melody = make_melody("evening")
    prompts = ["a waltz", {"text": "a waltz", "melody": "evening"}]
    answer = engineer.api("POST", "studies", {"slug": "tunes", "prompts": prompts})
    assert answer.status_code == 201
    found = Prompt.objects.order_by("pk").values_list("text", "melody_id")
    assert list(found) == [("a waltz", None), ("a waltz", melody.pk)]
    missing = {"slug": "more", "prompts": [{"text": "a waltz", "melody": "dawn"}]}
    refused = engineer.api("POST", "studies", missing)
    assert refused.status_code == 422
    assert refused.json()["detail"] == "no recording 'dawn'; there are evening"
    assert not Prompt.objects.filter(prompt_set__name="more").exists()


def test_a_rater_is_not_told_that_a_clip_follows_a_recording(rater: Person) -> None:
    melody = make_melody("quagga evening")
    study = make_study()
    prompt = study.prompt_set.prompts.order_by("pk")[0]
    Prompt.objects.filter(pk=prompt.pk).update(melody=melody)
    make_pair(study)
    answer = rater.api("POST", "assignments", {"study": study.slug})
    assert answer.status_code == 200
    assert answer.json()["prompt"] == prompt.text
    text = answer.content.decode() + str(dict(answer.headers))
    for secret in ("quagga", "melod", "recording", melody.sha256):
        assert secret not in text
    page = rater.pages.get("/rate/").content.decode()
    assert "quagga" not in page
