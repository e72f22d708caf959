"""Headers and words: ids that cannot be confused, prompts split without loss."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from generator.corpus.attributes import Attributes
from generator.errors import RequestError
from generator.text.beats import find_bpm, find_pitch_class, frames_of_bpm, without_figures
from generator.text.header import (
    EMPTY_HEADER,
    HEADER_VOCABULARY,
    N_SLOTS,
    SLOTS,
    decode_header,
    encode_header,
)
from generator.text.lexicon import entries, entry_phrases, known_phrases, words_of
from generator.text.reading import Mark, read_tokens
from generator.text.spelling import Speller, find_lookalikes, load_lookalikes, slips
from generator.text.vocabulary import STOP_WORDS, phrases, split_words

ATTRIBUTES = Attributes(
    style="waltz",
    tempo="medium",
    mode="minor",
    lead="flute",
    tone="bright",
    density="dense",
    drums="soft",
    frames_per_beat=16,
    root=60,
    swing=False,
)


def test_a_header_has_one_slot_for_every_attribute_of_the_corpus() -> None:
    assert list(SLOTS) == list(asdict(ATTRIBUTES))
    assert N_SLOTS == 10


def test_encoding_and_decoding_lose_nothing() -> None:
    assert decode_header(encode_header(asdict(ATTRIBUTES))) == asdict(ATTRIBUTES)
    assert decode_header(encode_header({"swing": False, "root": None})) == {"swing": False}


def test_every_id_belongs_to_one_slot_and_value() -> None:
    seen: set[int] = set()
    for slot, (name, values) in enumerate(HEADER_VOCABULARY.slots):
        ids = {encode_header({name: value})[slot] for value in values} | {EMPTY_HEADER[slot]}
        assert len(ids) == len(values) + 1
        assert not seen & ids
        seen |= ids
    assert seen == set(range(HEADER_VOCABULARY.size))


def test_an_empty_mapping_leaves_every_slot_open() -> None:
    assert tuple(encode_header({})) == EMPTY_HEADER
    assert decode_header(EMPTY_HEADER) == {}


def test_wrong_slots_values_and_ids_are_named() -> None:
    with pytest.raises(RequestError, match=r"unknown slots \['colour'\]"):
        encode_header({"colour": "red"})
    with pytest.raises(RequestError, match=r"mode is one of .*got 'dorian'"):
        encode_header({"mode": "dorian"})
    with pytest.raises(RequestError, match="expected 10 header ids, got 3"):
        decode_header([0, 1, 2])
    with pytest.raises(RequestError, match="style has ids 0 to 8, got 9"):
        decode_header([9, *EMPTY_HEADER[1:]])


def test_words_are_lower_case_without_accents_or_punctuation() -> None:
    assert split_words("A Café-Waltz, très doux!") == ["a", "cafe", "waltz", "tres", "doux"]
    assert split_words("lo-fi, 90 bpm; 3/4") == ["lo", "fi", "90", "bpm", "3", "4"]


def test_symbols_and_foreign_scripts_stay_words() -> None:
    assert split_words("🎵 música 夜") == ["🎵", "musica", "夜"]
    assert split_words("❤\ufe0f  ...  \u200b") == ["❤"]


def test_pairs_of_neighbours_skip_function_words() -> None:
    assert phrases(["four", "on", "the", "floor"]) == [
        *("four", "on", "the", "floor"),
        "four floor",
    ]


@pytest.mark.parametrize(
    ("prompt", "bpm"),
    [
        ("piano at 90 bpm", 90),
        ("120BPM dance", 120),
        ("100 beats per minute", 100),
        ("72.5 bpm", 72),
        ("bpm: 95, guitar", 95),
        ("BPM=130", 130),
        ("80 b.p.m.", 80),
        ("a tempo of 66", 66),
        ("♩ = 84", 84),
        ("quarter note = 60", 60),
        ("between 100 and 110 bpm", 105),
        ("85-90 bpm", 87),
        ("ninety bpm", 90),
        ("one hundred and twenty-five beats a minute", 125),
        ("a hundred bpm", 100),
        ("90 pianos", None),
        ("five violins, two beats", None),
        ("in 1987", None),
        ("at 999 bpm", None),
        ("bpm", None),
    ],
)
def test_beats_per_minute_are_found(prompt: str, bpm: int | None) -> None:
    assert find_bpm(prompt) == bpm


def test_figures_are_taken_out_of_the_words() -> None:
    assert split_words(without_figures("techno at 140 bpm, 3 pianos")) == [
        *("techno", "at", "3", "pianos")
    ]


def test_the_nearest_beat_in_ratio_is_chosen() -> None:
    # 1500 frames a minute: 60 bpm wants 25 frames, 26 is nearer in ratio than 22.
    assert [frames_of_bpm(bpm) for bpm in (1, 60, 94, 150, 999)] == [26, 26, 16, 10, 10]


@pytest.mark.parametrize(
    ("prompt", "pitch_class"),
    [
        ("in D minor", 2),
        ("C major, simple", 0),
        ("waltz in A minor", 9),
        ("in a minor", 9),
        ("key of F# minor", 6),
        ("B flat major", 10),
        ("in a major key", None),
        ("a minor sadness", None),
        ("A minor tune", None),
        ("major", None),
    ],
)
def test_keys_are_told_from_articles(prompt: str, pitch_class: int | None) -> None:
    assert find_pitch_class(prompt) == pitch_class


def marked(prompt: str) -> list[str]:
    return [
        f"{token.mark}{token.written}"
        for token in read_tokens(prompt)
        if token.written not in STOP_WORDS
    ]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("no drums, piano", ["-drums", "piano"]),
        ("no drums or cymbals but piano", ["-drums", "-cymbals", "piano"]),
        ("not too fast, not too slow", ["-fast", "-slow"]),
        ("drum-free and happy", ["-drum", "happy"]),
        ("it isn't sad", ["-sad"]),
        ("don’t make it gloomy", ["-gloomy"]),
        ("anything but happy", ["-happy"]),
        ("nothing but strings", ["only", "strings"]),
        ("not only sad but fast", ["sad", "but", "fast"]),
        ("hardly any drums with a flute", ["-drums", "flute"]),
        ("piano instead of organ", ["piano", "-organ"]),
        ("faster than a waltz, happy", ["faster", "~waltz", "happy"]),
        ("no tin can box lid drums", ["-tin", "-box", "-lid", "-drums"]),
        ("never red green blue grey drums", ["-red", "-green", "-blue", "-grey", "drums"]),
    ],
)
def test_what_is_denied_or_compared_to_is_marked(prompt: str, words: list[str]) -> None:
    found = marked(prompt)
    assert [word for word in found if word not in ("only", "but")] == [
        word for word in words if word not in ("only", "but")
    ]


def test_slips_count_lost_added_replaced_and_swapped_letters() -> None:
    assert [slips("slow", other, 2) for other in ("slow", "slwo", "sloww", "slo", "flow")] == [
        *(0, 1, 1, 1, 1)
    ]
    assert slips("slow", "piano", 2) == 3


def test_misspelt_words_and_other_forms_find_the_known_one() -> None:
    speller = Speller({"slow", "piano", "happy", "melancholic", "waltz", "fast"}, {"flow", "past"})
    found = {
        "slwo": "slow",
        "pianno": "piano",
        "happily": "happy",
        "happiest": "happy",
        "pianist": "piano",
        "waltzes": "waltz",
        "slower": "slow",
        "melancolick": "melancholic",
        "past": None,  # a word of its own
        "cat": None,
        "夜": None,
    }
    assert {word: speller.known_word(word) for word in found} == found


def test_lookalikes_are_the_words_that_would_be_mended_wrongly() -> None:
    assert find_lookalikes(["slot", "slows", "cat", "Slop", "slow"], {"slow"}) == ["slot"]
    assert "slot" in load_lookalikes()
    assert not any(word.startswith("#") for word in load_lookalikes())


def test_every_entry_is_known_by_a_phrase() -> None:
    known = set(known_phrases())
    for entry in entries():
        found = entry_phrases(entry.text)
        assert entry.denied or found, entry
        assert all(f"{mark}{phrase}" in known for phrase in found for mark in Mark)


def test_words_that_say_nothing_alone_are_no_phrases() -> None:
    known = set(known_phrases())
    assert not known & STOP_WORDS
    assert "-notes" in known
    assert {"music box", "four floor", "lofi", "lo fi"} <= known
    assert {"box", "four", "floor"} <= words_of(sorted(known))
