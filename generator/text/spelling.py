"""Spelling: which known word is meant by one that is not known, if any."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

LOOKALIKES_FILE = Path(__file__).parent / "lookalikes.txt"
LEAST_LETTERS = 4
LETTERS_FOR_TWO_SLIPS = 7

# Ends of words and what may stand in their place, longest first.
_ENDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("iness", ("y",)),
    ("iest", ("y",)),
    ("ily", ("y",)),
    ("ier", ("y",)),
    ("ies", ("y",)),
    ("ness", ("",)),
    ("ing", ("", "e")),
    ("est", ("", "e")),
    ("ist", ("", "o")),
    ("ish", ("",)),
    ("ly", ("", "le")),
    ("er", ("", "e")),
    ("ed", ("", "e")),
    ("es", ("",)),
    ("y", ("",)),
    ("s", ("",)),
)


LOOKALIKES_HEADER = """\
# English words that resemble a word the planner knows and are no misspellings of it.
# Made by `python -m generator list-lookalikes` from Debian's wamerican, which is SCOWL:
#
#   Copyright 2000-2011 by Kevin Atkinson
#   Permission to use, copy, modify, distribute and sell these word lists, the associated scripts,
#   the output created from the scripts, and its documentation for any purpose is hereby granted
#   without fee, provided that the above copyright notice appears in all copies and that both that
#   copyright notice and this permission notice appear in supporting documentation. Kevin Atkinson
#   makes no representations about the suitability of this array for any purpose. It is provided
#   "as is" without express or implied warranty.
"""


@cache
def load_lookalikes(path: Path = LOOKALIKES_FILE) -> frozenset[str]:
    """Returns the English words that resemble a known word and mean something else."""
    lines = path.read_text().splitlines()
    return frozenset(w for line in lines if not line.startswith("#") for w in line.split())


def bases(word: str) -> Iterator[str]:
    """Yields what a word may be a form of: plural, adverb, comparison, who plays it."""
    for ending, replacements in _ENDINGS:
        if not word.endswith(ending) or len(word) - len(ending) < 3:
            continue
        stem = word.removesuffix(ending)
        for replacement in replacements:
            yield stem + replacement
        if len(stem) > 3 and stem[-1] == stem[-2]:
            yield stem[:-1]


def slips(one: str, other: str, most: int) -> int:
    """Returns how many letters were lost, added, replaced or swapped, most + 1 for all above.

    Optimal string alignment, Damerau 1964.
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]


class Speller:
    """Finds the known word that is meant by a form or a misspelling of it."""

    def __init__(self, known: Iterable[str], lookalikes: Iterable[str]) -> None:
        self.known = frozenset(known)
        self.lookalikes = frozenset(lookalikes) - self.known
        self._targets: dict[str, list[str]] = {}
        for target in sorted(self.known):
            if len(target) >= LEAST_LETTERS and target.isalpha():
                self._targets.setdefault(target[0], []).append(target)
        self._found: dict[str, str | None] = {}

    def known_word(self, word: str) -> str | None:
        """Returns the known word that is meant, None where there is none."""
        if word in self.known:
            return word
        if word not in self._found:
            forms = (base for base in bases(word) if base in self.known)
            self._found[word] = next(forms, None) or self.mended(word)
        return self._found[word]

    def mended(self, word: str) -> str | None:
        """Returns the one known word nearest to a misspelt one; words of English are none.

        The first letter is right, or swapped with the second.
        """
        if len(word) < LEAST_LETTERS or not (word.isascii() and word.isalpha()):
            return None
        if word in self.lookalikes:
            return None
        most = 2 if len(word) >= LETTERS_FOR_TWO_SLIPS else 1
        swapped = [t for t in self._targets.get(word[1], ()) if t[1] == word[0] != word[1]]
        targets = [*self._targets.get(word[0], ()), *swapped]
        near = [(slips(word, target, most), target) for target in targets]
        least = min((count for count, _ in near), default=most + 1)
        found = [target for count, target in near if count == least]
        if least > most:
            return None
        # Of two equally near words the one of the same length, as "slwo" is "slow".
        return min(found, key=lambda target: (abs(len(target) - len(word)), target))


def find_lookalikes(dictionary: Iterable[str], known: Iterable[str]) -> list[str]:
    """Returns the words of a dictionary that would be taken for misspellings of known ones."""
    speller = Speller(known, ())
    words = {word for word in dictionary if word.islower() and word.isascii() and word.isalpha()}
    return sorted(
        word
        for word in words - speller.known
        if not any(base in speller.known for base in bases(word)) and speller.mended(word)
    )


def lookalikes_text(words: Sequence[str]) -> str:
    """Returns the content of a file of lookalikes, with its notice."""
    return LOOKALIKES_HEADER + textwrap.fill(" ".join(words), 98) + "\n"
