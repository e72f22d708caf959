"""Sounds of the headphone checks, as waveforms [2, N] with values in -1..1.

Both checks ask a question that is easy over headphones and hard over loudspeakers, where the
signals of the two channels mix in the air before they reach the ears.
"""

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
INTERVAL_S = 1.0
PITCH_HZ = 600.0
PITCH_HALF_WIDTH = 0.06
"""The band reaches 6% below and above its centre: 564 to 636 Hz."""
PITCH_GAP_S = 0.3
PITCH_EDGE_S = 0.03
TONE_HZ = 200.0
TONE_GAP_S = 0.3
TONE_EDGE_S = 0.1
QUIETER_DB = -6.0


def huggins_trial(answer: int, rng: np.random.Generator, *, level_dbfs: float = -23.0) -> Waveform:
    """Three bursts of noise, [2, N]; the one numbered `answer` holds a Huggins pitch.

    Milne et al. 2021 (Behav Res Methods 53), after Cramer and Huggins 1958: the same noise in
    both ears, but for one narrow band that is turned by 180 degrees in one ear. Each ear by
    itself hears plain noise; both together hear a faint tone at the band.
    """
    bursts = [_burst(rng, has_pitch=number == answer, level_dbfs=level_dbfs) for number in range(3)]
    return _in_a_row(bursts, PITCH_GAP_S)


def antiphase_trial(
    answer: int, rng: np.random.Generator, *, level_dbfs: float = -23.0
) -> Waveform:
    """Three tones, [2, N]; the one numbered `answer` is 6 dB quieter than the others.

    Woods et al. 2017 (Atten Percept Psychophys 79): one of the two loud tones is turned by 180
    degrees in one ear. Loudspeakers cancel it in the air, so that it seems the quietest there.
    """
    louder = [number for number in range(3) if number != answer]
    turned = louder[int(rng.integers(2))]
    tones = []
    for number in range(3):
        level = level_dbfs + (QUIETER_DB if number == answer else 0.0)
        tone = _tone(level)
        tones.append(np.stack([tone, -tone if number == turned else tone]))
    return _in_a_row(tones, TONE_GAP_S)


def _burst(rng: np.random.Generator, *, has_pitch: bool, level_dbfs: float) -> Waveform:
    """One second of noise of an exact level, [2, N]."""
    n_samples = round(INTERVAL_S * SAMPLE_RATE_HZ)
    left = rng.standard_normal(n_samples)
    right = left
    if has_pitch:
        spectrum = np.fft.rfft(left)
        frequency_hz = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE_HZ)
        spectrum[np.abs(frequency_hz - PITCH_HZ) <= PITCH_HALF_WIDTH * PITCH_HZ] *= -1
        right = np.fft.irfft(spectrum, n_samples)
    # The ear with the turned band is drawn, so that neither ear is special.
    ears = [left, right] if rng.integers(2) else [right, left]
    burst = np.stack(ears) * _edges(n_samples, PITCH_EDGE_S)
    # One factor for both ears: a factor each would change the difference between them.
    return burst * (10 ** (level_dbfs / 20) / np.sqrt(np.mean(burst**2)))


def _tone(level_dbfs: float) -> Waveform:
    """One second of a sine of a level, that of its middle part, [N]."""
    n_samples = round(INTERVAL_S * SAMPLE_RATE_HZ)
    at_s = np.arange(n_samples) / SAMPLE_RATE_HZ
    amplitude = np.sqrt(2) * 10 ** (level_dbfs / 20)
    tone: Waveform = amplitude * np.sin(2 * np.pi * TONE_HZ * at_s)
    return tone * _edges(n_samples, TONE_EDGE_S)


def _edges(n_samples: int, edge_s: float) -> Waveform:
    """An envelope that rises and falls along half a cosine, [N]."""
    n_edge = round(edge_s * SAMPLE_RATE_HZ)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n_edge) + 0.5) / n_edge)
    envelope = np.ones(n_samples)
    envelope[:n_edge] = rise
    envelope[-n_edge:] = rise[::-1]
    return envelope


def _in_a_row(intervals: list[Waveform], gap_s: float) -> Waveform:
    gap = np.zeros((2, round(gap_s * SAMPLE_RATE_HZ)))
    parts = [intervals[0]]
    for interval in intervals[1:]:
        parts += [gap, interval]
    return np.concatenate(parts, axis=1)
