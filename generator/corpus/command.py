"""Subcommand `corpus`: composes, captions and renders the training clips."""

import argparse
import logging
import random
from pathlib import Path

from generator.audio import to_int16
from generator.corpus.attributes import (
    FRAME_RATE_HZ,
    HELD_OUT_LEAD_PROGRAMS,
    LEAD_PROGRAMS,
    draw_attributes,
    draw_duration_s,
)
from generator.corpus.captions import write_caption
from generator.corpus.composer import compose
from generator.corpus.rendering import DEFAULT_SOUNDFONT, SAMPLE_RATE_HZ, Renderer
from generator.corpus.score import Score
from generator.corpus.storage import CorpusClip, create_audio, write_clips

CAPTIONS_PER_CLIP = 4
FRAME_SAMPLES = SAMPLE_RATE_HZ // FRAME_RATE_HZ
LOG_EVERY = 250

log = logging.getLogger(__name__)


def draw_clips(n_clips: int, seed: int) -> list[CorpusClip]:
    """Returns clips that are composed and captioned but have no audio yet.

    Each clip has its own random stream, so that the same seed and place give the same clip in a
    corpus of any size.
    """
    clips: list[CorpusClip] = []
    offset = 0
    for index in range(n_clips):
        rng = random.Random(f"attune-corpus-{seed}-{index}")
        attributes = draw_attributes(rng)
        score = compose(attributes, draw_duration_s(attributes, rng), rng)
        n_samples = score.n_frames * FRAME_SAMPLES
        clips.append(
            CorpusClip(
                attributes=attributes,
                captions=tuple(write_caption(attributes, rng) for _ in range(CAPTIONS_PER_CLIP)),
                notes=score.notes,
                offset=offset,
                n_samples=n_samples,
                duration_s=n_samples / SAMPLE_RATE_HZ,
            )
        )
        offset += n_samples
    return clips


def write_corpus(
    folder: Path, n_clips: int, seed: int, soundfont: Path, *, held_out_timbres: bool = False
) -> None:
    """Writes a corpus of `n_clips` clips; the list of clips comes last.

    With held-out timbres every lead is played by a relative that no training corpus holds.
    """
    programs = HELD_OUT_LEAD_PROGRAMS if held_out_timbres else LEAD_PROGRAMS
    renderer = Renderer(soundfont, programs)
    clips = draw_clips(n_clips, seed)
    audio = create_audio(folder, sum(clip.n_samples for clip in clips))
    for index, clip in enumerate(clips):
        score = Score(clip.notes, clip.n_samples // FRAME_SAMPLES)
        waveform = renderer.render(score, clip.attributes)
        audio[clip.offset : clip.offset + clip.n_samples] = to_int16(waveform)
        if (index + 1) % LOG_EVERY == 0:
            log.info("clips rendered: %d of %d", index + 1, n_clips)
    write_clips(folder, clips)
    log.info("corpus written: %d clips, %.0f s", n_clips, len(audio) / SAMPLE_RATE_HZ)


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand `corpus`."""
    parser = subparsers.add_parser("corpus", help="compose, caption and render training clips")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--soundfont", type=Path, default=DEFAULT_SOUNDFONT)
    parser.add_argument(
        "--held-out-timbres", action="store_true", help="play the leads on other instruments"
    )
    parser.set_defaults(
        run=lambda parsed: write_corpus(
            parsed.folder,
            parsed.clips,
            parsed.seed,
            parsed.soundfont,
            held_out_timbres=parsed.held_out_timbres,
        )
    )
