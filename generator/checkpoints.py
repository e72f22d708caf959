"""Checkpoint folders: a card, the files it names, and the hashes that prove them whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import safetensors
import torch

from generator.errors import CheckpointError
from generator.files import file_sha256, load_weights, read_json, write_json, write_tensors
from generator.lm.starter import StarterConfig, StarterCore

CARD_FORMAT = 1
CARD_FILE = "card.json"
CORE_CONFIG_FILE = "lm.json"
CORE_WEIGHTS_FILE = "lm.safetensors"
CODEC_FILES = ("codec.json", "codec.safetensors")
PLANNER_FILES = ("planner.json", "planner.safetensors")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
FULL_FILES = (*CODEC_FILES, CORE_CONFIG_FILE, CORE_WEIGHTS_FILE, *PLANNER_FILES)
KINDS: dict[str, tuple[str, ...]] = {"full": FULL_FILES, "adapter": ADAPTER_FILES}


@dataclass(frozen=True)
class Card:
    """What a checkpoint is, where it came from, and the sha256 of each of its files."""

    name: str
    kind: str
    family: str
    licence: str
    created_at: str
    files: dict[str, str]
    parent: str | None = None
    parent_hash: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    format: int = CARD_FORMAT

    def __post_init__(self) -> None:
        if self.format != CARD_FORMAT:
            raise CheckpointError(f"card format {CARD_FORMAT} is known, got {self.format}")
        if self.kind not in KINDS:
            raise CheckpointError(f"kind is one of {sorted(KINDS)}, got {self.kind!r}")
        if not isinstance(self.files, dict) or not all(
            isinstance(digest, str) for digest in self.files.values()
        ):
            raise CheckpointError(f"files maps names to sha256, got {str(self.files)[:80]}")
        absent = [name for name in KINDS[self.kind] if name not in self.files]
        if absent:
            raise CheckpointError(f"the card of a {self.kind} checkpoint names {absent} too")
        outside = [name for name in self.files if Path(name).name != name]
        if outside:
            raise CheckpointError(f"files lie in the checkpoint's own folder, got {outside}")


def save_core(core: StarterCore, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Writes lm.json and lm.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / CORE_WEIGHTS_FILE, core.state_dict(), dtype)
    write_json(folder / CORE_CONFIG_FILE, asdict(core.config))


def load_core(folder: Path) -> StarterCore:
    """Returns the core of a folder, in evaluation mode and float32."""
    path = folder / CORE_CONFIG_FILE
    stored = read_json(path)
    try:
        for name in ("delays", "empty_header"):
            stored[name] = tuple(stored[name])
        for name in ("beat_ids", "bar_ids"):
            stored[name] = tuple((i, value) for i, value in stored.get(name, ()))
        core = StarterCore(StarterConfig(**stored))
    except (TypeError, KeyError, ValueError) as exc:
        raise CheckpointError(f"{path} does not describe a starter core: {exc}") from exc
    load_weights(core, folder / CORE_WEIGHTS_FILE)
    return core.eval()


def write_card(
    folder: Path,
    *,
    name: str,
    kind: str,
    licence: str,
    family: str = "starter",
    parent: str | None = None,
    parent_hash: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    created_at: datetime | None = None,
) -> Card:
    """Hashes a folder's files and writes its card, the last step that makes it a checkpoint."""
    if kind not in KINDS:
        raise CheckpointError(f"kind is one of {sorted(KINDS)}, got {kind!r}")
    absent = [file for file in KINDS[kind] if not (folder / file).is_file()]
    if absent:
        raise CheckpointError(f"{folder} lacks {absent}")
    card = Card(
        name=name,
        kind=kind,
        family=family,
        licence=licence,
        created_at=(created_at or datetime.now(UTC)).isoformat(timespec="seconds"),
        files={file: file_sha256(folder / file) for file in KINDS[kind]},
        parent=parent,
        parent_hash=parent_hash,
        recipe=dict(recipe or {}),
        metrics=dict(metrics or {}),
    )
    write_json(folder / CARD_FILE, asdict(card))
    return card


def read_card(folder: Path) -> Card:
    """Returns the card of a checkpoint folder."""
    path = folder / CARD_FILE
    stored = read_json(path)
    try:
        return Card(**stored)
    except (TypeError, AttributeError) as exc:
        raise CheckpointError(f"{path} is not a card: {exc}") from exc


def verify_folder(folder: Path) -> Card:
    """Returns the card once every file it names is there with the hash it states."""
    card = read_card(folder)
    for name, expected in card.files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing")
        found = file_sha256(path)
        if found != expected:
            raise CheckpointError(
                f"{path} has sha256 {found[:12]}..., its card says {expected[:12]}..."
            )
    return card


def content_hash(folder: Path) -> str:
    """Returns one sha256 over the names and hashes of the files a card names."""
    files = read_card(folder).files
    lines = "\n".join(f"{name}:{files[name]}" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def chain_hash(folders: Sequence[Path]) -> str:
    """Returns the hash of a full checkpoint, or of one with adapters merged in order."""
    result = content_hash(folders[0])
    for folder in folders[1:]:
        result = hashlib.sha256(f"{result}:{content_hash(folder)}".encode()).hexdigest()
    return result


def merge_adapter(core: StarterCore, folder: Path) -> StarterCore:
    """Returns the core with a PEFT adapter folder merged into its weights."""
    # PEFT loads the whole of transformers, seconds that a run without adapters is spared.
    from peft import PeftModel

    for name in ADAPTER_FILES:  # PEFT would fall back to pickled weights or to a hub
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing")
    try:
        merged = PeftModel.from_pretrained(core, str(folder)).merge_and_unload()
    except (RuntimeError, ValueError, KeyError, safetensors.SafetensorError) as exc:
        raise CheckpointError(f"{folder} does not fit the core: {exc}") from exc
    assert isinstance(merged, StarterCore)
    for parameter in merged.parameters():
        parameter.requires_grad_(True)
    return merged.eval()
