"""Chords, bass and drums of one bar, as strikes counted in beats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from generator.corpus.score import HAT, KICK, RIM, SNARE

ALL_VOICES = (0, 1, 2)


@dataclass(frozen=True)
class Strike:
    """Voices of a chord (0 lowest) that sound `length` beats from `beat` of the bar on."""

    beat: float
    length: float
    voices: tuple[int, ...] = ALL_VOICES


def _at(beats: Sequence[float], length: float) -> tuple[Strike, ...]:
    return tuple(Strike(beat, length) for beat in beats)


def _broken(order: Sequence[int], length: float) -> tuple[Strike, ...]:
    return tuple(Strike(i * length, length, (voice,)) for i, voice in enumerate(order))


FIGURES: Mapping[tuple[str, str], tuple[Strike, ...]] = MappingProxyType(
    {
        ("arpeggio", "sparse"): _at((0, 2), 2),
        ("arpeggio", "dense"): _broken((0, 1, 2, 1, 0, 1, 2, 1), 0.5),
        ("halves", "sparse"): _at((0,), 4),
        ("halves", "dense"): _at((0, 1, 2, 3), 0.9),
        ("waltz", "sparse"): _at((1,), 2),
        ("waltz", "dense"): _at((1, 1.5, 2, 2.5), 0.45),
        ("oompah", "sparse"): _at((2,), 1),
        ("oompah", "dense"): _at((1, 1.5, 3, 3.5), 0.45),
        ("offbeat", "sparse"): _at((2,), 1.5),
        ("offbeat", "dense"): _at((0.5, 1.5, 2.5, 3.5), 0.4),
        ("strum", "sparse"): _at((0,), 4),
        ("strum", "dense"): (*_at((0, 2), 0.95), *_at((1, 1.5, 3, 3.5), 0.45)),
        ("rocking", "sparse"): _at((0,), 3),
        ("rocking", "dense"): _broken((0, 1, 2, 1, 2, 1), 0.5),
        ("pad", "sparse"): _at((0,), 4),
        ("pad", "dense"): (Strike(0, 4, (0,)), *_broken((1, 2, 1, 2, 1, 2, 1, 2), 0.5)),
    }
)


# What replaces a dense figure where the beat is long and straight: twice the notes.
_BUSY_FIGURES: Mapping[str, tuple[Strike, ...]] = MappingProxyType(
    {
        "arpeggio": _broken((0, 1, 2, 1) * 4, 0.25),
        "halves": _at((0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5), 0.45),
        "rocking": _broken((0, 1, 2, 1) * 3, 0.25),
        "pad": (Strike(0, 4, (0,)), *_broken((1, 2) * 8, 0.25)),
    }
)


def chord_strikes(figure: str, density: str, long_beat: bool) -> tuple[Strike, ...]:
    """Returns the strikes of the chords in a bar."""
    if density == "dense" and long_beat and figure in _BUSY_FIGURES:
        return _BUSY_FIGURES[figure]
    return FIGURES[figure, density]


def bass_line(beats_per_bar: int, density: str) -> tuple[tuple[float, float, bool], ...]:
    """Returns (beat, length, whether it is the fifth) of the bass notes of a bar."""
    if density == "sparse":
        return ((0, beats_per_bar, False),)
    if beats_per_bar == 3:
        return ((0, 0.9, False), (2, 0.9, True))
    return ((0, 0.9, False), (1, 0.9, False), (2, 0.9, True), (3, 0.9, True))


def drum_hits(beats_per_bar: int, drums: str, density: str) -> tuple[tuple[float, int, int], ...]:
    """Returns (beat, key, velocity) of the drum hits of a bar."""
    if drums == "none":
        return ()
    driving = drums == "driving"
    kick, snare, hat = (112, 104, 84) if driving else (80, 72, 54)
    backbeat = SNARE if driving else RIM
    if beats_per_bar == 3:
        hits = [(0.0, KICK, kick), (2.0, backbeat, snare)]
        if driving:
            hits.append((1.0, backbeat, snare))
    elif driving:
        hits = [(0.0, KICK, kick), (2.0, KICK, kick), (1.0, SNARE, snare), (3.0, SNARE, snare)]
    else:
        hits = [(0.0, KICK, kick), (2.0, RIM, snare)]
    if density == "dense":
        hits += [(beat / 2, HAT, hat) for beat in range(2 * beats_per_bar)]
        if beats_per_bar == 4 and driving:
            hits += [(1.0, KICK, kick), (3.0, KICK, kick)]
    return tuple(hits)


def lead_voices(pitch_classes: Sequence[int], previous: Sequence[int]) -> list[int]:
    """Returns the triad's keys, low to high, nearest to the chord before them."""

    def cost(keys: list[int]) -> float:
        ordered = sorted(keys)
        moved = sum(abs(a - b) for a, b in zip(ordered, previous, strict=True))
        spread = 20 if ordered[-1] - ordered[0] > 12 else 0
        outside = 8 * (ordered[0] < 50) + 8 * (ordered[-1] > 68)
        return moved + spread + outside

    voicings: list[list[int]] = [
        [
            pitch_class + 12 * octave
            for pitch_class, octave in zip(pitch_classes, octaves, strict=True)
        ]
        for octaves in product((4, 5), repeat=3)
    ]
    return min(map(sorted, voicings), key=cost)
