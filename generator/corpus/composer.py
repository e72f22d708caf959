"""Notes for given attributes: sections A A' B A, a cadence, and a last chord that rings out."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from generator.corpus.accompaniment import bass_line, chord_strikes, drum_hits, lead_voices
from generator.corpus.attributes import FRAME_RATE_HZ, STYLES, Attributes
from generator.corpus.score import KICK, MAJOR_SCALE, MINOR_SCALE, Note, Part, Score
from generator.errors import RequestError

MIN_DURATION_S, MAX_DURATION_S = 3.0, 30.0
RING_FRAMES = 6  # silence of the players before the end, so that the last chord dies away
MIN_LAST_CHORD_FRAMES = 20
LOWEST_DEGREE, HIGHEST_DEGREE = 3, 12
TONIC = 7
MIN_FRAMES_OF_LONG_BEAT = 16

_PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 0, 4), (0, 3, 4, 4), (0, 2, 3, 4)),
    "minor": ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 4), (0, 5, 3, 4), (0, 3, 6, 4)),
}
_CADENCE = {"major": (4, 4, 3), "minor": (4, 6, 3)}
_STEPS = (-1, 1, 1, -1, 2, -2, 0)

# Lengths, in beats, of the lead's notes in a bar, by the bar's beats.
_Cells = Mapping[int, tuple[tuple[float, ...], ...]]

_SPARSE: _Cells = {
    3: ((3.0,), (3.0,), (2.0, 1.0)),
    4: ((2.0, 2.0), (2.0, 2.0), (4.0,)),
}
_SPARSE_SLOW: _Cells = {
    3: ((2.0, 1.0), (3.0,), (1.0, 2.0)),
    4: ((2.0, 1.0, 1.0), (2.0, 2.0), (3.0, 1.0)),
}
_DENSE: _Cells = {
    3: ((0.5,) * 6, (1.0, 0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5, 1.0)),
    4: (
        (0.5,) * 8,
        (1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5),
        (0.5, 0.5, 1.0, 0.5, 0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5, 0.5, 1.0, 0.5, 0.5),
    ),
}
_DENSE_LONG: _Cells = {
    3: (
        (0.5, 0.25, 0.25, 0.5, 0.25, 0.25, 0.5, 0.5),
        (0.25, 0.25, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5),
        (0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.5, 0.5),
    ),
    4: (
        (0.5, 0.25, 0.25, 0.5, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5),
        (0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.5),
        (0.25, 0.25, 0.5, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5, 0.5),
    ),
}


def has_long_beat(attributes: Attributes) -> bool:
    """Returns whether a quarter of a beat is long enough to be a note of its own."""
    return attributes.frames_per_beat >= MIN_FRAMES_OF_LONG_BEAT and not attributes.swing


def rhythm_cells(attributes: Attributes) -> tuple[tuple[float, ...], ...]:
    """Returns the bars of lead rhythm, in beats, that suit the density and the tempo."""
    if attributes.density == "sparse":
        cells = _SPARSE_SLOW if attributes.tempo == "slow" else _SPARSE
    else:
        cells = _DENSE_LONG if has_long_beat(attributes) else _DENSE
    return cells[STYLES[attributes.style].beats_per_bar]


@dataclass(frozen=True)
class _Grid:
    """Where bars and beats fall, in frames, and where the last chord begins and ends."""

    frames_per_beat: int
    beats_per_bar: int
    swing: bool
    last_chord: int
    end: int

    @property
    def n_bars(self) -> int:
        """Returns how many bars begin before the last chord."""
        bar = self.frames_per_beat * self.beats_per_bar
        return -(-self.last_chord // bar)

    def frame(self, bar: int, beat: float) -> int:
        """Returns the frame of a beat; an off-beat that swings falls on two thirds.

        What is no whole frame moves to the nearest, 20 ms at most.
        """
        whole = int(beat)
        part = beat - whole
        if self.swing and part == 0.5:
            part = 2 / 3
        beats = bar * self.beats_per_bar + whole
        return beats * self.frames_per_beat + round(part * self.frames_per_beat)


def _grid(attributes: Attributes, n_frames: int) -> _Grid:
    beats_per_bar = STYLES[attributes.style].beats_per_bar
    frames_per_beat = attributes.frames_per_beat
    unit = frames_per_beat * (2 if beats_per_bar == 4 else 3)
    room = n_frames - max(MIN_LAST_CHORD_FRAMES, round(1.25 * frames_per_beat))
    last_chord = max(1, room // unit) * unit
    return _Grid(
        frames_per_beat, beats_per_bar, attributes.swing, last_chord, n_frames - RING_FRAMES
    )


def _harmony(n_bars: int, mode: str, rng: random.Random) -> list[int]:
    """Returns the scale degree (from 0) of each bar's chord, a cadence at the end."""
    progression = rng.choice(_PROGRESSIONS[mode])
    chords = [progression[bar % 4] for bar in range(n_bars)]
    cadence = rng.choice(_CADENCE[mode])
    if n_bars > 1:
        chords[-1] = cadence
    return chords


def _nearest(degrees: Sequence[int], target: int) -> int:
    return min(degrees, key=lambda degree: (abs(degree - target), degree))


