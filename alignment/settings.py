"""Fields of configs that say what they allow, and one check of them all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from alignment.errors import ConfigError

_ALLOWED = "allowed"


@dataclass(frozen=True)
class Bounds:
    """A number between two others, both included; `kind` is int or float."""

    kind: type[int] | type[float]
    low: float
    high: float

    def check(self, name: str, value: object) -> None:
        """Raises ConfigError for what is no such number."""
        wanted = int if self.kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted):
            what = "a whole number" if self.kind is int else "a number"
            raise ConfigError(f"{name} is {what}, got {value!r}")
        assert isinstance(value, int | float)
        if not (math.isfinite(value) and self.low <= value <= self.high):
            span = (
                f"{self.low} to {self.high}"
                if self.kind is int
                else f"{self.low:g} to {self.high:g}"
            )
            raise ConfigError(f"{name} is {span}, got {value}")


def number(default: float, low: float, high: float) -> Any:
    """Returns a field for a number from low to high."""
    return field(default=default, metadata={_ALLOWED: Bounds(float, low, high)})


def whole(default: int, low: int, high: int) -> Any:
    """Returns a field for a whole number from low to high."""
    return field(default=default, metadata={_ALLOWED: Bounds(int, low, high)})


def member_of(kind: type[StrEnum]) -> dict[str, Any]:
    """Returns the metadata of a field for a member of an enum."""
    return {_ALLOWED: kind}


def flag(default: bool) -> Any:
    """Returns a field for true or false."""
    return field(default=default, metadata={_ALLOWED: bool})


def words(default: tuple[str, ...], allowed: tuple[str, ...]) -> Any:
    """Returns a field for some of the allowed words, at least one."""
    return field(default=default, metadata={_ALLOWED: allowed})


@dataclass(frozen=True)
class Settings:
    """Settings of anything: checked when made, read from JSON and written to it."""

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check(setting, getattr(self, setting.name))

    @classmethod
    def bounds(cls) -> dict[str, Bounds]:
        """Returns what the numbers among the settings may be."""
        found = {setting.name: setting.metadata.get(_ALLOWED) for setting in fields(cls)}
        return {name: bounds for name, bounds in found.items() if isinstance(bounds, Bounds)}

    @classmethod
    def choices(cls) -> dict[str, tuple[str, ...]]:
        """Returns what the settings with a few named values may be."""
        found = {setting.name: setting.metadata.get(_ALLOWED) for setting in fields(cls)}
        return {
            name: tuple(member.value for member in kind)
            for name, kind in found.items()
            if isinstance(kind, type) and issubclass(kind, StrEnum)
        }

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Returns the settings of a JSON object; absent keys keep their defaults."""
        known = {setting.name: setting for setting in fields(cls)}
        if unknown := sorted(set(mapping) - set(known)):
            raise ConfigError(f"unknown settings {unknown}; allowed are {list(known)}")
        return cls(**{name: _parsed(known[name], value) for name, value in mapping.items()})

    def to_mapping(self) -> dict[str, Any]:
        """Returns the settings as a JSON object that from_mapping reads."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def _parsed(setting: Field[Any], value: Any) -> Any:
    allowed = setting.metadata.get(_ALLOWED)
    if isinstance(allowed, type) and issubclass(allowed, StrEnum):
        try:
            return allowed(value)
        except ValueError as exc:
            raise ConfigError(
                f"{setting.name} is one of {[member.value for member in allowed]}, got {value!r}"
            ) from exc
    if isinstance(allowed, tuple):
        if isinstance(value, str):
            raise ConfigError(f"{setting.name} is a list, got {value!r}")
        return tuple(value)
    return value


def _check(setting: Field[Any], value: Any) -> None:
    allowed = setting.metadata.get(_ALLOWED)
    if isinstance(allowed, Bounds):
        allowed.check(setting.name, value)
    elif isinstance(allowed, tuple):
        if not value or any(word not in allowed for word in value):
            raise ConfigError(f"{setting.name} are some of {list(allowed)}, got {list(value)}")
    elif allowed is bool and not isinstance(value, bool):
        raise ConfigError(f"{setting.name} is true or false, got {value!r}")
