"""The planner reads what a prompt mentions, leaves the rest open, and reports strange words."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.command import STARTER
from generator.errors import CheckpointError
from generator.files import read_json, write_json
from generator.text.header import EMPTY_HEADER
from generator.text.planner import Planner, load_planner, save_planner
from generator.text.training import (
    Example,
    held_out_examples,
    score_planner,
    train_planner,
)


@pytest.fixture(scope="module")
def planner() -> Planner:
    return load_planner(STARTER)


def test_training_learns_to_read_captions_and_leaves_the_rest_open() -> None:
    score = score_planner(train_planner(n_examples=6000), held_out_examples(300))
    assert score.n_captions == 300
    assert score.mentioned >= 0.85
    assert score.left_open >= 0.95


def test_held_out_captions_are_read_and_the_rest_left_open(planner: Planner) -> None:
    score = score_planner(planner, held_out_examples(300))
    assert score.mentioned >= 0.97
    assert score.left_open >= 0.99
    assert min(score.mentioned_per_slot.values()) >= 0.9


def test_a_prompt_is_planned_slot_by_slot(planner: Planner) -> None:
    plan = planner.plan("a slow sad waltz on piano without drums")
    assert plan.slots == {
        "tempo": "slow",
        "mode": "minor",
        "style": "waltz",
        "lead": "piano",
        "drums": "none",
    }
    assert plan.unknown_words == ()


def test_beats_per_minute_are_read_as_a_number(planner: Planner) -> None:
    assert planner.plan("piano, 150 bpm").slots["frames_per_beat"] == 10
    assert planner.plan("piano, 62 bpm").slots["tempo"] == "slow"
    assert "frames_per_beat" not in planner.plan("slow piano").slots
    assert planner.plan("fast piano, 62 bpm").slots["tempo"] == "slow"


def test_a_key_tells_root_and_mode(planner: Planner) -> None:
    assert planner.plan("piano in D minor").slots == {"lead": "piano", "mode": "minor", "root": 62}
    assert "root" not in planner.plan("piano in F# minor").slots  # the corpus has no such key


@pytest.mark.parametrize(
    ("prompt", "slots"),
    [
        ("no drums", {"drums": "none"}),
        ("nothing sad", {"mode": "major"}),
        ("not too fast", {"tempo": "medium"}),
        ("no piano", {}),
        ("not a waltz", {}),
        ("without swing", {"swing": False}),
        ("slower than a waltz", {"tempo": "slow", "style": "waltz"}),
    ],
)
def test_what_is_denied_or_compared_to_is_not_asked_for(
    planner: Planner, prompt: str, slots: dict[str, object]
) -> None:
    assert planner.plan(prompt).slots == slots


def test_unknown_words_are_reported_once_each(planner: Planner) -> None:
    plan = planner.plan("Zyqqo piano zyqqo for my quolph in a room 🎵 夜")
    assert plan.unknown_words == ("zyqqo", "quolph", "room", "🎵", "夜")
    assert plan.slots["lead"] == "piano"


@pytest.mark.parametrize("prompt", ["🎵🎵🎵", "夜の音楽", "...", "a", "7", "\u200b"])
def test_a_prompt_without_known_words_leaves_everything_open(planner: Planner, prompt: str) -> None:
    assert planner.plan(prompt).header == EMPTY_HEADER


@pytest.mark.parametrize(
    ("word", "slot", "value"),
    [
        ("pianno", "lead", "piano"),
        ("trumpett", "lead", "trumpet"),
        ("melancolic", "mode", "minor"),
        ("cheerfull", "mode", "major"),
        ("energettic", "tempo", "fast"),
        ("lulaby", "style", "lullaby"),
        ("slwo", "tempo", "slow"),
    ],
)
def test_misspelt_words_are_understood_and_not_reported(
    planner: Planner, word: str, slot: str, value: str
) -> None:
    plan = planner.plan(f"a {word} song")
    assert plan.slots == {slot: value}
    assert plan.unknown_words == ()


@pytest.mark.parametrize("word", ["past", "farm", "bass", "cellar"])
def test_a_word_that_resembles_a_known_one_is_reported(planner: Planner, word: str) -> None:
    plan = planner.plan(word)
    assert plan.slots == {}
    assert plan.unknown_words == (word,)


def test_training_twice_gives_the_same_planner() -> None:
    prompt = "calm flute"
    first = train_planner(n_examples=200, n_epochs=1)
    second = train_planner(n_examples=200, n_epochs=1)
    assert first.config == second.config
    assert first.plan(prompt) == second.plan(prompt)
    assert all((a == b).all() for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_saved_planner_plans_the_same(planner: Planner, tmp_path: Path) -> None:
    save_planner(planner, tmp_path)
    loaded = load_planner(tmp_path)
    for example in held_out_examples(20):
        assert loaded.plan(example.prompt) == planner.plan(example.prompt)


def test_a_planner_of_other_headers_is_refused(planner: Planner, tmp_path: Path) -> None:
    save_planner(planner, tmp_path)
    write_json(tmp_path / "planner.json", read_json(tmp_path / "planner.json") | {"header_size": 3})
    with pytest.raises(CheckpointError, match="headers of 3 ids, this program has 51"):
        load_planner(tmp_path)


def test_scores_count_mentioned_and_open_slots(planner: Planner) -> None:
    # "piano" is mentioned and read; "fast" is said to be mentioned, and is not in the prompt.
    score = score_planner(planner, [Example("piano", {"lead": "piano", "tempo": "fast"})])
    assert score.mentioned == 0.5
    assert score.mentioned_per_slot == {"lead": 1.0, "tempo": 0.0}
    assert score.left_open == 1.0
