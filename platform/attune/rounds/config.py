"""The knobs of a round's training, checked before anything is frozen.

The names are those of `alignment.config.DpoConfig`, which reads the same mapping; a test
holds the two equal. A knob that is not given keeps the trainer's default.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from attune.rounds.errors import ConfigError


@dataclass(frozen=True)
class Knob:
    """A number that may be set, with its type and inclusive bounds."""

    kind: type[int] | type[float]
    low: float
    high: float


KNOBS: Mapping[str, Knob] = {
    "learning_rate": Knob(float, 1e-8, 0.1),
    "n_epochs": Knob(int, 1, 20),
    "batch_pairs": Knob(int, 1, 512),
    "beta_norm": Knob(float, 1e-3, 1e4),
    "sft_weight": Knob(float, 0.0, 10.0),
    "label_smoothing": Knob(float, 0.0, 0.49),
    "warmup_share": Knob(float, 0.0, 0.9),
    "lora_rank": Knob(int, 1, 256),
    "lora_alpha": Knob(int, 1, 1024),
    "seed": Knob(int, 0, 2**32 - 1),
}


def check_config(config: Mapping[str, object]) -> dict[str, int | float]:
    """The config with each value as its knob's type; ConfigError names what is wrong."""
    return {name: _check_value(name, value) for name, value in sorted(config.items())}


def parse_config(settings: Iterable[str]) -> dict[str, int | float]:
    """The config written as `key=value` words."""
    config: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name or not text:
            raise ConfigError(f"expected key=value, got {setting!r}")
        if name in config:
            raise ConfigError(f"{name} is set twice: {config[name]} and {text}")
        config[name] = _parse_number(name, text)
    return check_config(config)


def _parse_number(name: str, text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as exc:
        raise ConfigError(f"{name}={text!r} is not a number") from exc


def _check_value(name: str, value: object) -> int | float:
    knob = KNOBS.get(name)
    if knob is None:
        raise ConfigError(f"unknown setting {name!r}; known are {', '.join(KNOBS)}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name} must be a number, got {value!r}")
    if not knob.low <= value <= knob.high:
        raise ConfigError(f"{name} must be between {knob.low:g} and {knob.high:g}, got {value!r}")
    if knob.kind is int and value != int(value):
        raise ConfigError(f"{name} must be a whole number, got {value!r}")
    return knob.kind(value)
