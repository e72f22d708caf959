"""Short tunes and plainly damaged copies of them, and the noise that sets the volume. Pure."""

import enum
from dataclasses import dataclass
from functools import lru_cache
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
DURATION_S = 5.0
NOISE_DURATION_S = 8.0
NOISE_SEED = 23
NOISE_LUFS = -13.147
N_PEAKS = 160
PEAK_CEILING = 0.89  # -1 dBFS
LOWEST_HZ, HIGHEST_HZ = 50.0, 7_000.0


class Damage(enum.Enum):
    """What is wrong with the worse copy."""

    NOISE = "noise"
    GAPS = "gaps"
    WOBBLE = "wobble"


@dataclass(frozen=True)
class Tune:
    """Notes on a grid: semitones above A3, None for a rest, each `step_s` long.

    What both sounds measure by ITU-R BS.1770 stands beside them, since they never change and a
    meter takes a second to load; a test measures them again.
    """

    prompt: str
    notes: tuple[int | None, ...]
    bass: tuple[int, ...]
    step_s: float
    damage: Damage
    clean_lufs: float
    damaged_lufs: float


TUNES = (
    Tune(
        "a calm music box in a major key",
        (12, 16, 19, 16, 24, 19, 16, 12, 9, 12, 16, 12, 21, 16, 12, 9, 11, 14, 19, 14),
        (0, -3, 2),
        0.25,
        Damage.NOISE,
        clean_lufs=-12.81,
        damaged_lufs=-10.17,
    ),
    Tune(
        "a plucked guitar, gentle and slow",
        (3, 7, 10, 15, 10, 7, 5, 8, 12, 17, 12, 8, 3, 7, 10, 15),
        (-9, -7, -9),
        0.3125,
        Damage.GAPS,
        clean_lufs=-13.71,
        damaged_lufs=-15.74,
    ),
    Tune(
        "a bright toy piano, cheerful",
        (7, 7, 12, 12, 14, 14, 12, None, 11, 11, 9, 9, 7, 7, 4, None, 7, 9, 11, 12),
        (-5, 0, -5),
        0.25,
        Damage.WOBBLE,
        clean_lufs=-12.67,
        damaged_lufs=-12.58,
    ),
)
"""As many as a study may ask for."""


@dataclass(frozen=True)
class PracticeSounds:
    """A tune and its damaged copy, [N] each, and the gain in dB that plays each at the level."""

    clean: Waveform
    damaged: Waveform
    clean_gain_db: float
    damaged_gain_db: float


@lru_cache(maxsize=8)
def practice_sounds(number: int, level_lufs: float) -> PracticeSounds:
    """The sounds of practice pair `number`, counted from 0, both to be heard at one level."""
    if not 0 <= number < len(TUNES):
        raise ValueError(f"practice pair {number}: expected 0 to {len(TUNES) - 1}")
    tune = TUNES[number]
    clean = _at_peak(render(tune))
    damaged = _at_peak(damage(clean, tune.damage, np.random.default_rng(number)))
    return PracticeSounds(
        clean=clean,
        damaged=damaged,
        clean_gain_db=level_lufs - tune.clean_lufs,
        damaged_gain_db=level_lufs - tune.damaged_lufs,
    )


def render(tune: Tune) -> Waveform:
    """The tune as plucked notes over held bass notes, [N], about as loud as it comes."""
    n_samples = round(DURATION_S * SAMPLE_RATE_HZ)
    sound = np.zeros(n_samples)
    for index, note in enumerate(tune.notes):
        if note is not None:
            _add(sound, index * tune.step_s, _pluck(220.0 * 2 ** (note / 12), 1.1))
    bar_s = DURATION_S / len(tune.bass)
    for index, note in enumerate(tune.bass):
        _add(sound, index * bar_s, 0.8 * _pluck(110.0 * 2 ** (note / 12), bar_s))
    return sound * _fade(n_samples)


def damage(clean: Waveform, kind: Damage, rng: np.random.Generator) -> Waveform:
    """A copy that anyone hears to be worse, [N]."""
    n_samples = len(clean)
    at_s = np.arange(n_samples) / SAMPLE_RATE_HZ
    match kind:
        case Damage.NOISE:
            clipped = np.clip(clean * 8, -1, 1)
            hiss = 0.35 * rng.standard_normal(n_samples)
            return (0.6 * clipped + hiss) * _fade(n_samples)
        case Damage.GAPS:
            is_on = (at_s * 3.3) % 1.0 < 0.55
            n_ramp = round(0.004 * SAMPLE_RATE_HZ)
            gate = np.convolve(is_on, np.ones(n_ramp) / n_ramp, mode="same")
            return clean * gate
        case Damage.WOBBLE:
            wavering_s = at_s + 0.012 * np.sin(2 * np.pi * 2.6 * at_s)
            return np.interp(wavering_s, at_s, clean)
        case _:
            assert_never(kind)


@lru_cache(maxsize=2)
def volume_noise(level_lufs: float) -> Waveform:
    """Noise with equal power in each octave, as music has it, at the level of clips, [N].

    It ends as it begins, so that it can be repeated without a seam.
    """
    n_samples = round(NOISE_DURATION_S * SAMPLE_RATE_HZ)
    frequency_hz = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE_HZ)
    is_in = (frequency_hz >= LOWEST_HZ) & (frequency_hz <= HIGHEST_HZ)
    phases = np.random.default_rng(NOISE_SEED).uniform(0, 2 * np.pi, len(frequency_hz))
    weights = np.where(is_in, 1 / np.sqrt(np.maximum(frequency_hz, 1.0)), 0.0)
    noise = np.fft.irfft(weights * np.exp(1j * phases), n_samples)
    noise = noise / np.abs(noise).max()
    return noise * 10 ** ((level_lufs - NOISE_LUFS) / 20)


def outline(waveform: Waveform) -> list[float]:
    """The largest magnitude of each of 160 equal stretches."""
    return [round(float(np.abs(part).max()), 4) for part in np.array_split(waveform, N_PEAKS)]


def _pluck(frequency_hz: float, duration_s: float) -> Waveform:
    """A note whose higher harmonics die away first, [N]."""
    at_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    note = np.zeros(len(at_s))
    for harmonic in range(1, 7):
        if harmonic * frequency_hz < HIGHEST_HZ:
            decay = np.exp(-at_s * (2.2 + 1.6 * harmonic))
            note += decay * np.sin(2 * np.pi * harmonic * frequency_hz * at_s) / harmonic**1.3
    attack = np.minimum(1.0, at_s / 0.004)
    release = np.minimum(1.0, (duration_s - at_s) / 0.03)
    return note * attack * release


def _add(sound: Waveform, at_s: float, note: Waveform) -> None:
    first = round(at_s * SAMPLE_RATE_HZ)
    n_samples = min(len(note), len(sound) - first)
    if n_samples > 0:
        sound[first : first + n_samples] += note[:n_samples]


def _fade(n_samples: int) -> Waveform:
    """An envelope of one, with soft ends, [N]."""
    at_end_s = (n_samples - 1 - np.arange(n_samples)) / SAMPLE_RATE_HZ
    return np.minimum(1.0, at_end_s / 0.15)


def _at_peak(waveform: Waveform) -> Waveform:
    return waveform * (PEAK_CEILING / np.abs(waveform).max())
