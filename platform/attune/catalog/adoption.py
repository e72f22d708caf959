"""Pretrained MusicGen models from the hub or a folder, put into the checkpoint store.

The generator does the work in a process of its own: this one never loads torch.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from attune.catalog.cards import CARD_FILE, read_card
from attune.catalog.errors import CheckpointError
from attune.catalog.models import Checkpoint
from attune.catalog.selectors import find_checkpoint
from attune.catalog.services import add_checkpoint

HUB_PREFIX = "hub:"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
SHOWN_BYTES = 4096
ERROR_MARK = "error: "

Echo = Callable[[bytes], object]


def name_of(source: str) -> str:
    """The name a source suggests: the last part of a repository or folder."""
    return Path(source.removeprefix(HUB_PREFIX)).name


def adopt_checkpoint(*, source: str, name: str | None = None, echo: Echo) -> Checkpoint:
    """The registered checkpoint of a source: hub:owner/name, a MusicGen folder, or one with a card.

    A pretrained model is copied into the checkpoint store first; `echo` gets what that says on
    its way. A folder with a card is registered where it lies. Safe to repeat.
    """
    folder = Path(source)
    if not source.startswith(HUB_PREFIX) and (folder / CARD_FILE).is_file():
        return add_checkpoint(folder=folder, name=name)
    name = name or name_of(source)
    if not NAME.fullmatch(name):
        raise CheckpointError(
            f"checkpoint name {name!r}: expected letters, digits, dots, dashes and underscores, "
            "at most 120",
            folder=folder,
        )
    target = Path(settings.ATTUNE_CHECKPOINTS) / name
    known = find_checkpoint(name)
    card = read_card(target).content if target.is_dir() else known.card if known else None
    made_of = None if card is None else card.get("recipe", {}).get("source", "something else")
    if made_of not in (None, source, name_of(source)):
        raise CheckpointError(
            f"checkpoint name {name!r} is taken by a checkpoint made of {made_of}", folder=folder
        )
    if not target.is_dir():
        store_pretrained(source=source, target=target, name=name, echo=echo)
    return add_checkpoint(folder=target, name=name)


def store_pretrained(*, source: str, target: Path, name: str, echo: Echo) -> None:
    """Write the checkpoint folder of a pretrained model, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "generator", "adopt", source),
        *("--out", str(target), "--name", name),
    ]
    environment = {**os.environ, "PYTHONPATH": str(settings.BASE_DIR)}
    said = b""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    ) as process:
        assert process.stdout is not None
        while part := os.read(process.stdout.fileno(), SHOWN_BYTES):
            echo(part)
            said = (said + part)[-SHOWN_BYTES:]
    if process.returncode:
        lines = said.decode(errors="replace").splitlines() or ["it said nothing"]
        told = [line for line in lines if line.startswith(ERROR_MARK)] or lines
        raise CheckpointError(
            f"{source} cannot be adopted: {told[-1].removeprefix(ERROR_MARK)}", folder=Path(source)
        )
