"""What a rater receives of a gold pair or a repeat looks like that of any other pair."""

import json
import re
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone

from attune.catalog.models import Clip, Damage
from attune.catalog.storage import clip_audio_file, media_file, write_atomically
from attune.ratings.models import Assignment, Pair, Study
from tests.factories import make_gold_pair, make_pair, make_study
from tests.unit.api.people import Person, call
from workers.clips import wav_bytes
from workers.damage import damage_clip

RATE_HZ = 16_000
WORDS = re.compile(
    "gold|repeat|damage|purpose|known|original|" + "|".join(kind.value for kind in Damage),
    re.IGNORECASE,
)


def music(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Two seconds of overtones over a note of its own."""
    times = np.arange(2 * RATE_HZ) / RATE_HZ
    notes = [np.sin(2 * np.pi * (110 + seed) * k * times) / k for k in range(1, 40)]
    return (0.1 * np.sum(notes, axis=0)).astype(np.float32)


def write_clips(pair: Pair) -> None:
    """Audio files as the worker writes them; a damaged copy's is made from its clip's."""
    for number, clip in enumerate((pair.first_clip, pair.second_clip)):
        sound = music(pair.pk if clip.damage else pair.pk + 10 * number)
        if clip.damage:
            sound = damage_clip(sound, RATE_HZ, Damage(clip.damage), clip.seed)
        path = clip_audio_file(clip.pk)
        write_atomically(media_file(path), wav_bytes(sound, RATE_HZ))
        Clip.objects.filter(pk=clip.pk).update(audio_path=path, peaks=[0.5] * 160)


def hand_over(study: Study, person: Person, pair: Pair, *, is_repeat: bool) -> Any:
    """The assignment's JSON, as the page gets it."""
    write_clips(pair)
    Assignment.objects.filter(rater=person.rater).update(state="answered")
    now = timezone.now()
    Assignment.objects.create(
        pair=pair,
        rater=person.rater,
        is_swapped=True,
        is_repeat=is_repeat,
        propensity=0.1,
        handed_out_at=now,
        lease_until=now + timedelta(minutes=15),
    )
    return person.api("POST", "assignments", {"study": study.slug})


@pytest.fixture
def received(db: None, rater: Person) -> dict[str, Any]:
    """The answers to a request for each kind of pair."""
    study = make_study(gold_share=0.1, repeat_share=0.1)
    ordinary = make_pair(study)
    return {
        "ordinary": hand_over(study, rater, ordinary, is_repeat=False),
        "gold": hand_over(study, rater, make_gold_pair(study), is_repeat=False),
        "again": hand_over(study, rater, ordinary, is_repeat=True),
    }


def test_the_same_fields_of_the_same_kinds_arrive(received: dict[str, Any]) -> None:
    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shape(each) for key, each in value.items()}
        if isinstance(value, list):
            return [len(value), {type(each).__name__ for each in value}]
        return type(value).__name__

    shapes = {name: shape(answer.json()) for name, answer in received.items()}
    assert shapes["ordinary"] == shapes["gold"] == shapes["again"]
    headers = {name: sorted(answer.headers) for name, answer in received.items()}
    assert headers["ordinary"] == headers["gold"] == headers["again"]


def test_no_word_tells_the_kind(received: dict[str, Any], rater: Person) -> None:
    for answer in received.values():
        assert answer.status_code == 200
        assert WORDS.findall(answer.content.decode()) == []
        for side in ("a", "b"):
            audio = call("GET", answer.json()[side]["audio_url"], token=rater.token)
            assert audio.status_code == 200
            assert WORDS.findall(json.dumps(dict(audio.headers))) == []


def test_files_of_all_kinds_are_alike_but_for_their_sound(
    received: dict[str, Any], rater: Person
) -> None:
    seen: dict[tuple[str, str], tuple[int, bytes, list[str]]] = {}
    bodies = set()
    for name, answer in received.items():
        for side in ("a", "b"):
            audio = call("GET", answer.json()[side]["audio_url"], token=rater.token)
            body = b"".join(audio.streaming_content) if audio.streaming else audio.content
            seen[name, side] = (len(body), body[:44], sorted(audio.headers))
            bodies.add(body)
    assert len({str(each) for each in seen.values()}) == 1
    assert len(bodies) == 4, "two sounds of the ordinary pair, heard twice, and two of the gold"


def test_the_outlines_of_a_gold_pair_are_one(received: dict[str, Any]) -> None:
    told = received["gold"].json()
    assert told["a"]["peaks"] == told["b"]["peaks"]


def test_audio_needs_the_rater_whose_assignment_it_is(received: dict[str, Any]) -> None:
    url = received["gold"].json()["a"]["audio_url"]
    assert Client().get(url).status_code in (401, 403, 404)
