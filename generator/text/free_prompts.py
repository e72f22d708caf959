"""Prompts written by hand, what a listener would say they mention, and how well a planner agrees.

The sentences of even row numbers (from 0) are for development: their failures may be looked at.
Those of odd row numbers only measure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from generator.errors import RequestError
from generator.shares import Share
from generator.text.beats import frames_of_bpm
from generator.text.header import SLOTS, SlotValue
from generator.text.planner import Plan

FREE_PROMPTS_FILE = Path(__file__).parent / "free_prompts.json"


class Half(StrEnum):
    """DEVELOPMENT is looked at while a planner is improved; MEASURING is only counted."""

    DEVELOPMENT = "development"
    MEASURING = "measuring"


@dataclass(frozen=True)
class FreePrompt:
    """A prompt, the values that are right for each slot it mentions, and slots not counted."""

    text: str
    says: dict[str, tuple[SlotValue, ...]]
    arguable: frozenset[str]


@dataclass(frozen=True)
class PromptScore:
    """How a planner read prompts: mentions read right, and open slots wrongly set."""

    n_prompts: int
    mentions: Share
    mentions_per_slot: dict[str, Share]
    wrongly_set: Share
    mistakes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One sentence of the figures that matter most."""
        low, high = self.mentions.interval
        return (
            f"{self.mentions.share:.1%} of {self.mentions.n} mentions right "
            f"({low:.1%} to {high:.1%}), {self.wrongly_set.share:.1%} of "
            f"{self.wrongly_set.n} open slots wrongly set, {self.n_prompts} prompts"
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the counts, without the mistakes, as a mapping that JSON can hold."""
        return {
            "n_prompts": self.n_prompts,
            "mentions_right": self.mentions.to_json(),
            "mentions_right_per_slot": {
                slot: share.to_json() for slot, share in self.mentions_per_slot.items()
            },
            "open_slots_wrongly_set": self.wrongly_set.to_json(),
        }


def read_free_prompt(row: dict[str, Any]) -> FreePrompt:
    """Returns the prompt of a row; beats per minute become the slot that holds them.

    A tempo that follows from beats per minute is neither a mention of its own nor open.
    """
    says = {slot: tuple(values) for slot, values in row["says"].items()}
    arguable = set(row.get("arguable", ()))
    if "bpm" in says:
        says["frames_per_beat"] = tuple(frames_of_bpm(bpm) for bpm in says.pop("bpm"))
        arguable.add("tempo")
    for slot, values in says.items():
        if slot not in SLOTS or not set(values) <= set(SLOTS[slot]) or not values:
            raise RequestError(f"{row['text']!r} says {slot} {list(values)}, which is no slot")
    return FreePrompt(row["text"], says, frozenset(arguable))


def load_free_prompts(path: Path = FREE_PROMPTS_FILE) -> dict[Half, tuple[FreePrompt, ...]]:
    """Returns the prompts of each half."""
    prompts = [read_free_prompt(row) for row in json.loads(path.read_text())]
    return {Half.DEVELOPMENT: tuple(prompts[0::2]), Half.MEASURING: tuple(prompts[1::2])}


def score_free_prompts(plan: Callable[[str], Plan], prompts: Sequence[FreePrompt]) -> PromptScore:
    """Returns how the plans of prompts agree with what a listener would say."""
    right: Counter[str] = Counter()
    told: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    left_open: Counter[str] = Counter()
    mistakes = []
    for prompt in prompts:
        slots = plan(prompt.text).slots
        for slot in SLOTS:
            found = slots.get(slot)
            if slot in prompt.says:
                told[slot] += 1
                is_right = found in prompt.says[slot]
                right[slot] += is_right
            elif slot in prompt.arguable:
                continue
            else:
                left_open[slot] += 1
                is_right = found is None
                wrong[slot] += not is_right
            if not is_right:
                wanted = " or ".join(map(str, prompt.says.get(slot, ("open",))))
                mistakes.append(f"{prompt.text}: {slot} is {wanted}, read {found}")
    return PromptScore(
        n_prompts=len(prompts),
        mentions=Share(right.total(), told.total()),
        mentions_per_slot={slot: Share(right[slot], told[slot]) for slot in SLOTS if told[slot]},
        wrongly_set=Share(wrong.total(), left_open.total()),
        mistakes=tuple(mistakes),
    )
