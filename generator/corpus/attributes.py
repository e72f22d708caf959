"""What a clip of the corpus is: its attributes, their allowed values, and a draw of them.

Everything is counted on the codec's frame grid of 25 frames a second, so that a beat is a whole
number of frames and an onset always opens a frame.
"""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from generator.errors import RequestError

FRAME_RATE_HZ = 25

TEMPOS = ("slow", "medium", "fast")
MODES = ("major", "minor")
TONES = ("bright", "neutral", "mellow")
DENSITIES = ("sparse", "dense")
DRUMS = ("none", "soft", "driving")
ROOTS = (57, 60, 62)
# No beat is twice another, so that a beat is told from its half and its double by its length.
FRAMES_PER_BEAT = (26, 22, 18, 16, 14, 12, 10)
FRAMES_PER_BEAT_OF_TEMPO: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"slow": (26, 22), "medium": (18, 16, 14), "fast": (12, 10)}
)

# General MIDI programs (from 0) of the lead instruments.
LEAD_PROGRAMS: Mapping[str, int] = MappingProxyType(
    {
        "piano": 0,
        "music box": 10,
        "acoustic guitar": 24,
        "strings": 48,
        "trumpet": 56,
        "flute": 73,
        "synth lead": 81,
        "organ": 16,
    }
)
LEADS = tuple(LEAD_PROGRAMS)
# Relatives that nothing is trained on: what a codec makes of them shows how far it generalises.
HELD_OUT_LEAD_PROGRAMS: Mapping[str, int] = MappingProxyType(
    {
        "piano": 2,  # electric grand
        "music box": 11,  # vibraphone
        "acoustic guitar": 25,  # steel strings
        "strings": 44,  # tremolo
        "trumpet": 65,  # alto saxophone
        "flute": 71,  # clarinet
        "synth lead": 80,  # square wave
        "organ": 21,  # accordion
    }
)


@dataclass(frozen=True)
class Style:
    """The habits of one style: its metre, its accompaniment and what usually goes with it."""

    beats_per_bar: int
    figure: str
    chord_program: int
    tempos: tuple[str, ...]
    leads: tuple[str, ...]
    drums: tuple[str, ...]
    swing: bool = False


STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "ballad": Style(
            4,
            "arpeggio",
            0,
            ("slow", "medium"),
            ("piano", "flute", "strings", "acoustic guitar"),
            ("none", "soft"),
        ),
        "lo-fi": Style(
            4,
            "halves",
            4,
            ("slow", "medium"),
            ("piano", "acoustic guitar", "flute", "synth lead"),
            ("soft", "driving"),
            swing=True,
        ),
        "waltz": Style(
            3,
            "waltz",
            0,
            ("medium", "fast"),
            ("piano", "strings", "flute", "music box", "organ"),
            ("none", "soft"),
        ),
        "march": Style(
            4,
            "oompah",
            48,
            ("medium", "fast"),
            ("trumpet", "flute", "organ", "strings"),
            ("soft", "driving"),
        ),
        "dance": Style(
            4,
            "offbeat",
            4,
            ("fast",),
            ("synth lead", "piano", "organ", "trumpet"),
            ("driving",),
        ),
        "folk": Style(
            4,
            "strum",
            24,
            ("medium", "fast"),
            ("acoustic guitar", "flute", "trumpet"),
            ("none", "soft"),
        ),
        "lullaby": Style(3, "rocking", 48, ("slow",), ("music box", "piano", "flute"), ("none",)),
        "ambient": Style(
            4, "pad", 48, ("slow",), ("strings", "synth lead", "music box", "organ"), ("none",)
        ),
    }
)
STYLE_NAMES = tuple(STYLES)

# How often a value is drawn regardless of style, so that no attribute is foretold by another.
FREE_LEAD_SHARE = 0.4
FREE_DRUMS_SHARE = 0.4
FREE_TEMPO_SHARE = 0.35


def _require(name: str, given: Any, allowed: tuple[Any, ...]) -> None:
    if given not in allowed:
        raise RequestError(f"{name} must be one of {list(allowed)}, got {given!r}")


@dataclass(frozen=True)
class Attributes:
    """Everything that is decided about a clip before its notes are written."""

    style: str
    tempo: str
    mode: str
    lead: str
    tone: str
    density: str
    drums: str
    frames_per_beat: int
    root: int
    swing: bool

    def __post_init__(self) -> None:
        _require("style", self.style, STYLE_NAMES)
        _require("tempo", self.tempo, TEMPOS)
        _require("mode", self.mode, MODES)
        _require("lead", self.lead, LEADS)
        _require("tone", self.tone, TONES)
        _require("density", self.density, DENSITIES)
        _require("drums", self.drums, DRUMS)
        _require("root", self.root, ROOTS)
        _require(
            f"frames_per_beat of a {self.tempo} clip",
            self.frames_per_beat,
            FRAMES_PER_BEAT_OF_TEMPO[self.tempo],
        )

    @property
    def beats_per_minute(self) -> int:
        """Returns the tempo rounded to a whole number of beats per minute."""
        return round(60 * FRAME_RATE_HZ / self.frames_per_beat)

    def to_json(self) -> dict[str, Any]:
        """Returns the attributes as a mapping that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Attributes":
        """Returns the attributes that `to_json` wrote."""
        return cls(**fields)


def draw_attributes(rng: random.Random) -> Attributes:
    """Returns attributes that mostly follow a style's habits and sometimes cross them."""
    name = rng.choice(STYLE_NAMES)
    style = STYLES[name]
    tempo = rng.choice(TEMPOS if rng.random() < FREE_TEMPO_SHARE else style.tempos)
    return Attributes(
        style=name,
        tempo=tempo,
        mode=rng.choice(MODES),
        lead=rng.choice(LEADS if rng.random() < FREE_LEAD_SHARE else style.leads),
        tone=rng.choice(TONES),
        density=rng.choice(DENSITIES),
        drums=rng.choice(DRUMS if rng.random() < FREE_DRUMS_SHARE else style.drums),
        frames_per_beat=rng.choice(FRAMES_PER_BEAT_OF_TEMPO[tempo]),
        root=rng.choice(ROOTS),
        swing=style.swing,
    )


def draw_duration_s(attributes: Attributes, rng: random.Random) -> float:
    """Returns a length of 4 to 14 seconds; five seconds often, slow clips longer."""
    if rng.random() < 0.25:
        return 5.0
    low, high = {"slow": (6.5, 14.0), "medium": (4.0, 12.0), "fast": (4.0, 10.0)}[attributes.tempo]
    if rng.random() < 0.15:
        low = 4.0
    return round(rng.uniform(low, high) * 5) / 5
