"""The knobs of a round, and that they are the trainer's."""

import re
from typing import Any

import pytest

from alignment.errors import ConfigError as TrainerConfigError
from alignment.methods import METHODS
from alignment.rl.config import GrpoConfig
from attune.rounds.choices import RoundMethod
from attune.rounds.config import (
    LOSSES,
    SETTINGS,
    Flag,
    Knob,
    WordList,
    Words,
    check_config,
    outcomes_of,
    parse_config,
)
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
        (["rate=1"], "unknown setting 'rate' of dpo; known are loss"),
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


def test_some_of_a_few_words_are_kept_in_their_own_order() -> None:
    found = parse_config(["lora_targets=fc1, q_proj"])
    assert found == {"lora_targets": ["q_proj", "fc1"]}
    assert check_config({"features": ["encoder"]}, RoundMethod.REWARD) == {"features": ["encoder"]}
    wrong: list[object] = [[], ["head"], "q_proj,head", [["fc1"]], 3]
    for value in wrong:
        with pytest.raises(ConfigError, match="lora_targets must be some of q_proj, k_proj"):
            check_config({"lora_targets": value})


def test_a_truth_value_is_not_a_number() -> None:
    with pytest.raises(ConfigError, match="n_epochs must be a number, got True"):
        check_config({"n_epochs": True})


@pytest.mark.parametrize("method", [m for m in RoundMethod if m is not RoundMethod.MIX])
def test_every_setting_is_the_trainers_with_the_same_bounds_and_default(
    method: RoundMethod,
) -> None:
    trainer = METHODS[method].config_class
    bounds, choices, defaults = trainer.bounds(), trainer.choices(), trainer().to_mapping()
    known = SETTINGS[method]
    assert set(known) == set(defaults) - {"encoder"}
    for name, setting in known.items():
        match setting:
            case Knob():
                theirs = bounds[name]
                mine = (setting.kind, setting.low, setting.high)
                assert mine == (theirs.kind, theirs.low, theirs.high), name
            case Words():
                assert setting.allowed == choices[name], name
            case Flag():
                assert isinstance(defaults[name], bool), name
            case WordList():
                trainer.from_mapping({name: list(setting.allowed)})
                with pytest.raises(TrainerConfigError, match=re.escape(str(list(setting.allowed)))):
                    trainer.from_mapping({name: ["another"]})
        assert setting.default == defaults[name], name


@pytest.mark.parametrize("method", [m for m in RoundMethod if m is not RoundMethod.MIX])
def test_a_round_learns_from_the_outcomes_that_its_trainer_reads(method: RoundMethod) -> None:
    trainer = METHODS[method].config_class
    configs: list[dict[str, Any]] = [{}]
    if method is RoundMethod.DPO:
        configs += [{"loss": loss} for loss in LOSSES if loss != "robust"]
    for config in configs:
        theirs = {outcome.value for outcome in trainer.from_mapping(config).outcomes}
        assert {outcome.value for outcome in outcomes_of(method, config)} == theirs


@pytest.mark.parametrize(
    ("method", "config", "message"),
    [
        ("dpo", {"loss": "robust"}, "robust needs label_smoothing"),
        ("dpo", {"loss": "ipo", "label_smoothing": 0.1}, "label_smoothing is for"),
        ("dpo", {"loss": "hinge"}, "loss must be one of sigmoid_norm, .*, got 'hinge'"),
        ("kto", {"gradient_checkpointing": 1}, "gradient_checkpointing must be true or false"),
        ("kto", {"batch_pairs": 4}, "unknown setting 'batch_pairs' of kto"),
    ],
)
def test_what_a_method_cannot_do_is_refused_before_the_trainer_would(
    method: str, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_config(config, RoundMethod(method))


def test_the_advice_to_a_rewarded_round_without_memory_can_be_taken() -> None:
    """Half the prompts at once and twice the accumulation, down to a single prompt."""
    config = {"batch_prompts": 8, "accumulation_steps": 1}
    while config["batch_prompts"] > 1:
        config["batch_prompts"] //= 2
        config["accumulation_steps"] *= 2
        assert check_config({**config, "group_size": 3}, RoundMethod.GRPO)["group_size"] == 3
        assert GrpoConfig(**config).step_prompts == 8
