"""Words of a prompt: how it is split, and which words carry no wish of their own."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:\.\d+)?|[^\w\s]", re.UNICODE)
PUNCTUATION = frozenset(".,;:!?'\"()[]{}-–—/\\&+*#@%^_=<>|~`’‘“”…$¿¡。、・")
INVISIBLE = frozenset({"Mn", "Me", "Cf", "Sk"})

_FUNCTION_WORDS = (
    "a about after again all also always am an and another any anybody anyone anything are as at",
    "be because been before being between both bring build but by can could did do does doing each",
    "either else even ever every everybody everyone everything for from get gets gimme give given",
    "gives goes had has have he her here hers him his how i if in into is it its it's just",
    "keep keeps kind let like likes ll made make makes making may me might mine must my",
    "need needs of off on only onto or other our ours out over own perhaps please",
    "pls put quite rather re really same see shall she should so some somebody someone something",
    "somewhat sort still such take takes than that that's the their them then there these they",
    "thing things this those through till to too two um under until us use used using ve very via",
    "want wants was we were what when where which while who whole whose why will wish with within",
    "would yeah yes you your yours clearly fully simply add create compose produce generate",
    "there's i'd i'm i've we'd we're let's you're",
)
FUNCTION_WORDS = frozenset(word for line in _FUNCTION_WORDS for word in line.split())
"""Words that hold a sentence together; they part no phrase ("four on the floor")."""

_MUSIC_WORDS = (
    "accompaniment arrangement background beats bit bpm clip composition feel feeling feels",
    "instrument instruments key kinda listen little loop melody melodies minute minutes mode mood",
    "moods music musical notes part per piece pieces play played player playing plays recording",
    "rhythm rhythms scale second seconds sense short song songs sound sounding sounds sounded",
    "style styled styles tempo theme tone touch track tracks tune tunes version vibe vibes tad",
    "few going lot lots many more most much one",
)
MUSIC_WORDS = frozenset(word for line in _MUSIC_WORDS for word in line.split())
"""Words of music that say nothing alone; in a phrase they may ("music box")."""
STOP_WORDS = FUNCTION_WORDS | MUSIC_WORDS


def plain(text: str) -> str:
    """Returns a text in lower case without accents and invisible signs."""
    decomposed = unicodedata.normalize("NFKD", text).lower()
    kept = (letter for letter in decomposed if unicodedata.category(letter) not in INVISIBLE)
    return "".join(kept).replace("’", "'")


def split_words(prompt: str) -> list[str]:
    """Returns the lower-case words, numbers and symbols of a prompt.

    Accents and punctuation are left out; what a hyphen joins are two words.
    """
    return [word for word in WORD.findall(plain(prompt)) if word not in PUNCTUATION]


def phrases(words: list[str]) -> list[str]:
    """Returns the words and the pairs of neighbours, joined by a blank.

    Function words between two others are skipped.
    """
    rest = [word for word in words if word not in FUNCTION_WORDS]
    return [*words, *(f"{a} {b}" for a, b in pairwise(rest))]
