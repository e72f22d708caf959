"""All entries of the planner's dictionary: a phrase, the slot it speaks of and the value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from generator.corpus.captions import ADJECTIVES, LEAD_NOUNS, STYLE_NOUNS, SUPPLEMENTS
from generator.text.header import SLOTS, SlotValue
from generator.text.reading import Mark, Token, marked_phrases, read_tokens
from generator.text.synonyms import DENIED, SYNONYMS
from generator.text.vocabulary import FUNCTION_WORDS, STOP_WORDS, WORD, plain

OPPOSITES: dict[tuple[str, SlotValue], SlotValue] = {
    ("tempo", "slow"): "medium",
    ("tempo", "fast"): "medium",
    ("mode", "major"): "minor",
    ("mode", "minor"): "major",
    ("tone", "bright"): "mellow",
    ("tone", "mellow"): "bright",
    ("density", "dense"): "sparse",
    ("density", "sparse"): "dense",
    ("drums", "driving"): "soft",
    ("swing", True): False,
}
"""What a denied value asks for; other denied values leave their slot open."""


@dataclass(frozen=True)
class Entry:
    """A phrase that speaks of one slot; `denied` entries are wanted none of ("no drums")."""

    text: str
    slot: str
    value: SlotValue
    denied: bool = False


def value_named(slot: str, name: str) -> SlotValue:
    """Returns the value of a slot whose text is `name`."""
    return next(value for value in SLOTS[slot] if str(value) == name)


@cache
def entries() -> tuple[Entry, ...]:
    """Returns every entry, captions' phrases first."""
    found = []
    for table in (ADJECTIVES, SUPPLEMENTS, SYNONYMS):
        for (slot, name), texts in table.items():
            found += [Entry(text, slot, value_named(slot, name)) for text in texts]
    for slot, nouns in (("style", STYLE_NOUNS), ("lead", LEAD_NOUNS)):
        found += [Entry(text, slot, value) for value, texts in nouns.items() for text in texts]
    for (slot, name), texts in DENIED.items():
        found += [Entry(text, slot, value_named(slot, name), denied=True) for text in texts]
    return tuple(found)


def entry_tokens(text: str) -> list[Token]:
    """Returns the tokens of an entry that carry it: all but function words."""
    return [token for token in read_tokens(text) if token.written not in FUNCTION_WORDS]


def entry_phrases(text: str) -> set[str]:
    """Returns what an entry is known by, without marks: itself if one word, else its pairs.

    Of two words that a hyphen joins the word without it is one more.
    """
    tokens = entry_tokens(text)
    size = min(2, len(tokens))
    found = {p.lstrip("-~") for p, places in marked_phrases(tokens) if len(places) == size}
    found -= STOP_WORDS
    if len(parts := plain(text).split("-")) == 2 and all(part.isalpha() for part in parts):
        found.add("".join(parts))
    return found


def known_phrases() -> tuple[str, ...]:
    """Returns the phrases that the planner looks for, sorted: each wanted, denied, compared to."""
    found: set[str] = set()
    for entry in entries():
        found |= {f"{mark}{phrase}" for phrase in entry_phrases(entry.text) for mark in Mark}
        tokens = entry_tokens(entry.text)
        if entry.denied and len(tokens) == 1:  # "no notes" says something, "notes" does not
            found.add(f"{Mark.DENIED}{tokens[0].written}")
    return tuple(sorted(found))


def words_of(known: Sequence[str]) -> set[str]:
    """Returns the words of phrases, without marks."""
    return {word for phrase in known for word in WORD.findall(phrase.lstrip("-~"))}
