"""The settings of a round's training by its method, checked before anything is frozen.

The names are those of the configs in `alignment`, which read the same mapping; a test holds
the two equal. A setting that is not given keeps the trainer's default.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from attune.rounds.choices import REWARDED_METHODS, Outcome, RoundMethod
from attune.rounds.errors import ConfigError

Value = int | float | bool | str | list[str]


@dataclass(frozen=True)
class Knob:
    """A number that may be set, with its type, inclusive bounds and the trainer's default."""

    kind: type[int] | type[float]
    low: float
    high: float
    default: float


@dataclass(frozen=True)
class Words:
    """A setting that is one of a few words."""

    allowed: tuple[str, ...]
    default: str


@dataclass(frozen=True)
class Flag:
    """A setting that is true or false."""

    default: bool


@dataclass(frozen=True)
class WordList:
    """A setting that is some of a few words, at least one; by default all of them."""

    allowed: tuple[str, ...]

    @property
    def default(self) -> list[str]:
        """All words."""
        return list(self.allowed)


Setting = Knob | Words | Flag | WordList

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
FEATURES = ("codec", "encoder")

ADAPTER_SETTINGS: Mapping[str, Setting] = {
    "learning_rate": Knob(float, 1e-8, 0.1, 1e-3),
    "warmup_share": Knob(float, 0.0, 0.9, 0.1),
    "accumulation_steps": Knob(int, 1, 1024, 1),
    "gradient_checkpointing": Flag(False),
    "lora_rank": Knob(int, 1, 256, 16),
    "lora_alpha": Knob(int, 1, 1024, 32),
    "lora_targets": WordList(LORA_TARGETS),
    "precision": Words(("auto", "float32", "bfloat16"), "auto"),
    "seed": Knob(int, 0, 2**32 - 1, 0),
    "save_steps": Knob(int, 1, 10**6, 10),
    "logging_steps": Knob(int, 1, 10**6, 1),
    "sample_steps": Knob(int, 0, 10**6, 30),
    "sample_clips": Knob(int, 1, 16, 2),
}
"""What every method that trains an adapter can be told."""

REWARDED_SETTINGS: Mapping[str, Setting] = {
    "n_steps": Knob(int, 1, 10**5, 60),
    "batch_prompts": Knob(int, 1, 1024, 8),
    "group_size": Knob(int, 2, 256, 8),
    "reward_penalty": Knob(float, 0.0, 10.0, 0.5),
    "judge_steps": Knob(int, 1, 10**6, 10),
    "judge_patience": Knob(int, 1, 10**3, 3),
    "held_out_clips": Knob(int, 1, 64, 2),
    "best_of": Knob(int, 2, 64, 8),
    **ADAPTER_SETTINGS,
    "precision": Words(("auto", "float32", "bfloat16"), "float32"),
}
"""What the methods that learn from a reward model have in common."""

MAY_HAVE_REWARD_MODEL = (*REWARDED_METHODS, RoundMethod.DPO, RoundMethod.EXPERT)
"""Methods that a reward model can be named for; the first of them need one."""

TIE_AWARE_LOSSES = ("rao_kupper", "davidson")
SMOOTHED_LOSSES = ("sigmoid_norm", "robust")
LOSSES = ("sigmoid_norm", "sigmoid", "ipo", "robust", "apo_zero", *TIE_AWARE_LOSSES)

SETTINGS: Mapping[RoundMethod, Mapping[str, Setting]] = {
    RoundMethod.DPO: {
        "loss": Words(LOSSES, "sigmoid_norm"),
        "n_drawn": Knob(int, 0, 64, 4),
        "soft_reward_labels": Flag(True),
        "n_epochs": Knob(int, 1, 20, 3),
        "batch_pairs": Knob(int, 1, 512, 16),
        "beta_norm": Knob(float, 1e-3, 1e4, 5.0),
        "sft_weight": Knob(float, 0.0, 10.0, 0.1),
        "label_smoothing": Knob(float, 0.0, 0.49, 0.0),
        "tie_share": Knob(float, 0.01, 0.99, 0.5),
        "soft_labels": Flag(True),
        **ADAPTER_SETTINGS,
    },
    RoundMethod.KTO: {
        "n_epochs": Knob(int, 1, 20, 3),
        "batch_clips": Knob(int, 2, 1024, 32),
        "beta_norm": Knob(float, 1e-3, 1e4, 5.0),
        "desirable_weight": Knob(float, 1e-3, 1e3, 1.0),
        "undesirable_weight": Knob(float, 1e-3, 1e3, 1.0),
        **ADAPTER_SETTINGS,
    },
    RoundMethod.EXPERT: {
        "n_epochs": Knob(int, 1, 50, 3),
        "batch_clips": Knob(int, 1, 1024, 16),
        "best_share": Knob(float, 0.01, 1.0, 0.1),
        "reward_penalty": Knob(float, 0.0, 10.0, 0.5),
        **ADAPTER_SETTINGS,
    },
    RoundMethod.GRPO: {**REWARDED_SETTINGS, "beta": Knob(float, 0.0, 100.0, 0.04)},
    RoundMethod.RLOO: {**REWARDED_SETTINGS, "beta": Knob(float, 0.0, 100.0, 0.01)},
    RoundMethod.REWARD: {
        "features": WordList(FEATURES),
        "tie_model": Words(("davidson", "rao_kupper"), "davidson"),
        "uses_ties": Flag(True),
        "n_members": Knob(int, 2, 50, 5),
        "n_folds": Knob(int, 2, 20, 5),
        "penalty": Knob(float, 0.0, 100.0, 0.0),
        "self_agreement": Knob(float, 0.0, 1.0, 0.0),
        "self_agreement_n": Knob(int, 0, 10**9, 0),
        "seed": Knob(int, 0, 2**32 - 1, 0),
    },
    RoundMethod.MIX: {},
}

