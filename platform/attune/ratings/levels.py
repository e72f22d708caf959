"""Playback gains of the two clips of a pair, so that neither wins by being louder."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """A clip's measured loudness (None for silence) and the gain stored with it."""

    loudness_lufs: float | None
    gain_db: float


def pair_gains_db(first: Level, second: Level) -> tuple[float, float]:
    """Gains that bring both clips to one loudness: that of the quieter one as stored.

    A stored gain may be held back by a clip's true peak; then the other is turned down to
    match, never this one up. A silent clip has no loudness to match: both keep their gains.
    """
    if first.loudness_lufs is None or second.loudness_lufs is None:
        return first.gain_db, second.gain_db
    target_lufs = min(first.loudness_lufs + first.gain_db, second.loudness_lufs + second.gain_db)
    return target_lufs - first.loudness_lufs, target_lufs - second.loudness_lufs
