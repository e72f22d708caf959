"""Waveforms for codec tests: scores played by plain oscillators, so that no soundfont is needed."""

import random

import numpy as np
from numpy.typing import NDArray

from generator.audio import to_int16
from generator.codec.model import CodecConfig
from generator.corpus.attributes import draw_attributes
from generator.corpus.captions import write_caption
from generator.corpus.composer import compose
from generator.corpus.score import Part, Score
from generator.corpus.storage import Corpus, CorpusClip

RATE_HZ = 16000
FRAME = 640
SMALL = CodecConfig(width=48, frame_width=64, latent_width=24, n_decoder_blocks=1, codebook_size=32)


def play(score: Score) -> NDArray[np.float32]:
    """Returns a score as fading sines, [n_frames * 640]; drums are left out."""
    waveform = np.zeros(score.n_frames * FRAME)
    for note in score.notes:
        if note.part is Part.DRUMS:
            continue
        time_s = np.arange((note.end - note.onset) * FRAME) / RATE_HZ
        pitch_hz = 440 * 2 ** ((note.key - 69) / 12)
        tone = np.sin(2 * np.pi * pitch_hz * time_s) * np.exp(-time_s)
        waveform[note.onset * FRAME : note.end * FRAME] += 0.12 * tone
    return np.tanh(waveform).astype(np.float32)


def sine_corpus(n_clips: int, seed: int = 0) -> Corpus:
    """Returns a corpus of short clips played by oscillators."""
    clips, pieces, offset = [], [], 0
    for index in range(n_clips):
        rng = random.Random(f"{seed}-{index}")
        attributes = draw_attributes(rng)
        score = compose(attributes, 4.0, rng)
        waveform = play(score)
        clips.append(
            CorpusClip(
                attributes=attributes,
                captions=(write_caption(attributes, rng),),
                notes=score.notes,
                offset=offset,
                n_samples=len(waveform),
                duration_s=len(waveform) / RATE_HZ,
            )
        )
        pieces.append(to_int16(waveform))
        offset += len(waveform)
    return Corpus(tuple(clips), np.concatenate(pieces))
