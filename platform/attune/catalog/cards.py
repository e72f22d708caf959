"""Reads a checkpoint folder's card and checks the files it names. Needs no torch."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attune.catalog.errors import CheckpointError

CARD_FILE = "card.json"
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Card:
    """What a verified folder says of itself. `content_hash` covers every named file."""

    name: str
    kind: str
    family: str
    parent: str | None
    parent_hash: str | None
    content_hash: str
    content: dict[str, Any]


def hash_file(file: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def read_card(folder: Path) -> Card:
    """The folder's card, after every file it names was re-hashed.

    Raises CheckpointError naming the file that is missing, unreadable or altered.
    """
    content = _read_json(folder)
    files = content.get("files")
    if not isinstance(files, dict) or not files:
        raise CheckpointError(
            f"{CARD_FILE} in {folder} names no files: expected a mapping of name to sha256",
            folder=folder,
            file=CARD_FILE,
        )
    for name, stated in files.items():
        _check_file(folder, name, stated)
    for key in ("name", "kind", "family"):
        if not isinstance(content.get(key), str) or not content[key]:
            raise CheckpointError(
                f"{CARD_FILE} in {folder} has no {key!r}", folder=folder, file=CARD_FILE
            )
    return Card(
        name=content["name"],
        kind=content["kind"],
        family=content["family"],
        parent=content.get("parent"),
        parent_hash=content.get("parent_hash"),
        content_hash=hash_of_files(files),
        content=content,
    )


def hash_of_files(files: dict[str, str]) -> str:
    """SHA-256 over the sorted `name:sha256` lines of a card's files."""
    lines = "\n".join(f"{name}:{files[name]}" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def _read_json(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise CheckpointError(
            f"no {CARD_FILE} in {folder}: not a complete checkpoint folder",
            folder=folder,
            file=CARD_FILE,
        ) from exc
    except (OSError, ValueError) as exc:
        raise CheckpointError(
            f"{CARD_FILE} in {folder} cannot be read: {exc}", folder=folder, file=CARD_FILE
        ) from exc
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{CARD_FILE} in {folder} is no JSON object", folder=folder, file=CARD_FILE
        )
    return content


def _check_file(folder: Path, name: str, stated: str) -> None:
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise CheckpointError(f"{name} lies outside {folder}", folder=folder, file=name)
    if not file.is_file():
        raise CheckpointError(f"{name} is missing from {folder}", folder=folder, file=name)
    found = hash_file(file)
    if found != stated:
        raise CheckpointError(
            f"{name} in {folder} was altered: its sha256 is {found[:12]}..., "
            f"the card says {stated[:12]}...",
            folder=folder,
            file=name,
        )
