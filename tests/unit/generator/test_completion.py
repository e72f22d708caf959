"""What a prompt leaves open of beat, key and swing is planned, and the rest stays open."""

import random
from collections import Counter

import pytest

from generator.corpus.attributes import FRAMES_PER_BEAT, FRAMES_PER_BEAT_OF_TEMPO, ROOTS
from generator.text.completion import PLANNED, complete_header, plan_rng
from generator.text.header import EMPTY_HEADER, SlotValue, decode_header, encode_header


def completed(told: dict[str, SlotValue], seed: int = 0) -> dict[str, SlotValue]:
    return decode_header(complete_header(encode_header(told), plan_rng(seed)))


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"lead": "organ", "tone": "bright"},
        {"style": "dance", "tempo": "slow"},
        {"style": "lullaby", "frames_per_beat": 10},
        {"swing": True, "style": "march"},
        {"tempo": "fast", "root": 62, "frames_per_beat": 12, "swing": False},
    ],
)
def test_what_is_told_is_kept_and_only_the_plan_is_added(told: dict[str, SlotValue]) -> None:
    for seed in range(0, 20, 2):
        filled = completed(told, seed)
        assert {name: filled[name] for name in told} == told
        assert set(filled) == set(told) | set(PLANNED)
        assert filled["frames_per_beat"] in FRAMES_PER_BEAT_OF_TEMPO[str(filled["tempo"])]


def test_a_pair_of_seeds_shares_a_plan_and_pairs_differ() -> None:
    assert completed({}, 6) == completed({}, 7)
    plans = [tuple(completed({}, seed).items()) for seed in range(0, 80, 2)]
    assert len(set(plans)) > 10


def test_beats_and_keys_are_drawn_from_all_there_are() -> None:
    drawn = [completed({}, seed) for seed in range(0, 400, 2)]
    assert {plan["frames_per_beat"] for plan in drawn} == set(FRAMES_PER_BEAT)
    assert {plan["root"] for plan in drawn} == set(ROOTS)


def test_a_style_brings_its_own_beat_and_swing() -> None:
    swung = Counter(completed({"style": "lo-fi"}, seed)["swing"] for seed in range(0, 60, 2))
    tempos = Counter(completed({"style": "lullaby"}, seed)["tempo"] for seed in range(0, 60, 2))
    assert swung == {True: 30}
    assert tempos["slow"] > 15


def test_a_tempo_against_a_beat_gives_way_to_the_beat() -> None:
    header = encode_header({"tempo": "slow", "frames_per_beat": 10})
    filled = decode_header(complete_header(header, random.Random(0)))
    assert (filled["tempo"], filled["frames_per_beat"]) == ("fast", 10)


def test_an_empty_header_gets_a_plan_alone() -> None:
    assert set(decode_header(complete_header(EMPTY_HEADER, random.Random(1)))) == set(PLANNED)
