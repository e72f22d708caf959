"""Damage that anybody hears who listens, for copies of clips that check raters.

None of the kinds is a matter of taste, as a duller or a thinner sound would be: music that is
overdriven to a square wave, cut to pieces, as loud as its noise, or left with a few levels is
worse in every style.
"""

from typing import assert_never

import numpy as np
from numpy.typing import NDArray
from scipy.signal import stft

from attune.catalog.models import Damage
from workers.loudness import SILENCE_LUFS, SignalError, integrated_lufs

FEWEST_DB = 4.0
"""The least log-spectral distance of a copy that may be handed out."""

CLIPPING_LEVEL = 0.1
GAP_SPACING_S = 0.4
GAP_S = (0.15, 0.25)
GAP_EDGE_S = 0.002
NOISE_DB = 0.0
CRUSHING_STEP = 1.5
CRUSHED_RATE_HZ = 3000
FRAME = 1024
FLOOR_DB = 60.0

Waveform = NDArray[np.float32]


def damage_clip(waveform: Waveform, sample_rate_hz: int, damage: Damage, seed: int) -> Waveform:
    """Returns a damaged copy of a waveform, [N] or [2, N], of the same length and loudness.

    Loudness is matched by BS.1770 as far as full scale allows. SignalError for a silent clip, and
    where the copy differs too little to be heard for certain.
    """
    loudness_lufs = integrated_lufs(waveform, sample_rate_hz)
    if loudness_lufs is None:
        raise SignalError(f"expected a clip above {SILENCE_LUFS:g} LUFS to damage, got silence")
    rng = np.random.default_rng(seed)
    match damage:
        case Damage.CLIPPED:
            damaged = _clip_hard(waveform)
        case Damage.DROPOUTS:
            damaged = waveform * _gaps(waveform.shape[-1], sample_rate_hz, rng)
        case Damage.NOISE:
            noise = rng.standard_normal(waveform.shape, dtype=np.float32)
            damaged = waveform + noise * np.float32(_rms(waveform) * 10 ** (NOISE_DB / 20))
        case Damage.CRUSHED:
            damaged = _crush(waveform, sample_rate_hz)
        case _:
            assert_never(damage)
    damaged = _match_loudness(damaged, sample_rate_hz, loudness_lufs)
    distance_db = log_spectral_distance_db(waveform, damaged)
    if distance_db < FEWEST_DB:
        raise SignalError(
            f"expected {damage} to move the spectrum by {FEWEST_DB:g} dB, got {distance_db:.1f} dB"
        )
    return damaged


def log_spectral_distance_db(original: Waveform, other: Waveform) -> float:
    """Returns how far two waveforms of one shape, [N] or [2, N], are apart, in dB.

    Root mean square of the difference of the log power spectra over frequency, averaged over
    frames: Gray and Markel 1976, "Distance measures for speech processing", IEEE Trans. ASSP 24.
    What lies 60 dB below the original's strongest component counts as being there, so that
    inaudible remains weigh nothing.
    """
    powers = [np.abs(_spectra(waveform)) ** 2 for waveform in (original, other)]
    floor = powers[0].max() * 10 ** (-FLOOR_DB / 10)
    first_db, second_db = (10 * np.log10(np.maximum(power, floor)) for power in powers)
    by_frame = np.sqrt(np.mean((first_db - second_db) ** 2, axis=-2))
    return float(by_frame.mean())


def _spectra(waveform: Waveform) -> NDArray[np.complex128]:
    """Spectra [..., frequency, frame] of 1024 samples every 256."""
    _, _, spectra = stft(waveform.astype(np.float64), nperseg=FRAME, noverlap=FRAME * 3 // 4)
    return np.asarray(spectra)


def _clip_hard(waveform: Waveform) -> Waveform:
    """Cuts off all above a tenth of the effective value."""
    limit = CLIPPING_LEVEL * _rms(waveform)
    return np.clip(waveform, -limit, limit)


def _gaps(n_samples: int, sample_rate_hz: int, rng: np.random.Generator) -> Waveform:
    """A gain [N] that falls to 0 for 150 to 250 ms once in every 400 ms, with edges of 2 ms."""
    gain = np.ones(n_samples, dtype=np.float32)
    n_spacing = round(GAP_SPACING_S * sample_rate_hz)
    n_edge = max(1, round(GAP_EDGE_S * sample_rate_hz))
    for start in range(0, n_samples, n_spacing):
        n_gap = round(rng.uniform(*GAP_S) * sample_rate_hz)
        at = start + int(rng.integers(0, n_spacing - n_gap))
        gain[at : at + n_gap] = 0.0
    edge = np.ones(n_edge, dtype=np.float32) / n_edge
    return np.convolve(gain, edge, mode="same").astype(np.float32)


def _crush(waveform: Waveform, sample_rate_hz: int) -> Waveform:
    """Holds every few samples and rounds them to steps of one and a half effective values."""
    hold = max(2, round(sample_rate_hz / CRUSHED_RATE_HZ))
    n_samples = waveform.shape[-1]
    held = np.repeat(waveform[..., ::hold], hold, axis=-1)[..., :n_samples]
    step = CRUSHING_STEP * _rms(waveform)
    return (np.floor(held / step) + 0.5) * step


def _rms(waveform: Waveform) -> float:
    """The effective value over all samples and channels."""
    return float(np.sqrt(np.mean(waveform.astype(np.float64) ** 2)))


def _match_loudness(damaged: Waveform, sample_rate_hz: int, loudness_lufs: float) -> Waveform:
    """The copy at the loudness of its original, quieter where it would pass full scale."""
    found_lufs = integrated_lufs(damaged, sample_rate_hz)
    if found_lufs is None:
        raise SignalError("nothing is left of the clip after the damage")
    gain = 10 ** ((loudness_lufs - found_lufs) / 20)
    gain = min(gain, 1.0 / float(np.abs(damaged).max()))
    return (damaged * gain).astype(np.float32)
