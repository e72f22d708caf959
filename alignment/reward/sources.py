"""Where a run's clips and its encoder come from: codes a reward model can read, and who reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from alignment.errors import RunFolderError
from alignment.reward.config import RewardConfig
from alignment.reward.features import codes_of_waveform
from alignment.runs import RunFolder, load_codes
from generator.checkpoints import CARD_FILE, CODEC_FILES, Family, read_card, verify_folder
from generator.codec.model import Codec, load_codec
from generator.command import STARTER
from generator.errors import GeneratorError
from generator.families import family_of, load_parts
from generator.files import file_sha256
from generator.representation.encoder import RepresentationEncoder, load_encoder

SHIPPED_ENCODER = STARTER.parent / "encoder"

ReadCodes = Callable[[Path], NDArray[np.int16]]
"""Returns the codes [K, T] of a stored clip in the starter's codec."""


def codec_hash(folder: Path) -> str:
    """Returns the sha256 of the weights of a folder's codec."""
    return file_sha256(folder / CODEC_FILES[1])


def speaks_starter(base: Path) -> bool:
    """Returns whether clips of a full checkpoint have codes of a mono codec of the starter's."""
    return family_of(base) is Family.STARTER and read_card(base).channels == 1


def codes_source(run: RunFolder) -> tuple[Path, Codec, ReadCodes]:
    """Returns the folder of the codec to read, the codec, and what reads a stored clip.

    Clips of stereo checkpoints and of other families are decoded, and coded anew in mono by the
    shipped codec.
    """
    try:
        if speaks_starter(run.base):
            verify_folder(run.base)
            return run.base, load_codec(run.base), load_codes
        codec = load_codec(STARTER)
        theirs = load_parts(run.base).codec
    except GeneratorError as exc:
        raise RunFolderError(f"the base's codec cannot be loaded: {exc}") from exc

    def read(path: Path) -> NDArray[np.int16]:
        codes = torch.from_numpy(load_codes(path)).long()[None]
        waveform = theirs.decode(codes)[0].numpy()
        return codes_of_waveform(codec, waveform, theirs.config.sample_rate_hz)

    return STARTER, codec, read


def run_encoder(
    run: RunFolder, config: RewardConfig, codec_folder: Path
) -> tuple[Path, RepresentationEncoder]:
    """Returns the folder of the run's encoder and the encoder, found to read the codec's codes."""
    folder = run.path / config.encoder if config.encoder else SHIPPED_ENCODER
    try:
        if (folder / CARD_FILE).is_file():
            card = verify_folder(folder)
            stated = card.recipe.get("codec_sha256")
            if stated and stated != codec_hash(codec_folder):
                raise RunFolderError(
                    f"the encoder {folder} reads codes of the codec {stated[:12]}..., "
                    f"the clips have those of {codec_hash(codec_folder)[:12]}..."
                )
        return folder, load_encoder(folder)
    except GeneratorError as exc:
        raise RunFolderError(f"the encoder cannot be loaded: {exc}") from exc
