"""Headers and words: ids that cannot be confused, prompts split without loss."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from generator.corpus.attributes import Attributes
from generator.errors import RequestError
from generator.text.beats import find_bpm
from generator.text.header import (
    EMPTY_HEADER,
    HEADER_VOCABULARY,
    N_SLOTS,
    SLOTS,
    decode_header,
    encode_header,
)
from generator.text.vocabulary import gram_buckets, phrases, split_words

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
    assert split_words("A Café-Waltz, très doux!") == ["a", "cafe-waltz", "tres", "doux"]
    assert split_words("lo-fi, 90 bpm; 3/4") == ["lo-fi", "90", "bpm", "3", "4"]


def test_symbols_and_foreign_scripts_stay_words() -> None:
    assert split_words("🎵 música 夜") == ["🎵", "musica", "夜"]
    assert split_words("  ...  ") == []


def test_pairs_of_neighbours_follow_the_words() -> None:
    assert phrases(["no", "drums", "please"]) == [
        "no",
        "drums",
        "please",
        "no drums",
        "drums please",
    ]


@pytest.mark.parametrize(
    ("prompt", "bpm"),
    [
        ("piano at 90 bpm", 90),
        ("120BPM dance", 120),
        ("100 beats per minute", 100),
        ("72.5 bpm", 72),
        ("90 pianos", None),
        ("bpm", None),
    ],
)
def test_beats_per_minute_are_found(prompt: str, bpm: int | None) -> None:
    assert find_bpm(prompt) == bpm


def test_a_misspelt_word_shares_most_of_its_letter_groups() -> None:
    right, wrong = set(gram_buckets("melancholic", 4096)), set(gram_buckets("melancolic", 4096))
    assert len(right & wrong) > len(right) / 2
    assert gram_buckets("夜の音楽", 4096) == []
