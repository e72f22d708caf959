"""Checkpoint folders: a card, the files it names, and the hashes that prove them whole."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, assert_never

import safetensors
import torch
from torch import nn

from generator.errors import CheckpointError
from generator.files import (
    file_sha256,
    load_weights,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from generator.lm.starter import StarterConfig, StarterCore

CARD_FORMAT = 1
CARD_FILE = "card.json"
CORE_CONFIG_FILE = "lm.json"
CORE_WEIGHTS_FILE = "lm.safetensors"
CODEC_FILES = ("codec.json", "codec.safetensors")
PLANNER_FILES = ("planner.json", "planner.safetensors")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
CORE_FILES = (CORE_CONFIG_FILE, CORE_WEIGHTS_FILE)
FULL_FILES = (*CODEC_FILES, *CORE_FILES, *PLANNER_FILES)
ENCODER_FILES = ("encoder.json", "encoder.safetensors")
REWARD_FILES = ("reward.json", "reward.safetensors", *ENCODER_FILES)
PART_FILES = {
    "adapter": ADAPTER_FILES,
    "core": CORE_FILES,
    "encoder": ENCODER_FILES,
    "reward": REWARD_FILES,
}
KINDS = ("full", *PART_FILES)
CHANNELS = (1, 2)
SHOWN_KEYS = 3
PEFT_PREFIX = "base_model.model."
WHOLE_MODEL_KEYS = {r"^decoder\.": ""}
"""How weights of an adapter on a whole MusicGen are named on its decoder, as PEFT maps keys."""

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Family(StrEnum):
    """Whose layout a full checkpoint has: our own, or that of transformers' MusicGen."""

    STARTER = "starter"
    MUSICGEN = "musicgen"


def needed_files(family: str, kind: str) -> tuple[str, ...]:
    """Returns the files without which a checkpoint of a family and kind is none."""
    if kind not in KINDS:
        raise CheckpointError(f"kind is one of {sorted(KINDS)}, got {kind!r}")
    try:
        known = Family(family)
    except ValueError as exc:
        raise CheckpointError(
            f"family is one of {[f.value for f in Family]}, got {family!r}"
        ) from exc
    if kind in PART_FILES:
        return PART_FILES[kind]
    match known:
        case Family.STARTER:
            return FULL_FILES
        case Family.MUSICGEN:  # the weights may lie in one file or in several
            return ("config.json",)
        case _:
            assert_never(known)


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
    channels: int = 1
    """2 where the codes are left and right of our own codec by turns; MusicGen tells its own."""
    format: int = CARD_FORMAT

    def __post_init__(self) -> None:
        if self.format != CARD_FORMAT:
            raise CheckpointError(f"card format {CARD_FORMAT} is known, got {self.format}")
        if self.channels not in CHANNELS:
            raise CheckpointError(f"channels are one of {CHANNELS}, got {self.channels!r}")
        needed = needed_files(self.family, self.kind)
        if not isinstance(self.files, dict) or not all(
            isinstance(digest, str) for digest in self.files.values()
        ):
            raise CheckpointError(f"files maps names to sha256, got {str(self.files)[:80]}")
        absent = [name for name in needed if name not in self.files]
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
    family: str = Family.STARTER.value,
    files: Sequence[str] | None = None,
    parent: str | None = None,
    parent_hash: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    channels: int = 1,
    created_at: datetime | None = None,
) -> Card:
    """Hashes a folder's files and writes its card, the last step that makes it a checkpoint.

    files: the names it consists of, where these are not just the needed ones.
    """
    needed = needed_files(family, kind)
    names = tuple(files) if files is not None else needed
    absent = [file for file in dict.fromkeys((*needed, *names)) if not (folder / file).is_file()]
    if absent:
        raise CheckpointError(f"{folder} lacks {absent}")
    card = Card(
        name=name,
        kind=kind,
        family=family,
        licence=licence,
        created_at=(created_at or datetime.now(UTC)).isoformat(timespec="seconds"),
        files={file: file_sha256(folder / file) for file in names},
        parent=parent,
        parent_hash=parent_hash,
        recipe=dict(recipe or {}),
        metrics=dict(metrics or {}),
        channels=channels,
    )
    write_json(folder / CARD_FILE, asdict(card))
    return card


def parent_of(folder: Path | None) -> tuple[str | None, str | None]:
    """Returns name and content hash of a folder with a card, (None, None) without one."""
    if folder is None or not (folder / CARD_FILE).is_file():
        return None, None
    return verify_folder(folder).name, content_hash(folder)


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


def merge_adapter(core: AnyModule, folder: Path) -> AnyModule:
    """Returns the core with a PEFT adapter folder merged into its weights.

    Adapters of a whole MusicGen are read too: what they call the decoder is our core.
    """
    # PEFT loads the whole of transformers, seconds that a run without adapters is spared.
    from peft import PeftModel, get_peft_model_state_dict

    for name in ADAPTER_FILES:  # PEFT would fall back to pickled weights or to a hub
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is missing")
    stored = {_key_in_core(name) for name in read_tensors(folder / ADAPTER_FILES[1])}
    try:
        model = PeftModel.from_pretrained(core, str(folder), key_mapping=WHOLE_MODEL_KEYS)
    except (RuntimeError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as exc:
        raise CheckpointError(f"{folder} does not fit the core: {exc}") from exc
    if astray := sorted(stored ^ set(get_peft_model_state_dict(model))):
        raise CheckpointError(
            f"{folder} does not fit the core: {len(astray)} weights of the adapter or of its "
            f"targets have no counterpart, such as {astray[:SHOWN_KEYS]}"
        )
    merged = model.merge_and_unload()
    assert isinstance(merged, type(core))
    for parameter in merged.parameters():
        parameter.requires_grad_(True)
    return merged.eval()


def _key_in_core(name: str) -> str:
    """Returns what a weight of an adapter is called in a core."""
    inner = name.removeprefix(PEFT_PREFIX)
    for pattern, replacement in WHOLE_MODEL_KEYS.items():
        inner = re.sub(pattern, replacement, inner)
    return PEFT_PREFIX + inner
