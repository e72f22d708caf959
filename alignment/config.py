"""Settings of a DPO run, checked before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Self

from alignment.errors import ConfigError

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


class Precision(StrEnum):
    """The number format of the matrix products; AUTO is bfloat16 where the device has it."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class DpoConfig:
    """How a policy is trained on preferences; the defaults suit the starter checkpoint."""

    beta_norm: float = 5.0
    """Scales the difference of the two clips' mean log-ratios per code. With clips of N codes it
    acts like a beta of beta_norm / N on sums, which is how DPO is usually quoted."""
    sft_weight: float = 0.1
    """Weight of the negative log-likelihood per code of the chosen clip."""
    label_smoothing: float = 0.0
    """The share of preferences expected to be wrong, below 0.5. Above 0 the loss is robust DPO
    (Chowdhury et al. 2024, arXiv:2403.00409), for which all clips must be of one length."""
    learning_rate: float = 1e-3
    n_epochs: int = 3
    batch_pairs: int = 16
    warmup_share: float = 0.1
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_targets: tuple[str, ...] = LORA_TARGETS
    precision: Precision = Precision.AUTO
    seed: int = 0
    save_steps: int = 10
    logging_steps: int = 1

    def __post_init__(self) -> None:
        for name, least, most in (
            ("beta_norm", 1e-3, 1e4),
            ("sft_weight", 0.0, 10.0),
            ("label_smoothing", 0.0, 0.49),
            ("learning_rate", 1e-8, 0.1),
            ("warmup_share", 0.0, 0.9),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"{name} is a number, got {value!r}")
            if not (math.isfinite(value) and least <= value <= most):
                raise ConfigError(f"{name} is {least:g} to {most:g}, got {value}")
        for name, fewest, largest in (
            ("n_epochs", 1, 20),
            ("batch_pairs", 1, 512),
            ("lora_rank", 1, 256),
            ("lora_alpha", 1, 1024),
            ("seed", 0, 2**32 - 1),
            ("save_steps", 1, 10**6),
            ("logging_steps", 1, 10**6),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ConfigError(f"{name} is a whole number, got {value!r}")
            if not fewest <= value <= largest:
                raise ConfigError(f"{name} is {fewest} to {largest}, got {value}")
        unknown = [name for name in self.lora_targets if name not in LORA_TARGETS]
        if unknown or not self.lora_targets:
            raise ConfigError(
                f"lora_targets are some of {list(LORA_TARGETS)}, got {list(self.lora_targets)}"
            )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Returns the config of a JSON object; absent keys keep their defaults."""
        allowed = [field.name for field in fields(cls)]
        unknown = sorted(set(mapping) - set(allowed))
        if unknown:
            raise ConfigError(f"unknown settings {unknown}; allowed are {allowed}")
        values = dict(mapping)
        if "lora_targets" in values:
            if isinstance(values["lora_targets"], str):
                raise ConfigError(f"lora_targets is a list, got {values['lora_targets']!r}")
            values["lora_targets"] = tuple(values["lora_targets"])
        if "precision" in values:
            try:
                values["precision"] = Precision(values["precision"])
            except ValueError as exc:
                raise ConfigError(
                    f"precision is one of {[p.value for p in Precision]}, "
                    f"got {values['precision']!r}"
                ) from exc
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """Returns the config as a JSON object that from_mapping reads."""
        return {**asdict(self), "lora_targets": list(self.lora_targets)}
