"""Settings: what is refused, and with which words."""

import json

import pytest

from alignment.config import DpoConfig, Precision
from alignment.dpo import Lengths, loss_arguments
from alignment.errors import ConfigError, RunFolderError

UNIFORM = Lengths.of([125, 125], n_codebooks=2)


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


def test_the_usual_loss_averages_log_ratios_over_codes() -> None:
    config = DpoConfig(beta_norm=12.0, sft_weight=0.3)
    assert loss_arguments(config, UNIFORM) == {
        "loss_type": ["sigmoid_norm", "sft"],
        "loss_weights": [1.0, 0.3],
        "beta": 12.0,
    }


def test_label_smoothing_is_robust_dpo_with_the_same_slope_per_code() -> None:
    config = DpoConfig(beta_norm=10.0, label_smoothing=0.2)
    arguments = loss_arguments(config, UNIFORM)
    assert arguments["loss_type"] == ["robust", "sft"]
    assert arguments["beta"] == pytest.approx(10.0 / 250)
    assert arguments["label_smoothing"] == 0.2


def test_label_smoothing_with_clips_of_several_lengths_is_refused() -> None:
    with pytest.raises(RunFolderError, match="needs clips of one length"):
        loss_arguments(DpoConfig(label_smoothing=0.2), Lengths.of([125, 250], n_codebooks=2))
