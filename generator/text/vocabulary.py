"""Words of a prompt: how it is split, which words carry no wish, and features for typos."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from itertools import pairwise

WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|\d+(?:\.\d+)?|[^\w\s]", re.UNICODE)
PUNCTUATION = frozenset(".,;:!?'\"()[]{}-–—/\\&+*#@%^_=<>|~`’‘“”…$")
GRAM_LENGTHS = (3, 4, 5)

_STOP_WORD_LINES = (
    "a about am an and any are as at background be bit by can clip could do feel feeling for",
    "from give has have i in is it its just kind like little made make me melody mood music",
    "musical my of on one or over part piece play played playing please quite rather really",
    "short so some something song sort sound sounding sounds style that the their then there",
    "these they this to track tune very want we which with you your key tempo bpm per minute",
    "beats",
)
STOP_WORDS = frozenset(word for line in _STOP_WORD_LINES for word in line.split())


def split_words(prompt: str) -> list[str]:
    """Returns the lower-case words, numbers and symbols of a prompt.

    Accents and punctuation are left out.
    """
    decomposed = unicodedata.normalize("NFKD", prompt).lower()
    text = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return [word for word in WORD.findall(text) if word not in PUNCTUATION]


def phrases(words: Sequence[str]) -> list[str]:
    """Returns the words and the pairs of neighbours, joined by a blank."""
    pairs = [f"{a} {b}" for a, b in pairwise(words)]
    return [*words, *pairs]


def gram_buckets(word: str, n_buckets: int) -> list[int]:
    """Returns the buckets of a word's letter n-grams, which a misspelt word mostly shares.

    Words outside the Latin script have none: no training prompt says what theirs mean.
    """
    if not word.isascii():
        return []
    marked = f"<{word}>"
    grams = {
        marked[start : start + length]
        for length in GRAM_LENGTHS
        for start in range(len(marked) - length + 1)
    }
    return sorted(zlib.crc32(gram.encode()) % n_buckets for gram in grams)
