"""Pairs that can be heard: WAV files of tones, stored and measured as the workers do it."""

import hashlib
import io
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attune.catalog.models import Checkpoint, Clip, ClipStatus, Prompt
from attune.catalog.storage import clip_audio_file, clip_codes_file, media_file, write_atomically
from attune.ratings.choices import PairPurpose
from attune.ratings.models import Pair, Study

SAMPLE_RATE_HZ = 16_000
N_PEAKS = 160


@dataclass(frozen=True)
class Tone:
    """A clip's sound: a swelling tone with some noise."""

    frequency_hz: float
    duration_s: float
    amplitude: float = 0.4

    def samples(self, seed: int) -> NDArray[np.float64]:
        """[T], -1 to 1, the same for the same seed."""
        rng = np.random.default_rng(seed)
        at_s = np.arange(int(self.duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        swell = 0.35 + 0.65 * np.abs(np.sin(2 * np.pi * at_s * rng.uniform(0.15, 0.4)))
        swell *= 1 + 0.25 * np.sin(2 * np.pi * 3.1 * at_s + rng.uniform(0, 6))
        tone = np.sin(2 * np.pi * self.frequency_hz * at_s)
        noise = rng.normal(0, 0.05, at_s.shape)
        return np.clip(self.amplitude * swell * (tone + noise), -1, 1)


def wav_bytes(samples: NDArray[np.float64]) -> bytes:
    """The samples as a 16-bit mono WAV file."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((samples * 32_767).astype("<i2").tobytes())
    return stream.getvalue()


def peaks_of(samples: NDArray[np.float64]) -> list[float]:
    """The outline: the largest absolute value of each of 160 equal stretches."""
    return [round(float(np.abs(part).max()), 4) for part in np.array_split(samples, N_PEAKS)]


def make_audible_clip(prompt: Prompt, checkpoint: Checkpoint, tone: Tone, *, seed: int) -> Clip:
    """A ready clip whose WAV file exists."""
    samples = tone.samples(seed)
    audio = wav_bytes(samples)
    clip = Clip(
        prompt=prompt,
        checkpoint=checkpoint,
        requested_duration_s=tone.duration_s,
        seed=seed,
        status=ClipStatus.READY,
        codes_sha256=hashlib.sha256(f"codes {seed}".encode()).hexdigest(),
        audio_sha256=hashlib.sha256(audio).hexdigest(),
        duration_s=tone.duration_s,
        sample_rate_hz=SAMPLE_RATE_HZ,
        loudness_lufs=-20.0,
        gain_db=-3.0,
        peaks=peaks_of(samples),
    )
    clip.codes_path = clip_codes_file(clip.pk)
    clip.audio_path = clip_audio_file(clip.pk)
    write_atomically(media_file(clip.audio_path), audio)
    clip.save()
    return clip


def make_audible_pair(
    study: Study, prompt: Prompt, checkpoints: tuple[Checkpoint, Checkpoint], *, seed: int
) -> Pair:
    """A ready pair of the study that can be heard."""
    clips = [
        make_audible_clip(
            prompt, checkpoint, Tone(220.0 * (1 + i / 3), study.clip_duration_s), seed=seed + i
        )
        for i, checkpoint in enumerate(checkpoints)
    ]
    is_training = checkpoints[0] == checkpoints[1]
    return Pair.objects.create(
        study=study,
        prompt=prompt,
        purpose=PairPurpose.TRAINING if is_training else PairPurpose.JUDGING,
        first_clip=clips[0],
        second_clip=clips[1],
        first_checkpoint=checkpoints[0],
        second_checkpoint=checkpoints[1],
        is_ready=True,
    )
