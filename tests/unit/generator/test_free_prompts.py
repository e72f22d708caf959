"""Prompts written by hand: the set is sound, the counting is right, the starter reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from generator.errors import RequestError
from generator.shares import Share
from generator.text.free_prompts import (
    FREE_PROMPTS_FILE,
    FreePrompt,
    Half,
    load_free_prompts,
    read_free_prompt,
    score_free_prompts,
)
from generator.text.header import SLOTS, encode_header
from generator.text.planner import Plan, load_planner

STARTER = FREE_PROMPTS_FILE.parents[1] / "starter"


def planned(**slots: str) -> Plan:
    return Plan(tuple(encode_header(slots)), ())


def test_the_set_is_large_and_its_halves_are_equal_and_disjoint() -> None:
    halves = load_free_prompts()
    texts = [{prompt.text for prompt in halves[half]} for half in Half]
    assert [len(half) for half in texts] == [66, 66]
    assert not texts[0] & texts[1]
    assert all(sum(len(p.says) for p in halves[half]) >= 100 for half in Half)


def test_the_half_follows_from_the_row_number_alone(tmp_path: Path) -> None:
    rows = [{"text": str(number), "says": {}} for number in range(5)]
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(rows))
    halves = load_free_prompts(path)
    assert [p.text for p in halves[Half.DEVELOPMENT]] == ["0", "2", "4"]
    assert [p.text for p in halves[Half.MEASURING]] == ["1", "3"]


def test_mentions_open_slots_and_arguable_ones_are_counted_apart() -> None:
    prompts = [
        FreePrompt("one", {"tempo": ("slow", "medium"), "mode": ("minor",)}, frozenset({"tone"})),
        FreePrompt("two", {}, frozenset()),
    ]
    plans = {
        "one": planned(tempo="medium", mode="major", tone="bright"),  # one right, one wrong
        "two": planned(lead="piano"),  # one of ten open slots wrongly set
    }
    score = score_free_prompts(plans.__getitem__, prompts)
    assert (score.mentions.right, score.mentions.n) == (1, 2)
    # "one" leaves all but the two mentioned and the arguable one open.
    assert (score.wrongly_set.right, score.wrongly_set.n) == (1, len(SLOTS) - 3 + len(SLOTS))
    assert score.mistakes == (
        "one: mode is minor, read major",
        "two: lead is open, read piano",
    )


def test_beats_per_minute_count_once() -> None:
    prompt = read_free_prompt({"text": "150 bpm", "says": {"bpm": [150]}})
    assert prompt.says == {"frames_per_beat": (10,)}
    assert prompt.arguable == {"tempo"}


@pytest.mark.parametrize("says", [{"colour": ["red"]}, {"mode": ["dorian"]}, {"mode": []}])
def test_a_label_outside_the_slots_is_refused(says: dict[str, list[str]]) -> None:
    with pytest.raises(RequestError, match="which is no slot"):
        read_free_prompt({"text": "x", "says": says})


@pytest.mark.parametrize("half", list(Half))
def test_the_starter_reads_free_prompts(half: Half) -> None:
    score = score_free_prompts(load_planner(STARTER).plan, load_free_prompts()[half])
    assert score.mentions.share >= 0.85
    assert score.wrongly_set.share < 0.05


def test_wilsons_interval_is_that_of_the_textbook() -> None:
    low, high = Share(8, 10).interval
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert Share(0, 0).interval == (0.0, 1.0)
    with pytest.raises(ValueError, match="got 3 of 2"):
        Share(3, 2)
