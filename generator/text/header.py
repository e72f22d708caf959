"""The header: ten slots that say what music is asked for, as ids the language model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from generator.corpus.attributes import (
    DENSITIES,
    DRUMS,
    FRAMES_PER_BEAT,
    LEADS,
    MODES,
    ROOTS,
    STYLE_NAMES,
    STYLES,
    TEMPOS,
    TONES,
)
from generator.errors import RequestError

SlotValue = str | int | bool

SLOTS: dict[str, tuple[SlotValue, ...]] = {
    "style": STYLE_NAMES,
    "tempo": TEMPOS,
    "mode": MODES,
    "lead": LEADS,
    "tone": TONES,
    "density": DENSITIES,
    "drums": DRUMS,
    "frames_per_beat": FRAMES_PER_BEAT,
    "root": ROOTS,
    "swing": (False, True),
}
N_SLOTS = len(SLOTS)


@dataclass(frozen=True)
class HeaderVocabulary:
    """Ids of all slots in one space: each slot's "unspecified", then its values in order."""

    slots: tuple[tuple[str, tuple[SlotValue, ...]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The slots' names in the order of the header."""
        return tuple(name for name, _ in self.slots)

    @property
    def size(self) -> int:
        """The number of ids."""
        return sum(1 + len(values) for _, values in self.slots)

    def first_id(self, slot: int) -> int:
        """The id that leaves a slot open; those of its values follow."""
        return sum(1 + len(values) for _, values in self.slots[:slot])

    @property
    def empty(self) -> tuple[int, ...]:
        """The header that leaves every slot open."""
        return tuple(self.first_id(slot) for slot in range(len(self.slots)))

    def ids_of(self, name: str) -> dict[SlotValue, int]:
        """Returns the id of each value of a slot."""
        slot = self.names.index(name)
        return {value: self.first_id(slot) + 1 + i for i, value in enumerate(self.slots[slot][1])}

    def encode(self, mapping: Mapping[str, SlotValue | None]) -> list[int]:
        """Returns the ids of a mapping; absent slots and None are unspecified."""
        unknown = sorted(set(mapping) - set(self.names))
        if unknown:
            raise RequestError(f"unknown slots {unknown}; known are {list(self.names)}")
        header = []
        for slot, (name, values) in enumerate(self.slots):
            value = mapping.get(name)
            if value is None:
                header.append(self.first_id(slot))
                continue
            if value not in values:
                raise RequestError(f"{name} is one of {list(values)}, got {value!r}")
            header.append(self.first_id(slot) + 1 + values.index(value))
        return header

    def decode(self, ids: Sequence[int]) -> dict[str, SlotValue]:
        """Returns the slots that ids specify, by name."""
        if len(ids) != len(self.slots):
            raise RequestError(f"expected {len(self.slots)} header ids, got {len(ids)}")
        mapping: dict[str, SlotValue] = {}
        for slot, (name, values) in enumerate(self.slots):
            value = ids[slot] - self.first_id(slot)
            if not 0 <= value <= len(values):
                first = self.first_id(slot)
                raise RequestError(
                    f"{name} has ids {first} to {first + len(values)}, got {ids[slot]}"
                )
            if value:
                mapping[name] = values[value - 1]
        return mapping


HEADER_VOCABULARY = HeaderVocabulary(tuple(SLOTS.items()))
EMPTY_HEADER = HEADER_VOCABULARY.empty
BEAT_IDS = tuple(
    (i, int(frames)) for frames, i in HEADER_VOCABULARY.ids_of("frames_per_beat").items()
)
"""Header ids and the frames per beat that they tell."""
BAR_IDS = tuple(
    (i, STYLES[str(style)].beats_per_bar) for style, i in HEADER_VOCABULARY.ids_of("style").items()
)
"""Header ids and the beats per bar of the style that they tell."""


def encode_header(mapping: Mapping[str, SlotValue | None]) -> list[int]:
    """Returns the ten header ids of a mapping of slots to values."""
    return HEADER_VOCABULARY.encode(mapping)


def decode_header(ids: Sequence[int]) -> dict[str, SlotValue]:
    """Returns the slots that ten header ids specify, by name."""
    return HEADER_VOCABULARY.decode(ids)
