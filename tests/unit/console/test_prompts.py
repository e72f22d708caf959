"""Recordings are uploaded and attached to prompts on a page."""

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from attune.catalog.models import Clip, Melody, Prompt, PromptSet
from tests.factories import make_anchor, make_clip, make_melody, make_prompts
from tests.recordings import recording_bytes
from tests.unit.api.people import Person

PAGE = "/console/prompts/"


@pytest.fixture
def browser(engineer: Person) -> Client:
    """An engineer's browser; CSRF is tested elsewhere."""
    client = engineer.pages
    client.handler.enforce_csrf_checks = False
    return client


def said(answer: Any) -> list[str]:
    """The page's messages and errors."""
    text = answer.content.decode().replace("&#x27;", "'")
    found = re.findall(r'<li class="notice[^"]*">(.*?)</li>', text)
    lists = re.findall(r'<ul class="errorlist[^>]*>(.*?)</ul>', text, re.DOTALL)
    return [*found, *(re.sub(r"<[^>]+>", "", errors).strip() for errors in lists)]


def upload(browser: Client, content: bytes, **fields: str) -> Any:
    file = SimpleUploadedFile("evening.wav", content)
    return browser.post("/console/melodies/upload/", {"file": file, **fields}, follow=True)


def test_a_recording_is_uploaded_and_can_be_heard(browser: Client, engineer: Person) -> None:
    answer = upload(browser, recording_bytes())
    melody = Melody.objects.get()
    assert said(answer) == ["Recording evening is stored; prompts can follow it."]
    assert (melody.name, melody.created_by) == ("evening", engineer.user)
    assert f'<audio controls preload="none" src="/api/v1/melodies/{melody.pk}/audio"' in (
        answer.content.decode()
    )
    assert browser.get(f"/api/v1/melodies/{melody.pk}/audio").status_code == 200
    again = upload(browser, recording_bytes(), name="other")
    assert said(again) == ["Recording evening holds this sound already."]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "The recording was not stored: the file is empty: expected WAV, FLAC, OGG or MP3."),
        (b"la la la", "no recording, or damaged"),
        (recording_bytes()[:9000], "cut off"),
    ],
)
def test_a_bad_recording_is_refused_on_the_form(
    content: bytes, problem: str, browser: Client
) -> None:
    answer = upload(browser, content)
    assert answer.status_code == 422
    (error,) = said(answer)
    assert problem in error
    assert not Melody.objects.exists()


def test_a_name_on_the_page_is_text_and_never_markup(browser: Client) -> None:
    upload(browser, recording_bytes(), name="<script>alert(1)</script>")
    text = browser.get(PAGE).content.decode()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_a_form_without_a_file_says_so(browser: Client) -> None:
    answer = browser.post("/console/melodies/upload/", {"name": "x"})
    assert answer.status_code == 422
    assert said(answer) == ["This field is required."]


def test_prompts_are_added_to_a_set_with_the_recording_they_follow(browser: Client) -> None:
    melody = make_melody("evening")
    form = {"prompt_set": "tunes", "melody": "evening", "texts": "a waltz\n\n a march \n"}
    answer = browser.post("/console/prompts/add/", form, follow=True)
    assert answer.redirect_chain == [(f"{PAGE}?set=tunes", 302)]
    assert said(answer) == ["2 prompts added to tunes."]
    assert set(Prompt.objects.values_list("text", "melody_id", "is_held_out")) == {
        ("a waltz", melody.pk, False),
        ("a march", melody.pk, False),
    }
    form |= {"melody": "", "texts": "a waltz", "is_held_out": "on"}
    held_out = browser.post("/console/prompts/add/", form, follow=True)
    assert said(held_out) == ["1 prompt added to tunes."]
    assert Prompt.objects.get(melody=None).is_held_out
    again = browser.post("/console/prompts/add/", form, follow=True)
    assert said(again) == ["0 prompts added to tunes; 1 stood there already."]
    assert "3 prompts in tunes, 2 of which follow" in " ".join(again.content.decode().split())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"texts": " \n "}, "This field is required."),
        ({"texts": "a waltz\n" + "x" * 501}, "Prompt 2: a prompt of 501 characters"),
        ({"prompt_set": ""}, "This field is required."),
        ({"melody": "dawn"}, "not one of the available choices"),
    ],
)
def test_prompts_that_cannot_be_added_are_refused_on_the_form(
    change: dict[str, str], problem: str, browser: Client
) -> None:
    form = {"prompt_set": "tunes", "melody": "", "texts": "a waltz"} | change
    answer = browser.post("/console/prompts/add/", form)
    assert answer.status_code == 422
    assert problem in said(answer)[0]
    assert not PromptSet.objects.exists()


def test_one_set_is_shown_and_given_as_csv(browser: Client) -> None:
    shown, other = make_prompts(2, n_held_out=1), make_prompts(1)
    melody = make_melody("evening")
    Prompt.objects.filter(prompt_set=shown, is_held_out=True).update(melody=melody)
    make_clip(shown.prompts.order_by("pk")[0], make_anchor())
    text = browser.get(PAGE, {"set": shown.name}).content.decode()
    assert text.count('class="prompt-text"') == 3
    rows = browser.get(PAGE, {"set": shown.name, "format": "csv"}).content.decode().splitlines()
    assert len(rows) == 4
    assert rows[1].endswith('"a march, take 0",evening,True,True,,0')
    assert rows[3].endswith('"a slow waltz, take 0",,False,True,,1')
    everything = browser.get(PAGE).content.decode()
    assert everything.count('class="prompt-text"') == 4
    assert other.name in everything


def test_a_reviewer_reads_the_page_without_players_and_forms(reviewer: Person) -> None:
    melody = make_melody("evening")
    text = reviewer.pages.get(PAGE).content.decode()
    assert "evening" in text
    assert "<audio" not in text
    assert "multipart" not in text
    assert reviewer.pages.get(f"/api/v1/melodies/{melody.pk}/audio").status_code == 403


def test_a_clip_is_asked_for_with_a_recording_and_shows_it(browser: Client) -> None:
    anchor, melody = make_anchor(), make_melody("evening")
    form = {"prompt": "a harp", "checkpoint": anchor.name, "duration_s": "4", "melody": "evening"}
    answer = browser.post("/console/clips/request/", form, follow=True)
    assert Clip.objects.get().prompt.melody == melody
    assert "follows the tune of evening" in answer.content.decode()
