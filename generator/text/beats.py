"""Beats per minute and keys that a prompt names: read as figures and letters, not learned."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType

from generator.corpus.attributes import FRAME_RATE_HZ, FRAMES_PER_BEAT_OF_TEMPO

FRAMES_PER_MINUTE = 60 * FRAME_RATE_HZ
TEMPO_OF_FRAMES = {
    frames: tempo for tempo, choices in FRAMES_PER_BEAT_OF_TEMPO.items() for frames in choices
}
LEAST_BPM, MOST_BPM = 20, 320

_DIGITS = r"\d{2,3}(?:\.\d+)?"
_UNIT = r"(?:b\.?\s?p\.?\s?m\b\.?|beats?\s+(?:per|a|each)\s+min(?:ute)?\b)"
_RANGE = rf"(?P<low>{_DIGITS})(?:\s*(?:-|–|—|to|and|or)\s*(?P<high>{_DIGITS}))?"
_NOTE = r"(?:[♩♪]|\b(?:quarter(?:[\s-]note)?|crotchet|mm|m\.m\.|q))"
_BPM_FORMS = (
    re.compile(rf"{_RANGE}\s*-?\s*{_UNIT}", re.IGNORECASE),
    re.compile(rf"\b(?:bpm|tempo)\b\s*(?:[:=~@]|of|is|at|around|about)?\s*{_RANGE}\b", re.I),
    re.compile(rf"{_NOTE}\s*(?:[:=~]|equals)\s*{_RANGE}\b", re.IGNORECASE),
)

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
NUMBER_WORDS: Mapping[str, int] = MappingProxyType(
    {word: value for value, word in enumerate(_ONES)}
    | {word: 10 * value for value, word in enumerate(_TENS, 2)}
)
_NUMBER_WORD = "|".join((*NUMBER_WORDS, "hundred"))
_SPELT = re.compile(
    rf"\b((?:(?:a\s+)?(?:{_NUMBER_WORD})(?:[\s-]+and)?[\s-]+)+)(?={_UNIT})", re.IGNORECASE
)

_KEY = re.compile(
    r"(?P<link>\b(?:in|of)\s+)?(?<![\w'])(?P<letter>[A-Ga-g])"
    r"(?:\s?(?P<sign>[#♯b♭])|[\s-](?P<word>sharp|flat))?"
    r"[\s-](?:major|minor|maj|min)\b(?!\s+(?:key|mood|mode|scale|tonality|feel))"
)
_SIGNS: Mapping[str, int] = MappingProxyType(
    {"#": 1, "♯": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1}
)
_CLASSES: Mapping[str, int] = MappingProxyType(
    {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
)


def frames_of_bpm(bpm: int) -> int:
    """Returns the frames per beat whose tempo is nearest in ratio to beats per minute."""
    wanted = FRAMES_PER_MINUTE / max(bpm, 1)
    return min(TEMPO_OF_FRAMES, key=lambda frames: max(frames / wanted, wanted / frames))


def spell_out_digits(text: str) -> str:
    """Returns a text in which number words before "bpm" are digits ("ninety bpm": "90 bpm")."""

    def digits(found: re.Match[str]) -> str:
        total = 0
        for word in re.findall(r"[a-z]+", found.group(1).lower()):
            if word == "hundred":
                total = 100 * max(total, 1)
            else:
                total += NUMBER_WORDS.get(word, 0)
        return f"{total} "

    return _SPELT.sub(digits, text)


def find_bpm(prompt: str) -> int | None:
    """Returns the beats per minute a prompt names, a range's middle, None where it names none."""
    text = spell_out_digits(unicodedata.normalize("NFKC", prompt))
    for form in _BPM_FORMS:
        for found in form.finditer(text):
            low = float(found["low"])
            bpm = int((low + float(found["high"] or low)) / 2)
            if LEAST_BPM <= bpm <= MOST_BPM:
                return bpm
    return None


def without_figures(prompt: str) -> str:
    """Returns a prompt without the words that name beats per minute."""
    text = spell_out_digits(unicodedata.normalize("NFKC", prompt))
    for form in _BPM_FORMS:
        text = form.sub(" ", text)
    return text


def find_pitch_class(prompt: str) -> int | None:
    """Returns the pitch class, C being 0, of the key a prompt names ("D minor"), or None.

    An "a" that may be an article ("a minor sadness") names no key.
    """
    for found in _KEY.finditer(unicodedata.normalize("NFKC", prompt)):
        is_article = found["letter"] == "a" or (found["letter"] == "A" and not found.start())
        if is_article and not found["link"] and not (found["sign"] or found["word"]):
            continue
        change = _SIGNS.get(found["sign"] or found["word"] or "", 0)
        return (_CLASSES[found["letter"].lower()] + change) % 12
    return None
