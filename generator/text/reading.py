"""A prompt as the planner reads it: words mended, those denied or only compared to are marked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from generator.text.vocabulary import FUNCTION_WORDS, PUNCTUATION, STOP_WORDS, WORD, plain

MOST_DENIED_WORDS = 4


class Mark(StrEnum):
    """How a word stands in its sentence; the value is its sign in the planner's phrases."""

    WANTED = ""
    DENIED = "-"
    """ "no drums", "nothing sad". """
    REFERENCE = "~"
    """ "faster than a waltz". """


@dataclass(frozen=True)
class Token:
    """A word as it was written and as it is known; `known` is None for an unknown one."""

    written: str
    known: str | None
    mark: Mark


# Several words that deny what follows, or that look as if they did.
_REPLACEMENTS: tuple[tuple[str, str], ...] = (
    (r"\b(?:nothing|none)\s+(?:but|other\s+than)\b", " only "),
    (r"\bnot\s+(?:only|just|merely)\b", " also "),
    (r"\bno\s+(?:matter|doubt|problem|worries|idea|hurry|rush)\b", " "),
    (r"\bwhy\s+not\b", " "),
    (r"\b(?:anything|everything|all)\s+(?:but|except)\b", " not "),
    (r"\b(?:hardly|barely|scarcely)\b(?:\s+any)?", " not "),
    (r"\b(?:leav(?:e|ing)|tak(?:e|ing)|left)\s+out\b", " not "),
    (r"\b(?:free|devoid|lack|absence|instead|rid)\s+(?:of|from)\b", " not "),
    (r"\b(?:rather|other|less)\s+than\b", " not "),
    (r"\b(?:far|away)\s+from\b", " not "),
    (
        r"\b(?:drop|lose|hold|cut|mute|ditch|skip|kill|remove)(?:ping|ing)?\s+(?:the|all|any)\b",
        " not ",
    ),
    (r"\bw/o\b", " not "),
    (r"\b(\w+)-free\b", r" not \1 , "),
    (r"\b(?:ca|do|does|did|is|are|was|wo|would|should|must|have|has)n'?t\b|\bcannot\b", " not "),
)
_PATTERNS = tuple((re.compile(pattern), text) for pattern, text in _REPLACEMENTS)
_DENIALS = (
    "no not without never nothing none nor neither minus skip avoid avoiding omit exclude",
    "excluding except zero lacking lacks sans less fewer stop ban non nobody",
)
DENIALS = frozenset(word for line in _DENIALS for word in line.split())
_ENDS_OF_DENIAL = "but however and with on in by only use instead yet though also"
ENDS_OF_DENIAL = frozenset(_ENDS_OF_DENIAL.split())


def mend_nothing(word: str) -> str | None:
    """Returns the word itself: every word is taken as it is written."""
    return word


def read_tokens(text: str, known_word: Callable[[str], str | None] = mend_nothing) -> list[Token]:
    """Returns the words of a text with their marks; denials and punctuation are not among them.

    A denial reaches to the next punctuation mark or conjunction, or over four words.
    """
    rewritten = plain(text)
    for pattern, replacement in _PATTERNS:
        rewritten = pattern.sub(replacement, rewritten)
    tokens: list[Token] = []
    mark, n_left = Mark.WANTED, 0
    for written in WORD.findall(rewritten):
        if written == "-":
            continue
        if written in PUNCTUATION:
            mark = Mark.WANTED
            continue
        word = written if written in STOP_WORDS or written in DENIALS else known_word(written)
        if word in DENIALS:
            mark, n_left = Mark.DENIED, MOST_DENIED_WORDS
            continue
        if word == "than":
            mark, n_left = Mark.REFERENCE, MOST_DENIED_WORDS
            continue
        if word in ENDS_OF_DENIAL:
            mark = Mark.WANTED
        tokens.append(Token(written, word, mark))
        if mark is not Mark.WANTED and written not in FUNCTION_WORDS:
            n_left -= 1
            if not n_left:
                mark = Mark.WANTED
    return tokens


def marked_phrases(tokens: Sequence[Token]) -> list[tuple[str, tuple[int, ...]]]:
    """Returns the words and pairs of neighbours, with marks, and the places of their tokens.

    Function words between two others are skipped; an unknown word parts its neighbours.
    """
    found: list[tuple[str, tuple[int, ...]]] = []
    previous: int | None = None
    for place, token in enumerate(tokens):
        if token.known is None:
            previous = None
            continue
        if token.known in FUNCTION_WORDS:
            continue
        found.append((f"{token.mark}{token.known}", (place,)))
        if previous is not None and tokens[previous].mark is token.mark:
            pair = f"{token.mark}{tokens[previous].known} {token.known}"
            found.append((pair, (previous, place)))
        previous = place
    return found
