"""The knobs of a round, and that they are the trainer's."""

import math
from dataclasses import fields

import pytest

from alignment.config import DpoConfig
from attune.rounds.config import KNOBS, check_config, parse_config
from attune.rounds.errors import ConfigError


def test_words_become_typed_values() -> None:
    assert parse_config(["learning_rate=1e-4", "n_epochs=3", "beta_norm=5"]) == {
        "learning_rate": 1e-4,
        "n_epochs": 3,
        "beta_norm": 5.0,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learning_rate"], "expected key=value, got 'learning_rate'"),
        (["learning_rate="], "expected key=value"),
        (["rate=1"], "unknown setting 'rate'; known are learning_rate"),
        (["n_epochs=2.5"], "n_epochs must be a whole number, got 2.5"),
        (["n_epochs=0"], "n_epochs must be between 1 and 20, got 0"),
        (["learning_rate=fast"], "learning_rate='fast' is not a number"),
        (["learning_rate=nan"], "learning_rate must be between"),
        (["seed=inf"], "seed must be between"),
        (["seed=1", "seed=2"], "seed is set twice: 1 and 2"),
    ],
)
def test_a_wrong_word_is_refused_with_what_was_given(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(words)


def test_a_truth_value_is_not_a_number() -> None:
    with pytest.raises(ConfigError, match="n_epochs must be a number, got True"):
        check_config({"n_epochs": True})


@pytest.mark.parametrize("name", KNOBS)
def test_every_knob_is_the_trainers_with_the_same_type_and_bounds(name: str) -> None:
    knob = KNOBS[name]
    assert {field.name: field.type for field in fields(DpoConfig)}[name] == knob.kind.__name__
    for bound in (knob.low, knob.high):
        assert getattr(DpoConfig.from_mapping({name: knob.kind(bound)}), name) == bound
    for beyond in (knob.low - 1, knob.high + 1):
        with pytest.raises(ValueError, match=name):
            DpoConfig.from_mapping({name: knob.kind(beyond)})
    if knob.kind is float:
        with pytest.raises(ValueError, match=name):
            DpoConfig.from_mapping({name: math.nextafter(knob.high, math.inf)})
