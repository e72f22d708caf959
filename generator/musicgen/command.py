"""Subcommand `adopt`: a pretrained MusicGen becomes a checkpoint folder with a card."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from pathlib import Path

from generator.checkpoints import Card, Family, write_card
from generator.errors import CheckpointError
from generator.musicgen.folder import checkpoint_files
from generator.musicgen.hub import is_hub_name, resolve
from generator.musicgen.loading import load_pretrained

LICENCE = "CC-BY-NC-4.0"
"""Meta's licence of the MusicGen weights: no commercial use."""

logger = logging.getLogger(__name__)


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    adopt = subparsers.add_parser(
        "adopt", help="make a checkpoint folder of a pretrained MusicGen, from the hub or a folder"
    )
    adopt.add_argument("source", help="hub:facebook/musicgen-small, or a folder")
    adopt.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    adopt.add_argument("--name", required=True)
    adopt.add_argument("--licence", default=LICENCE)
    adopt.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Writes the checkpoint folder, whole or not at all."""
    card = adopt(arguments.source, arguments.out, name=arguments.name, licence=arguments.licence)
    logger.info("%s is complete: %s", arguments.out, ", ".join(sorted(card.files)))


def adopt(source: str, folder: Path, *, name: str, licence: str = LICENCE) -> Card:
    """Returns the card of a new checkpoint folder with the files of a source.

    The source is loaded once, so that what is registered can be run. Files are hard links where
    the disk allows them, else copies.
    """
    if folder.exists():
        raise CheckpointError(f"{folder} is there already")
    found = resolve(source)
    files = checkpoint_files(found)
    core = load_pretrained(found).core
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for file in files:
            _link_or_copy(file.resolve(), partial / file.name)
        card = write_card(
            partial,
            name=name,
            kind="full",
            licence=licence,
            family=Family.MUSICGEN.value,
            files=[file.name for file in files],
            recipe={
                "source": source if is_hub_name(source) else found.name,
                "n_codebooks": core.n_codebooks,
                "n_channels": core.config.n_channels,
                "n_parameters": sum(p.numel() for p in core.parameters()),
            },
        )
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return card


def _link_or_copy(source: Path, target: Path) -> None:
    """Puts a file at a second place, without a second copy of its bytes where that works."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
