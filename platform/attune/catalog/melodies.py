"""What an uploaded recording is, read from its bytes alone: format, length, whether it sounds.

Neither the name of a file nor the media type it was sent with is believed.
"""

import hashlib
import io
import struct
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import numpy as np
import soundfile

from attune.catalog.errors import MelodyError

MAXIMUM_BYTES = 25_000_000
DURATIONS_S = (1.0, 600.0)
SAMPLE_RATES_HZ = (8_000, 192_000)
MAXIMUM_CHANNELS = 2
QUIETEST_PEAK = 1e-3
"""-60 dB of full scale: below it a recording counts as silent."""
COMPLETE_SHARE = 0.99
"""Encoders count a frame more or less; a file with less sound than this was cut off."""
BLOCK_SAMPLES = 2**18
STREAMED_BYTES = 0xFFFF_FFF0
"""Chunk sizes from here on are left by programs that did not know how much would follow."""
ALLOWED = "expected WAV, FLAC, OGG or MP3"


class MelodyFormat(StrEnum):
    """How a recording is stored; the value ends its file's name."""

    WAV = "wav"
    FLAC = "flac"
    OGG = "ogg"
    MP3 = "mp3"


MEDIA_TYPES = {
    MelodyFormat.WAV: "audio/wav",
    MelodyFormat.FLAC: "audio/flac",
    MelodyFormat.OGG: "audio/ogg",
    MelodyFormat.MP3: "audio/mpeg",
}
# The names that libsndfile gives to containers; WAVEX is the header of WAV beyond 16 bits.
FORMATS = {
    "WAV": MelodyFormat.WAV,
    "WAVEX": MelodyFormat.WAV,
    "FLAC": MelodyFormat.FLAC,
    "OGG": MelodyFormat.OGG,
    "MP3": MelodyFormat.MP3,
}


@dataclass(frozen=True)
class Recording:
    """A recording that can be followed."""

    sha256: str
    format: MelodyFormat
    duration_s: float
    sample_rate_hz: int


def check_size(n_bytes: int) -> None:
    """Raises MelodyError unless a file of this size may hold a recording."""
    if n_bytes == 0:
        raise MelodyError(f"the file is empty: {ALLOWED}")
    if n_bytes > MAXIMUM_BYTES:
        raise MelodyError(
            f"the file has {n_bytes / 1e6:.1f} MB: expected at most {MAXIMUM_BYTES / 1e6:g} MB"
        )


def inspect_recording(content: bytes) -> Recording:
    """The recording that a file's bytes hold, decoded to its end; MelodyError where none is."""
    check_size(len(content))
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            found = FORMATS.get(file.format)
            if found is None:
                raise MelodyError(f"the file is {file.format_info}: {ALLOWED}")
            _check_shape(file)
            if _is_cut_off(content, found):
                raise MelodyError("the recording is cut off: its end is missing")
            n_samples = _count_samples(file)
            return Recording(
                sha256=hashlib.sha256(content).hexdigest(),
                format=found,
                duration_s=n_samples / file.samplerate,
                sample_rate_hz=file.samplerate,
            )
    except soundfile.LibsndfileError as exc:
        reason = exc.error_string.removeprefix("Error :").strip().rstrip(".")
        raise MelodyError(f"the file is no recording, or damaged ({reason}): {ALLOWED}") from exc


def _check_shape(file: soundfile.SoundFile) -> None:
    """Raises MelodyError unless the stated rate, channels and length are allowed."""
    lowest_hz, highest_hz = SAMPLE_RATES_HZ
    if not lowest_hz <= file.samplerate <= highest_hz:
        raise MelodyError(
            f"the recording has {file.samplerate} samples a second: "
            f"expected {lowest_hz} to {highest_hz}"
        )
    if file.channels > MAXIMUM_CHANNELS:
        raise MelodyError(
            f"the recording has {file.channels} channels: expected 1 to {MAXIMUM_CHANNELS}"
        )
    if file.frames > DURATIONS_S[1] * file.samplerate:
        raise _wrong_length(file.frames / file.samplerate)


def _count_samples(file: soundfile.SoundFile) -> int:
    """How many samples of each channel can be decoded; MelodyError where they cannot be used."""
    n_samples, peak = 0, 0.0
    longest = DURATIONS_S[1] * file.samplerate
    while len(block := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
        if not np.isfinite(block).all():
            raise MelodyError("the recording holds samples that are no numbers")
        peak = max(peak, float(np.abs(block).max()))
        n_samples += len(block)
        if n_samples > longest:
            raise _wrong_length(n_samples / file.samplerate)
    if n_samples < COMPLETE_SHARE * file.frames:
        raise MelodyError(
            f"the recording is cut off after {n_samples / file.samplerate:.1f} s "
            f"of {file.frames / file.samplerate:.1f} s"
        )
    if n_samples < DURATIONS_S[0] * file.samplerate:
        raise _wrong_length(n_samples / file.samplerate)
    if peak < QUIETEST_PEAK:
        raise MelodyError("the recording is silent: there is no tune to follow")
    return n_samples


def _wrong_length(duration_s: float) -> MelodyError:
    shortest, longest = DURATIONS_S
    return MelodyError(
        f"the recording lasts {duration_s:.1f} s: expected {shortest:g} to {longest:g} s"
    )


def _is_cut_off(content: bytes, found: MelodyFormat) -> bool:
    """Whether a container that tells its end lacks it; libsndfile reads those to where they stop.

    FLAC and MP3 state their length, which is held against what could be decoded.
    """
    match found:
        case MelodyFormat.WAV:
            return _lacks_wave_data(content)
        case MelodyFormat.OGG:
            return _lacks_last_page(content)
        case MelodyFormat.FLAC | MelodyFormat.MP3:
            return False
        case _:
            assert_never(found)


def _lacks_wave_data(content: bytes) -> bool:
    """Whether the data chunk of a RIFF file is longer than the file."""
    at, order = 12, ">" if content[:4] == b"RIFX" else "<"
    while at + 8 <= len(content):
        name, size = struct.unpack(f"{order}4sI", content[at : at + 8])
        if name == b"data":
            return size < STREAMED_BYTES and at + 8 + size > len(content)
        at += 8 + size + size % 2
    return True


def _lacks_last_page(content: bytes) -> bool:
    """Whether the last page of an Ogg file is not marked as the end of its stream (RFC 3533)."""
    at = content.rfind(b"OggS")
    header = content[at : at + 27]
    if at < 0 or len(header) < 27:
        return True
    lengths = content[at + 27 : at + 27 + header[26]]
    is_whole = len(lengths) == header[26] and at + 27 + header[26] + sum(lengths) <= len(content)
    return not (is_whole and header[5] & 4)
