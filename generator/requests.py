"""Requests for clips, checked before anything is loaded or drawn."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from generator.errors import RequestError

LEAST_S = 1.0
MOST_S = 30.0
MOST_CHARACTERS = 500
MOST_SEED = 2**63 - 1
BLANKS = "\t\n\r"
"""The control characters that a prompt may hold: they read as blanks."""
INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me"})
"""Unicode categories of separators and marks, which say nothing on their own."""
SHOWN_CHARACTERS = 40


def check_prompt(prompt: str) -> None:
    """Raises RequestError unless a prompt is text that can be read, stored and shown."""
    allowed = f"a prompt has 1 to {MOST_CHARACTERS} characters"
    if not isinstance(prompt, str):
        raise RequestError(f"{allowed}, got {_shown(prompt)} of type {type(prompt).__name__}")
    if len(prompt) > MOST_CHARACTERS:
        raise RequestError(f"{allowed}, got {len(prompt)}")
    for place, character in enumerate(prompt):
        category = unicodedata.category(character)
        if category == "Cs" or (category == "Cc" and character not in BLANKS):
            raise RequestError(
                f"a prompt has no control characters and no halves of surrogate pairs, "
                f"got U+{ord(character):04X} at character {place + 1}"
            )
    if all(unicodedata.category(character) in INVISIBLE for character in prompt):
        raise RequestError(f"{allowed}, not all blank, got {_shown(prompt)}")


def check_duration(duration_s: float, least_s: float, most_s: float) -> None:
    """Raises RequestError unless a duration is a number of seconds within its limits."""
    allowed = f"duration_s is {least_s:g} to {most_s:g} seconds"
    if isinstance(duration_s, bool) or not isinstance(duration_s, Real):
        raise RequestError(
            f"{allowed}, got {_shown(duration_s)} of type {type(duration_s).__name__}"
        )
    if not least_s <= duration_s <= most_s:
        raise RequestError(f"{allowed}, got {_shown(duration_s)}")


def check_seed(seed: int) -> None:
    """Raises RequestError unless a seed is a whole number that a random generator takes."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise RequestError(f"a seed is a whole number, got {_shown(seed)}")
    if not 0 <= seed <= MOST_SEED:
        raise RequestError(f"a seed is 0 to {MOST_SEED}, got {_shown(seed)}")


def _shown(value: object) -> str:
    """Returns a value as an error shows it, cut where it is long."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."


@dataclass(frozen=True)
class ClipRequest:
    """One clip to make: a prompt, a length in seconds and a seed."""

    prompt: str
    duration_s: float
    seed: int
    melody: Path | None = None
    """A recording (WAV, FLAC, OGG or MP3) whose tune the clip is to follow."""

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        check_duration(self.duration_s, LEAST_S, MOST_S)
        check_seed(self.seed)
