"""Clips as the representation encoder sees them: one vector a clip, whatever codec made it."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from alignment.errors import AlignmentError
from generator.checkpoints import CARD_FILE, CODEC_FILES, read_card, verify_folder
from generator.codec.model import Codec, load_codec
from generator.files import file_sha256
from generator.representation.clips import embed_clips
from generator.representation.encoder import RepresentationEncoder, load_encoder
from generator.synthesis import GeneratedClip

CODEC_WEIGHTS_FILE = CODEC_FILES[1]
CODEC_RECIPE_KEY = "codec_sha256"
"""Where an encoder's card tells which codec's codes it reads; else they are the starter's."""
BATCH_CLIPS = 16


class ClipEmbedder:
    """Embeds clips by their own codes, or by what `codec` makes of their sound."""

    def __init__(self, encoder: RepresentationEncoder, codec: Codec | None) -> None:
        self.encoder = encoder
        self.codec = codec

    @property
    def reads(self) -> str:
        """What is embedded, for people."""
        if self.codec is None:
            return "the clips' own codes"
        return "the clips' sound through the encoder's codec"

    def embed(self, clips: Sequence[GeneratedClip]) -> NDArray[np.float32]:
        """Returns one vector a clip, [clips, D]."""
        n_codebooks = self.encoder.config.n_codebooks
        codes = [c.codes for c in clips] if self.codec is None else self._codes(clips, self.codec)
        return embed_clips(self.encoder, [c[:n_codebooks] for c in codes])

    def _codes(self, clips: Sequence[GeneratedClip], codec: Codec) -> list[NDArray[np.int16]]:
        """Returns the codec's codes [K, T] of each clip's sound, channels mixed."""
        by_length: dict[int, list[int]] = {}
        sounds = [mono_at(clip, codec.config.sample_rate_hz) for clip in clips]
        for index, sound in enumerate(sounds):
            by_length.setdefault(len(sound), []).append(index)
        codes: dict[int, NDArray[np.int16]] = {}
        for indices in by_length.values():
            for start in range(0, len(indices), BATCH_CLIPS):
                chosen = indices[start : start + BATCH_CLIPS]
                batch = codec.encode(torch.from_numpy(np.stack([sounds[i] for i in chosen])))
                codes.update(zip(chosen, batch.numpy().astype(np.int16), strict=True))
        return [codes[index] for index in range(len(clips))]


def mono_at(clip: GeneratedClip, sample_rate_hz: int) -> NDArray[np.float32]:
    """Returns a clip's sound [N] at a sample rate, its channels mixed."""
    mono = clip.waveform if clip.waveform.ndim == 1 else clip.waveform.mean(axis=0)
    shared = gcd(sample_rate_hz, clip.sample_rate_hz)
    if clip.sample_rate_hz != sample_rate_hz:
        mono = resample_poly(mono, sample_rate_hz // shared, clip.sample_rate_hz // shared)
    sound: NDArray[np.float32] = np.ascontiguousarray(mono, dtype=np.float32)
    return sound


def load_embedder(
    folder: Path, *, starter: Path, checkpoints: Sequence[Path], clip: GeneratedClip
) -> ClipEmbedder:
    """Returns the embedder of an encoder's folder for clips of full checkpoints' folders.

    Codes are read as they are where all checkpoints have the codec that the encoder was trained
    on, and `clip`, one of theirs, the shape it reads. Otherwise the clips' sound is coded by the
    starter's codec. AlignmentError where there is no encoder, or it reads neither.
    """
    if not folder.is_dir():
        raise AlignmentError(f"there is no representation encoder at {folder.name}")
    if (folder / CARD_FILE).is_file():
        card = verify_folder(folder)
        if card.kind != "encoder":
            raise AlignmentError(
                f"expected a checkpoint of kind encoder, {card.name} is {card.kind}"
            )
        stated = card.recipe.get(CODEC_RECIPE_KEY)
    else:
        stated = None
    encoder = load_encoder(folder)
    starters = codec_sha256(starter)
    expected = stated or starters
    are_read = all(codec_sha256(checkpoint) == expected for checkpoint in checkpoints)
    if expected is not None and are_read and _is_mono(checkpoints) and _fits(encoder, clip):
        return ClipEmbedder(encoder, None)
    if expected is None or expected != starters:
        raise AlignmentError(
            "the representation encoder reads the codes of a codec that neither these "
            "checkpoints nor the starter have"
        )
    codec = load_codec(starter).eval()
    if (codec.config.codebook_size, codec.config.frame_rate_hz) != _code_space(encoder):
        raise AlignmentError(
            f"the representation encoder reads codes below {encoder.config.codebook_size} at "
            f"{encoder.config.frame_rate_hz} Hz, the starter's codec makes them below "
            f"{codec.config.codebook_size} at {codec.config.frame_rate_hz} Hz"
        )
    return ClipEmbedder(encoder, codec)


def codec_sha256(folder: Path) -> str | None:
    """Returns the hash of a full checkpoint's codec, None where it has none of our own."""
    weights = folder / CODEC_WEIGHTS_FILE
    return file_sha256(weights) if weights.is_file() else None


def _is_mono(checkpoints: Sequence[Path]) -> bool:
    return all(read_card(checkpoint).channels == 1 for checkpoint in checkpoints)


def _fits(encoder: RepresentationEncoder, clip: GeneratedClip) -> bool:
    return len(clip.codes) >= encoder.config.n_codebooks


def _code_space(encoder: RepresentationEncoder) -> tuple[int, int]:
    return encoder.config.codebook_size, encoder.config.frame_rate_hz
