"""Settings: what is refused, and with which words."""

import json

import pytest

from alignment.config import DpoConfig, ExpertConfig, KtoConfig, PairLoss, Precision
from alignment.errors import ConfigError
from alignment.outcomes import Outcome


def test_a_config_survives_json() -> None:
    config = DpoConfig(learning_rate=3e-4, n_epochs=3, precision=Precision.BFLOAT16)
    assert DpoConfig.from_mapping(json.loads(json.dumps(config.to_mapping()))) == config


def test_unknown_settings_are_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown settings \['beta'\]; allowed are .*beta_norm"):
        DpoConfig.from_mapping({"beta": 0.1})


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ({"learning_rate": 0.0}, r"learning_rate is 1e-08 to 0\.1, got 0\.0"),
        ({"learning_rate": float("nan")}, "learning_rate is .*, got nan"),
        ({"learning_rate": "fast"}, "learning_rate is a number, got 'fast'"),
        ({"n_epochs": 0}, "n_epochs is 1 to 20, got 0"),
        ({"n_epochs": 1.5}, r"n_epochs is a whole number, got 1\.5"),
        ({"batch_pairs": True}, "batch_pairs is a whole number, got True"),
        ({"label_smoothing": 0.5}, r"label_smoothing is 0 to 0\.49, got 0\.5"),
        ({"lora_targets": ["lm_heads"]}, r"lora_targets are some of .*, got \['lm_heads'\]"),
        ({"lora_targets": "q_proj"}, "lora_targets is a list, got 'q_proj'"),
        ({"lora_targets": []}, r"lora_targets are some of .*, got \[\]"),
        ({"precision": "int8"}, "precision is one of .*, got 'int8'"),
    ],
)
def test_values_outside_their_bounds_are_refused(stored: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        DpoConfig.from_mapping(stored)


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ({"loss": "hinge"}, "loss is one of .*'rao_kupper'.*, got 'hinge'"),
        ({"tie_share": 1.0}, r"tie_share is 0\.01 to 0\.99, got 1\.0"),
        ({"soft_labels": 1}, "soft_labels is true or false, got 1"),
        ({"accumulation_steps": 0}, "accumulation_steps is 1 to 1024, got 0"),
        ({"loss": "robust"}, r"robust needs label_smoothing, .*, got 0\.0"),
        ({"loss": "ipo", "label_smoothing": 0.1}, r"is for \[.*\], got 0\.1 with ipo"),
    ],
)
def test_losses_are_told_only_what_they_read(stored: dict, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        DpoConfig.from_mapping(stored)


@pytest.mark.parametrize("config", [DpoConfig(), KtoConfig(), ExpertConfig()])
def test_numbers_and_choices_tell_what_they_allow(config: DpoConfig) -> None:
    kind = type(config)
    for name, bounds in kind.bounds().items():
        assert bounds.low <= getattr(config, name) <= bounds.high
        with pytest.raises(ConfigError, match=f"{name} is .*, got"):
            kind.from_mapping({name: bounds.high + 1})
    assert kind.choices()["precision"] == ("auto", "float32", "bfloat16")
    assert kind.from_mapping(config.to_mapping()) == config


def test_only_tie_aware_losses_ask_for_ties_and_only_kto_for_both_bad_pairs() -> None:
    asking = {loss for loss in PairLoss if Outcome.TIE in tie_config(loss).outcomes}
    assert asking == {PairLoss.RAO_KUPPER, PairLoss.DAVIDSON}
    assert KtoConfig().outcomes == {Outcome.CHOSEN, Outcome.BOTH_BAD}


def tie_config(loss: PairLoss) -> DpoConfig:
    """Returns the settings of a loss with what it needs."""
    return DpoConfig(loss=loss, label_smoothing=0.1 if loss is PairLoss.ROBUST else 0.0)
