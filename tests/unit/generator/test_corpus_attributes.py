"""Attributes: allowed values, draws, and their agreement with the header's slots."""

import random
from dataclasses import replace

import pytest

from generator.corpus.attributes import (
    DENSITIES,
    DRUMS,
    FRAMES_PER_BEAT,
    FRAMES_PER_BEAT_OF_TEMPO,
    LEADS,
    MODES,
    ROOTS,
    STYLE_NAMES,
    TEMPOS,
    TONES,
    Attributes,
    draw_attributes,
    draw_duration_s,
)
from generator.errors import RequestError
from generator.text.header import SLOTS, decode_header, encode_header

EXAMPLE = Attributes("waltz", "fast", "minor", "piano", "bright", "dense", "none", 12, 60, False)


def drawn(n: int) -> list[Attributes]:
    rng = random.Random(0)
    return [draw_attributes(rng) for _ in range(n)]


def test_the_corpus_knows_the_values_of_the_header() -> None:
    values = {
        "style": STYLE_NAMES,
        "tempo": TEMPOS,
        "mode": MODES,
        "lead": LEADS,
        "tone": TONES,
        "density": DENSITIES,
        "drums": DRUMS,
        "frames_per_beat": FRAMES_PER_BEAT,
        "root": ROOTS,
    }
    for slot, known in values.items():
        assert set(SLOTS[slot]) == set(known), slot


def test_attributes_survive_the_header_and_json() -> None:
    for attributes in drawn(50):
        assert decode_header(encode_header(attributes.to_json())) == attributes.to_json()
        assert Attributes.from_json(attributes.to_json()) == attributes


def test_every_value_of_every_slot_is_drawn() -> None:
    attributes = [a.to_json() for a in drawn(2000)]
    for slot, values in SLOTS.items():
        assert {a[slot] for a in attributes} == set(values), slot


def test_the_lead_is_not_foretold_by_the_style() -> None:
    marches = [a.lead for a in drawn(4000) if a.style == "march"]
    assert set(marches) == set(LEADS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"style": "polka"}, "style must be one of .*'waltz'.* got 'polka'"),
        ({"frames_per_beat": 24}, r"fast clip must be one of \[12, 10\], got 24"),
        ({"root": 61}, "root"),
    ],
)
def test_values_outside_the_allowed_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        replace(EXAMPLE, **changes)  # type: ignore[arg-type]


def test_durations_are_fifths_of_seconds_from_four_to_fourteen_and_often_five() -> None:
    rng = random.Random(1)
    durations = [draw_duration_s(a, rng) for a in drawn(1000)]
    assert min(durations) >= 4.0 and max(durations) <= 14.0
    assert all(round(5 * d, 9).is_integer() for d in durations)
    assert sum(d == 5.0 for d in durations) > 200


def test_beats_per_minute_follow_from_the_frames() -> None:
    assert EXAMPLE.beats_per_minute == 125
    for tempo, frames in FRAMES_PER_BEAT_OF_TEMPO.items():
        assert all(f in FRAMES_PER_BEAT for f in frames), tempo
