"""Practice pairs: a tune made here against a damaged copy of it, on sides drawn for each rater."""

from dataclasses import dataclass

from django.conf import settings
from django.utils.crypto import salted_hmac

from attune.raters.models import Rater
from attune.raters.practice_sounds import (
    DURATION_S,
    SAMPLE_RATE_HZ,
    TUNES,
    Damage,
    Waveform,
    outline,
    practice_sounds,
)
from attune.raters.wav import wav_bytes
from attune.ratings.choices import Choice, Side


@dataclass(frozen=True)
class PracticeSide:
    """One side as the player knows it."""

    gain_db: float
    duration_s: float
    peaks: list[float]
    waveform: Waveform

    def audio(self) -> bytes:
        """The sound as a WAV file; both sides' files are of one length."""
        return wav_bytes(self.waveform, SAMPLE_RATE_HZ)


@dataclass(frozen=True)
class PracticePair:
    """Practice pair `number`, counted from 0, as one rater hears it."""

    number: int
    prompt: str
    damage: Damage
    clean_side: Side
    sides: dict[Side, PracticeSide]


def practice_pair(rater: Rater, number: int) -> PracticePair:
    """The rater's practice pair; the same each time it is asked for."""
    sounds = practice_sounds(number, settings.ATTUNE_PLAYBACK_LUFS)
    side = clean_side(rater, number)
    clean = PracticeSide(sounds.clean_gain_db, DURATION_S, outline(sounds.clean), sounds.clean)
    damaged = PracticeSide(
        sounds.damaged_gain_db, DURATION_S, outline(sounds.damaged), sounds.damaged
    )
    return PracticePair(
        number=number,
        prompt=TUNES[number].prompt,
        damage=TUNES[number].damage,
        clean_side=side,
        sides={
            Side.A: clean if side is Side.A else damaged,
            Side.B: clean if side is Side.B else damaged,
        },
    )


def clean_side(rater: Rater, number: int) -> Side:
    """Which side plays the sound without damage: as good as a coin, and known to nobody else."""
    digest = salted_hmac("practice.sides", f"{rater.pseudonym} {number}").digest()
    return Side.A if digest[0] % 2 else Side.B


def is_expected(rater: Rater, number: int, choice: Choice | str) -> bool:
    """True if the answer prefers the side without damage."""
    return Choice(choice).value == clean_side(rater, number).value