class _Writer:
    """Collects the notes of one clip; what would pass the last chord is cut there."""

    def __init__(self, attributes: Attributes, grid: _Grid) -> None:
        self.attributes = attributes
        self.grid = grid
        self.notes: list[Note] = []
        self._scale = MAJOR_SCALE if attributes.mode == "major" else MINOR_SCALE

    def key(self, degree: int) -> int:
        """Returns the key of a scale degree, counted from the root."""
        return self.attributes.root + 12 * (degree // 7) + self._scale[degree % 7]

    def bass_key(self, degree: int) -> int:
        """Returns the key of a scale degree in the octave of the bass."""
        return 36 + self.key(degree) % 12

    def chord(self, degree: int, previous: Sequence[int]) -> list[int]:
        """Returns the keys of the triad on a degree, led from the chord before."""
        return lead_voices([self.key(degree + step) % 12 for step in (0, 2, 4)], previous)

    def add(
        self, part: Part, bar: int, beat: float, length: float, *, key: int, velocity: int
    ) -> None:
        """Adds a note that starts on a beat of a bar and lasts `length` beats."""
        grid = self.grid
        onset = grid.frame(bar, beat)
        if onset >= grid.last_chord:
            return
        end = min(onset + round(length * grid.frames_per_beat), grid.last_chord)
        if (beat + length) % 0.5 == 0:
            end = min(grid.frame(bar, beat + length), grid.last_chord)
        self.notes.append(Note(onset, max(end, onset + 1), part, key, velocity))

    def add_last(self, part: Part, key: int, velocity: int, end: int | None = None) -> None:
        """Adds a note of the last chord."""
        grid = self.grid
        self.notes.append(Note(grid.last_chord, end or grid.end, part, key, velocity))


def _write_lead(writer: _Writer, chords: Sequence[int], rng: random.Random) -> None:
    cells = rhythm_cells(writer.attributes)

    def motif() -> tuple[tuple[float, ...], list[int]]:
        return rng.choice(cells), [rng.choice(_STEPS) for _ in range(10)]

    first, second, contrast = motif(), motif(), motif()
    bars_per_section = 1 if len(chords) <= 4 else 2
    sections = ("A", "A'", "B", "A")
    openings: dict[tuple[str, int], int] = {}
    degree = TONIC
    for bar, chord in enumerate(chords):
        section = sections[(bar // bars_per_section) % 4]
        place = bar % bars_per_section
        rhythm, steps = contrast if section == "B" else (first if place == 0 else second)
        tones = [
            tone
            for tone in (chord, chord + 2, chord + 4, chord + 7, chord + 9, chord + 11)
            if LOWEST_DEGREE <= tone <= HIGHEST_DEGREE
        ]
        wanted = openings.get((section[0], place), degree + (2 if section == "B" else 0))
        degree = _nearest(tones, wanted)
        openings.setdefault((section[0], place), degree)
        beat = 0.0
        for index, length in enumerate(rhythm):
            if index:
                degree = min(max(degree + steps[index % len(steps)], LOWEST_DEGREE), HIGHEST_DEGREE)
                if beat.is_integer() and int(beat) % 2 == 0:
                    degree = _nearest(tones, degree)
                if section == "A'" and index == len(rhythm) - 1:
                    degree = _nearest(tones, degree - 1)
            velocity = 108 if beat == 0 else 98
            key = writer.key(degree)
            writer.add(Part.LEAD, bar, beat, length, key=key, velocity=velocity)
            beat += length
    writer.add_last(Part.LEAD, writer.key(TONIC), 104)


def _write_accompaniment(writer: _Writer, chords: Sequence[int]) -> None:
    attributes = writer.attributes
    style = STYLES[attributes.style]
    figure = chord_strikes(style.figure, attributes.density, has_long_beat(attributes))
    bass = bass_line(style.beats_per_bar, attributes.density)
    hits = drum_hits(style.beats_per_bar, attributes.drums, attributes.density)
    keys = [60, 64, 67]
    for bar, chord in enumerate(chords):
        keys = writer.chord(chord, keys)
        for strike in figure:
            for voice in strike.voices:
                writer.add(
                    Part.CHORDS, bar, strike.beat, strike.length, key=keys[voice], velocity=74
                )
        for beat, length, is_fifth in bass:
            key = writer.bass_key(chord + 4 if is_fifth else chord)
            writer.add(Part.BASS, bar, beat, length, key=key, velocity=94)
        for beat, key, velocity in hits:
            writer.add(Part.DRUMS, bar, beat, 0.1, key=key, velocity=velocity)
    for key in writer.chord(0, keys):
        writer.add_last(Part.CHORDS, key, 70)
    writer.add_last(Part.BASS, writer.bass_key(0), 94)
    if hits:
        velocity = hits[0][2]
        writer.add_last(Part.DRUMS, KICK, velocity, writer.grid.last_chord + 2)


def compose(attributes: Attributes, duration_s: float, rng: random.Random) -> Score:
    """Returns the notes of a clip of exactly `duration_s` seconds, rounded to a frame."""
    if not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
        raise RequestError(
            f"duration_s must be {MIN_DURATION_S} to {MAX_DURATION_S}, got {duration_s}"
        )
    n_frames = round(duration_s * FRAME_RATE_HZ)
    grid = _grid(attributes, n_frames)
    writer = _Writer(attributes, grid)
    chords = _harmony(grid.n_bars, attributes.mode, rng)
    _write_lead(writer, chords, rng)
    _write_accompaniment(writer, chords)
    notes = sorted(writer.notes, key=lambda note: (note.onset, note.part, note.key))
    return Score(tuple(notes), n_frames)