KNOBS: Mapping[str, Knob] = {
    name: setting
    for name, setting in SETTINGS[RoundMethod.DPO].items()
    if isinstance(setting, Knob)
}
"""The numbers that a DPO round can be told."""


def default_numbers(method: RoundMethod) -> dict[str, float]:
    """What the numbers of a method are where they are not set."""
    found = SETTINGS[method].items()
    return {name: setting.default for name, setting in found if isinstance(setting, Knob)}


def outcomes_of(method: RoundMethod, config: Mapping[str, object]) -> frozenset[Outcome]:
    """The outcomes of pairs that a method with these settings learns from."""
    match method:
        case RoundMethod.DPO if config.get("loss") in TIE_AWARE_LOSSES:
            return frozenset({Outcome.CHOSEN, Outcome.TIE})
        case RoundMethod.REWARD if config.get("uses_ties", True):
            return frozenset({Outcome.CHOSEN, Outcome.TIE})
        case RoundMethod.KTO:
            return frozenset({Outcome.CHOSEN, Outcome.BOTH_BAD})
        case RoundMethod.EXPERT:
            return frozenset(Outcome)
        case (
            RoundMethod.DPO
            | RoundMethod.REWARD
            | RoundMethod.GRPO
            | RoundMethod.RLOO
            | RoundMethod.MIX
        ):
            return frozenset({Outcome.CHOSEN})


def check_config(
    config: Mapping[str, object], method: RoundMethod = RoundMethod.DPO
) -> dict[str, Value]:
    """The config with each value as its setting's type; ConfigError names what is wrong."""
    settings = SETTINGS[method]
    checked = {
        name: _check_value(name, value, settings, method) for name, value in sorted(config.items())
    }
    if method is RoundMethod.DPO:
        _check_smoothing(str(checked.get("loss", "sigmoid_norm")), checked.get("label_smoothing"))
    return checked


def parse_config(words: Iterable[str], method: RoundMethod = RoundMethod.DPO) -> dict[str, Value]:
    """The config written as `key=value` words."""
    config: dict[str, object] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name or not text:
            raise ConfigError(f"expected key=value, got {word!r}")
        if name in config:
            raise ConfigError(f"{name} is set twice: {config[name]} and {text}")
        config[name] = _parse_value(name, text, SETTINGS[method].get(name))
    return check_config(config, method)


def _parse_value(name: str, text: str, setting: Setting | None) -> object:
    match setting:
        case Knob():
            return _parse_number(name, text)
        case Flag():
            flags = {"true": True, "false": False}
            if text.lower() not in flags:
                raise ConfigError(f"{name} must be true or false, got {text!r}")
            return flags[text.lower()]
        case WordList():
            return split_words(text)
        case Words() | None:
            return text


def split_words(text: str) -> list[str]:
    """The words between commas."""
    return [word for part in text.split(",") if (word := part.strip())]


def _parse_number(name: str, text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as exc:
        raise ConfigError(f"{name}={text!r} is not a number") from exc


def _check_value(
    name: str, value: object, settings: Mapping[str, Setting], method: RoundMethod
) -> Value:
    setting = settings.get(name)
    match setting:
        case None:
            known = ", ".join(settings) or "none"
            raise ConfigError(f"unknown setting {name!r} of {method}; known are {known}")
        case Knob():
            return _check_number(name, value, setting)
        case Words():
            if not isinstance(value, str) or value not in setting.allowed:
                allowed = ", ".join(setting.allowed)
                raise ConfigError(f"{name} must be one of {allowed}, got {value!r}")
            return value
        case Flag():
            if not isinstance(value, bool):
                raise ConfigError(f"{name} must be true or false, got {value!r}")
            return value
        case WordList():
            return _check_words(name, value, setting)


def _check_words(name: str, value: object, setting: WordList) -> list[str]:
    """The words in the order in which they are allowed."""
    given = list(value) if isinstance(value, list | tuple) else [value]
    if not given or any(word not in setting.allowed for word in given):
        allowed = ", ".join(setting.allowed)
        raise ConfigError(f"{name} must be some of {allowed}, got {value!r}")
    return [word for word in setting.allowed if word in given]


def _check_number(name: str, value: object, knob: Knob) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name} must be a number, got {value!r}")
    if not knob.low <= value <= knob.high:
        raise ConfigError(f"{name} must be between {knob.low:g} and {knob.high:g}, got {value!r}")
    if knob.kind is int and value != int(value):
        raise ConfigError(f"{name} must be a whole number, got {value!r}")
    return knob.kind(value)


def _check_smoothing(loss: str, smoothing: object) -> None:
    """Raises for a share of wrong preferences where the loss has no place for it, or needs one."""
    if smoothing and loss not in SMOOTHED_LOSSES:
        allowed = " and ".join(SMOOTHED_LOSSES)
        raise ConfigError(f"label_smoothing is for {allowed}, got {smoothing} with loss {loss}")
    if loss == "robust" and not smoothing:
        raise ConfigError(
            "loss robust needs label_smoothing, the share of preferences expected to be wrong, "
            f"above 0 and at most 0.49, got {smoothing or 0}"
        )
