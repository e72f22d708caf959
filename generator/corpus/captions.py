"""Captions of a clip, and which of its attributes each caption mentions."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from generator.corpus.attributes import Attributes


@dataclass(frozen=True)
class Caption:
    """A text and the names of the attributes it says something about."""

    text: str
    mentioned: frozenset[str]


# Phrases that stand before a noun ("a slow, warm waltz").
ADJECTIVES: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("tempo", "slow"): (
            "slow", "slow-paced", "relaxed", "unhurried", "leisurely", "calm", "laid-back",
            "slow tempo", "down-tempo", "very slow", "drowsy", "lingering",
        ),
        ("tempo", "medium"): (
            "mid-tempo", "moderate", "medium tempo", "walking-pace", "medium-paced", "steady",
            "moderately paced", "easy-going",
        ),
        ("tempo", "fast"): (
            "fast", "up-tempo", "energetic", "upbeat", "quick", "lively", "fast-paced", "brisk",
            "rapid", "fast tempo", "hurried", "very fast", "speedy",
        ),
        ("mode", "major"): (
            "happy", "cheerful", "joyful", "major-key", "sunny", "merry", "hopeful", "uplifting",
            "glad", "optimistic", "major",
        ),
        ("mode", "minor"): (
            "sad", "melancholic", "minor-key", "sorrowful", "gloomy", "wistful", "dark",
            "mournful", "moody", "melancholy", "minor", "unhappy", "tragic",
        ),
        ("tone", "bright"): (
            "bright", "crisp", "brilliant", "shiny", "sparkling", "sharp", "clear", "glittering",
            "bright-sounding", "treble-heavy",
        ),
        ("tone", "mellow"): (
            "mellow", "warm", "muffled", "dull", "round", "warm-sounding", "velvety", "dampened",
            "soft-toned", "muted",
        ),
        ("density", "dense"): (
            "busy", "dense", "full", "intricate", "rich", "crowded", "elaborate", "note-filled",
            "complex", "lush",
        ),
        ("density", "sparse"): (
            "sparse", "minimal", "simple", "bare", "spacious", "minimalist", "thin", "airy",
            "stripped-down", "uncluttered",
        ),
    }
)  # fmt: skip

# Phrases that stand after it or on their own ("... with many notes").
SUPPLEMENTS: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("tempo", "slow"): (
            "at a slow tempo", "taking its time", "at a slow pace", "played slowly",
        ),
        ("tempo", "medium"): ("at a moderate tempo", "at a walking pace", "at medium speed"),
        ("tempo", "fast"): (
            "at a fast tempo", "full of energy", "at high speed", "played fast", "played quickly",
        ),
        ("mode", "major"): (
            "in a major key", "in major", "in a happy mood", "with a cheerful mood",
        ),
        ("mode", "minor"): (
            "in a minor key", "in minor", "in a sad mood", "with a dark mood", "full of sorrow",
        ),
        ("tone", "bright"): ("with a bright tone", "with a crisp sound", "with lots of treble"),
        ("tone", "mellow"): (
            "with a mellow tone", "with a warm sound", "with little treble", "with a muffled sound",
        ),
        ("tone", "neutral"): ("with a natural tone", "with a neutral sound"),
        ("density", "dense"): (
            "with many notes", "with a full arrangement", "with lots going on",
            "with a busy accompaniment", "with lots of notes",
        ),
        ("density", "sparse"): (
            "with few notes", "with lots of space", "with long notes", "with only a few notes",
            "with plenty of room between the notes",
        ),
        ("drums", "none"): (
            "without drums", "no drums", "no percussion", "without percussion", "drumless",
            "without any beat",
        ),
        ("drums", "soft"): (
            "with light drums", "with soft percussion", "with gentle drums", "with a soft beat",
            "with quiet drums", "with brushed drums", "with light percussion",
        ),
        ("drums", "driving"): (
            "with driving drums", "with a strong beat", "with heavy drums", "with loud drums",
            "with pounding drums", "with a hard beat", "with powerful drums",
        ),
    }
)  # fmt: skip

STYLE_NOUNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ballad": ("ballad", "love song", "tender ballad", "romantic song", "romantic piece"),
        "lo-fi": ("lo-fi track", "lofi beat", "lo-fi hip hop", "chillhop", "study beat", "lofi"),
        "waltz": ("waltz", "ballroom waltz", "waltz in three four", "waltz in 3/4"),
        "march": ("march", "parade march", "marching tune", "military march", "marching music"),
        "dance": (
            "dance track", "disco tune", "club track", "dance music", "techno", "party track",
        ),
        "folk": ("folk song", "folk tune", "country song", "campfire song", "folk music"),
        "lullaby": ("lullaby", "cradle song", "bedtime song", "sleepy lullaby", "baby song"),
        "ambient": (
            "ambient piece", "ambient soundscape", "drone", "meditation music", "ambient music",
            "atmospheric piece",
        ),
    }
)  # fmt: skip

LEAD_NOUNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "piano": ("piano", "grand piano", "pianist", "keys", "piano melody"),
        "music box": ("music box", "musical box", "toy music box", "music-box"),
        "acoustic guitar": ("acoustic guitar", "guitar", "nylon guitar", "classical guitar"),
        "strings": (
            "strings", "violins", "string section", "orchestral strings", "string ensemble",
        ),
        "trumpet": ("trumpet", "brass", "horn", "trumpets", "bugle"),
        "flute": ("flute", "flutes", "flutist", "woodwind", "wooden flute"),
        "synth lead": ("synth lead", "synthesizer", "synth", "synthesiser", "electronic lead"),
        "organ": ("organ", "church organ", "hammond organ", "pipe organ"),
    }
)  # fmt: skip

_PLAIN_NOUNS = ("piece", "tune", "melody", "song", "track", "music", "piece of music", "loop")
_REQUESTS = ("play", "i want", "give me", "make", "please make", "create", "i would like", "write")
_LEAD_LINKS = ("played on {}", "with {}", "for {}", "on {}", "featuring {}", "led by {}")
_SWING = ("swing", "swung", "with a swing feel", "with a shuffle feel", "swinging")
_STRAIGHT = ("straight", "without swing", "with a straight beat")
_SLOTS = ("tempo", "mode", "tone", "density", "drums")
MENTION_SHARE = 0.6
FEW_WORDS_SHARE = 0.25
BPM_SHARE = 0.12
SWING_SHARE = 0.4
STRAIGHT_SHARE = 0.04


def _article(text: str) -> str:
    return ("an " if text[:1] in "aeiou" else "a ") + text


def write_caption(attributes: Attributes, rng: random.Random) -> Caption:
    """Returns a text that is true of the attributes and names which of them it mentions."""
    share = 0.2 if rng.random() < FEW_WORDS_SHARE else MENTION_SHARE
    mentioned: set[str] = set()
    before: list[str] = []
    after: list[str] = []
    for slot in _SLOTS:
        if rng.random() >= share:
            continue
        value = (slot, getattr(attributes, slot))
        adjectives, supplements = ADJECTIVES.get(value, ()), SUPPLEMENTS.get(value, ())
        if value == ("tone", "neutral") and rng.random() < 0.7:
            continue
        if adjectives and (not supplements or rng.random() < 0.65):
            before.append(rng.choice(adjectives))
        else:
            after.append(rng.choice(supplements))
        mentioned.add(slot)
    if rng.random() < BPM_SHARE:
        after.append(f"{'at ' if rng.random() < 0.5 else ''}{attributes.beats_per_minute} bpm")
        mentioned |= {"frames_per_beat", "tempo"}
    if rng.random() < (SWING_SHARE if attributes.swing else STRAIGHT_SHARE):
        after.append(rng.choice(_SWING if attributes.swing else _STRAIGHT))
        mentioned.add("swing")
    style = lead = ""
    if rng.random() < max(share, 0.45):
        style = rng.choice(STYLE_NOUNS[attributes.style])
        mentioned.add("style")
    if rng.random() < max(share, 0.5):
        lead = rng.choice(LEAD_NOUNS[attributes.lead])
        mentioned.add("lead")
    if not mentioned:
        style = rng.choice(STYLE_NOUNS[attributes.style])
        mentioned.add("style")
    rng.shuffle(before)
    rng.shuffle(after)
    return Caption(_phrase(style, lead, before, after, rng), frozenset(mentioned))


def _phrase(style: str, lead: str, before: list[str], after: list[str], rng: random.Random) -> str:
    """Returns the phrases put in one of five orders."""
    noun = style or rng.choice(_PLAIN_NOUNS)
    form = rng.randrange(5)
    adjectives = (", " if rng.random() < 0.5 else " ").join(before)
    if form == 0:
        parts = [part for part in (style, lead, *before, *after) if part]
        rng.shuffle(parts)
        return ", ".join(parts)
    if form == 1 and lead:
        head = f"{adjectives} {lead} {noun}"
    else:
        head = f"{adjectives} {noun}"
        if lead:
            head = f"{head} {rng.choice(_LEAD_LINKS).format(lead)}"
    head = head.strip()
    if form in (2, 3):
        head = _article(head)
    if form == 3:
        head = f"{rng.choice(_REQUESTS)} {head}"
    tail = (", " if form == 4 else " ").join(after)
    text = f"{head}{', ' if form == 4 and tail else ' '}{tail}".strip()
    return text
