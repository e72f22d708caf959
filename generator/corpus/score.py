"""Notes of a clip on the frame grid, and the piano roll that the codec's training looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from generator.errors import RequestError

MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
MINOR_SCALE = (0, 2, 3, 5, 7, 8, 10)

KICK, RIM, SNARE, HAT = 36, 37, 38, 42


class Part(IntEnum):
    """Who plays a note."""

    LEAD = 0
    CHORDS = 1
    BASS = 2
    DRUMS = 3


@dataclass(frozen=True)
class Note:
    """One note: it sounds from frame `onset` up to, not including, frame `end`."""

    onset: int
    end: int
    part: Part
    key: int
    velocity: int

    def __post_init__(self) -> None:
        if not 0 <= self.onset < self.end:
            raise RequestError(f"a note must end after it starts, got {self.onset} to {self.end}")
        if not (0 <= self.key <= 127 and 1 <= self.velocity <= 127):
            raise RequestError(
                f"key must be 0 to 127 and velocity 1 to 127, got {self.key} and {self.velocity}"
            )

    def to_json(self) -> list[int]:
        """Returns [onset, end, part, key, velocity]."""
        return [self.onset, self.end, int(self.part), self.key, self.velocity]

    @classmethod
    def from_json(cls, fields: Sequence[int]) -> "Note":
        """Returns the note that `to_json` wrote."""
        onset, end, part, key, velocity = fields
        return cls(onset, end, Part(part), key, velocity)


@dataclass(frozen=True)
class Score:
    """The notes of a clip of `n_frames` frames, in order of onset."""

    notes: tuple[Note, ...]
    n_frames: int


# Rows of the roll: keys of lead, chords and bass, three drums, and the onsets of the lead.
_FIRST_KEY = {Part.LEAD: 45, Part.CHORDS: 40, Part.BASS: 33}
_N_KEYS = {Part.LEAD: 40, Part.CHORDS: 36, Part.BASS: 28}
_FIRST_ROW = {Part.LEAD: 0, Part.CHORDS: 40, Part.BASS: 76}
_DRUM_ROW = {KICK: 104, RIM: 105, SNARE: 105, HAT: 106}
_LEAD_ONSET_ROW = 107
N_ROLL_ROWS = 108
_DRUM_FRAMES = 2


def piano_roll(notes: Sequence[Note], n_frames: int) -> NDArray[np.uint8]:
    """Returns which rows sound in which frame, [108, n_frames] of zeros and ones."""
    roll = np.zeros((N_ROLL_ROWS, n_frames), np.uint8)
    for note in notes:
        if note.part is Part.DRUMS:
            roll[_DRUM_ROW[note.key], note.onset : note.onset + _DRUM_FRAMES] = 1
            continue
        key = min(max(note.key - _FIRST_KEY[note.part], 0), _N_KEYS[note.part] - 1)
        roll[_FIRST_ROW[note.part] + key, note.onset : note.end] = 1
        if note.part is Part.LEAD:
            roll[_LEAD_ONSET_ROW, note.onset : note.onset + 1] = 1
    return roll
