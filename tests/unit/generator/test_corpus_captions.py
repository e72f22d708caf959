"""Captions mention exactly what they say they mention, and nothing untrue."""

import random
import re
from collections import Counter

from generator.corpus.attributes import Attributes, draw_attributes
from generator.corpus.captions import (
    ADJECTIVES,
    LEAD_NOUNS,
    STYLE_NOUNS,
    SUPPLEMENTS,
    Caption,
    write_caption,
)

PHRASES: dict[str, tuple[str, str]] = {}
for _vocabulary in (ADJECTIVES, SUPPLEMENTS):
    for _value, _phrases in _vocabulary.items():
        PHRASES |= dict.fromkeys(_phrases, _value)
for _slot, _nouns in (("style", STYLE_NOUNS), ("lead", LEAD_NOUNS)):
    for _name, _phrases in _nouns.items():
        PHRASES |= dict.fromkeys(_phrases, (_slot, _name))


PATTERNS = [
    (re.compile(rf"(?<![\w-]){re.escape(phrase)}(?![\w-])"), *PHRASES[phrase])
    for phrase in sorted(PHRASES, key=len, reverse=True)
]


def written(n: int) -> list[tuple[Attributes, Caption]]:
    pairs = []
    for index in range(n):
        rng = random.Random(index)
        attributes = draw_attributes(rng)
        pairs.append((attributes, write_caption(attributes, rng)))
    return pairs


PAIRS = written(1200)


def found(text: str) -> dict[str, str]:
    """Returns the values of the slots whose phrases a text contains, longest phrase first."""
    values: dict[str, str] = {}
    for pattern, slot, value in PATTERNS:
        if pattern.search(text):
            values.setdefault(slot, value)
            text = pattern.sub("~", text)
    if match := re.search(r"(\d+) bpm", text):
        values["frames_per_beat"] = str(round(1500 / int(match.group(1))))
    return values


def test_no_phrase_stands_for_two_values() -> None:
    vocabularies = [*ADJECTIVES.values(), *SUPPLEMENTS.values()]
    vocabularies += [*STYLE_NOUNS.values(), *LEAD_NOUNS.values()]
    counts = Counter(phrase for phrases in vocabularies for phrase in phrases)
    assert [phrase for phrase, n in counts.items() if n > 1] == []


def test_a_caption_names_the_slots_it_mentions_and_no_other() -> None:
    for _, caption in PAIRS:
        expected = set(caption.mentioned) - {"swing"}
        said = set(found(caption.text))
        if "frames_per_beat" in said:
            said.add("tempo")
        assert said == expected, caption


def test_what_a_caption_says_is_true() -> None:
    for attributes, caption in PAIRS:
        for slot, value in found(caption.text).items():
            assert str(getattr(attributes, slot)) == value, (caption, attributes)


def test_swing_is_mentioned_where_it_is_said() -> None:
    for attributes, caption in PAIRS:
        words = re.search(r"\b(swing|swung|swinging|shuffle|straight)\b", caption.text)
        assert bool(words) == ("swing" in caption.mentioned), caption
        if words and words.group() not in ("straight",) and "without swing" not in caption.text:
            assert attributes.swing


def test_every_slot_is_sometimes_mentioned_and_often_left_open() -> None:
    for slot in ("style", "tempo", "mode", "lead", "tone", "density", "drums"):
        share = sum(slot in caption.mentioned for _, caption in PAIRS) / len(PAIRS)
        assert 0.2 < share < 0.8, slot
    assert all(caption.mentioned for _, caption in PAIRS)


def test_texts_are_clean_and_varied() -> None:
    texts = [caption.text for _, caption in PAIRS]
    assert all(text == text.strip() and "  " not in text and " ," not in text for text in texts)
    assert all(1 <= len(text) <= 300 for text in texts)
    assert len(set(texts)) > 0.9 * len(texts)


def test_the_same_seed_writes_the_same_caption() -> None:
    attributes = PAIRS[0][0]
    assert write_caption(attributes, random.Random(3)) == write_caption(
        attributes, random.Random(3)
    )
