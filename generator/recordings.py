"""Recordings that people bring: WAV, FLAC, OGG or MP3, read in blocks at the rate asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import firwin, resample_poly

from generator.errors import RequestError

RATES_HZ = (1000, 768_000)
BLOCK_S = 10.0
TAPS_PER_STEP = 10
"""Half the low-pass filter's length, in samples of the lower rate."""
KAISER_BETA = 5.0
FORMATS = "WAV, FLAC, OGG or MP3"

Block = NDArray[np.float32]
"""[C, n]"""


class Resampler:
    """Blocks [C, n] at one sample rate to blocks at another, as if all came at once."""

    def __init__(self, from_hz: int, to_hz: int, n_channels: int = 1) -> None:
        common = math.gcd(from_hz, to_hz)
        self.up, self.down = to_hz // common, from_hz // common
        highest = max(self.up, self.down)
        self._n_taps = 2 * TAPS_PER_STEP * highest + 1
        # In whole units of `down` samples, which become `up` samples.
        self._reach = math.ceil(TAPS_PER_STEP * highest / self.up / self.down) * self.down
        self._filter: NDArray[np.float64] | None = None
        self._kept: Block = np.zeros((n_channels, self._reach), np.float32)

    def push(self, block: Block) -> Block:
        """Returns what more samples complete, which may be nothing."""
        if self.up == self.down:
            return block
        self._kept = np.concatenate([self._kept, block], axis=1)
        n_ready = (self._kept.shape[1] - 2 * self._reach) // self.down * self.down
        return self._take(max(n_ready, 0))

    def finish(self) -> Block:
        """Returns what is left, silence taken to follow."""
        if self.up == self.down:
            return self._kept[:, :0]
        n_left = self._kept.shape[1] - self._reach
        padding = np.zeros((len(self._kept), self._reach + self.down), np.float32)
        self._kept = np.concatenate([self._kept, padding], axis=1)
        last = self._take(math.ceil(n_left / self.down) * self.down)
        return last[:, : math.ceil(n_left * self.up / self.down)]

    def _take(self, n_samples: int) -> Block:
        if n_samples == 0:
            return self._kept[:, :0]
        if self._filter is None:
            cutoff = 1 / max(self.up, self.down)
            self._filter = firwin(self._n_taps, cutoff, window=("kaiser", KAISER_BETA))
        window = self._kept[:, : n_samples + 2 * self._reach]
        made = resample_poly(window, self.up, self.down, axis=1, window=self._filter)
        first = self._reach * self.up // self.down
        self._kept = self._kept[:, n_samples:]
        taken: Block = made[:, first : first + n_samples * self.up // self.down]
        return taken.astype(np.float32)


def _mixed(block: Block, n_channels: int) -> Block:
    """Returns a block [n_channels, n]: all channels mixed to one, or the first two."""
    if n_channels == 1:
        return block.mean(axis=0, keepdims=True)
    return block[:2] if len(block) >= 2 else np.repeat(block, 2, axis=0)


def recording_blocks(
    path: Path, sample_rate_hz: int, n_channels: int = 1, block_s: float = BLOCK_S
) -> Iterator[Block]:
    """Yields a recording as blocks [n_channels, n]; RequestError where it cannot be read.

    A mono recording fills both channels of stereo; further channels are mixed in mono only.
    """
    if path.is_dir() or not path.exists():
        raise RequestError(
            f"{path} is {'a folder' if path.is_dir() else 'missing'}, not a recording"
        )
    try:
        with soundfile.SoundFile(path) as file:
            if not RATES_HZ[0] <= file.samplerate <= RATES_HZ[1]:
                raise RequestError(
                    f"{path} has {file.samplerate} samples a second, "
                    f"expected {RATES_HZ[0]} to {RATES_HZ[1]}"
                )
            resampler = Resampler(file.samplerate, sample_rate_hz, n_channels)
            n_asked, n_read = max(1, round(block_s * file.samplerate)), 0
            while len(samples := file.read(n_asked, dtype="float32", always_2d=True)):
                if not np.isfinite(samples).all():
                    where_s = n_read / file.samplerate
                    raise RequestError(f"{path} holds NaN or infinite samples after {where_s:g} s")
                n_read += len(samples)
                yield resampler.push(_mixed(samples.T, n_channels))
            if not n_read:
                raise RequestError(f"{path} holds no sound")
            if file.frames - n_read > file.samplerate and n_read < 0.99 * file.frames:
                raise RequestError(
                    f"{path} ends after {n_read / file.samplerate:.1f} s of "
                    f"{file.frames / file.samplerate:.1f} s: it is cut off"
                )
            yield resampler.finish()
    except soundfile.LibsndfileError as exc:
        raise RequestError(f"{path} is not readable as {FORMATS}: {exc.error_string}") from exc
    except OSError as exc:
        raise RequestError(f"{path} is not readable: {exc.strerror or exc}") from exc


def read_recording(path: Path, sample_rate_hz: int, most_s: float = 600.0) -> NDArray[np.float32]:
    """Returns a recording mixed to mono, [N]; RequestError where it is longer than most_s."""
    blocks, n_samples = [], 0
    for block in recording_blocks(path, sample_rate_hz):
        blocks.append(block[0])
        n_samples += block.shape[1]
        if n_samples > most_s * sample_rate_hz:
            raise RequestError(f"{path} is longer than {most_s:g} s")
    return np.concatenate(blocks)
