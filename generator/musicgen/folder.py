"""What a folder with a pretrained MusicGen must hold, checked before anything is loaded.

Only safetensors files are read: a .bin file is a pickle, which can run any code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors

from generator.errors import CheckpointError
from generator.files import read_json

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "spiece.model")
MODEL_TYPES = ("musicgen", "musicgen_melody")
PARTS = ("text_encoder", "audio_encoder", "decoder")
READ_PATTERNS = ("*.json", "*.safetensors", "spiece.model")
"""All that is read of a repository on the hub, as patterns for a download."""


def is_pretrained_folder(folder: Path) -> bool:
    """Returns whether a folder looks like one that `save_pretrained` wrote."""
    return (folder / CONFIG_FILE).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the configuration of a MusicGen folder."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder")
    stored = read_json(folder / CONFIG_FILE)
    if not isinstance(stored, dict) or stored.get("model_type") not in MODEL_TYPES:
        found = stored.get("model_type") if isinstance(stored, dict) else stored
        raise CheckpointError(
            f"{folder / CONFIG_FILE} has model_type {found!r}; expected one of {list(MODEL_TYPES)}"
        )
    absent = [part for part in PARTS if not isinstance(stored.get(part), dict)]
    if absent:
        raise CheckpointError(f"{folder / CONFIG_FILE} lacks the configuration of {absent}")
    return stored


def weight_files(folder: Path) -> list[Path]:
    """Returns the safetensors files of a folder, each found whole."""
    if (folder / INDEX_FILE).is_file():
        index = read_json(folder / INDEX_FILE)
        try:
            names = sorted(set(index["weight_map"].values()))
        except (TypeError, KeyError, AttributeError) as exc:
            raise CheckpointError(f"{folder / INDEX_FILE} maps no weights to files") from exc
    elif (folder / WEIGHTS_FILE).is_file():
        names = [WEIGHTS_FILE]
    else:
        raise CheckpointError(_no_weights(folder))
    files = [folder / name for name in names]
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise CheckpointError(
            f"{folder} is half downloaded: {len(absent)} of {len(files)} weight files are "
            f"missing: {', '.join(absent)}"
        )
    for file in files:
        try:
            with safetensors.safe_open(file, framework="pt"):
                pass
        except (OSError, safetensors.SafetensorError) as exc:
            raise CheckpointError(
                f"{file} is damaged or half downloaded ({file.stat().st_size} bytes): {exc}"
            ) from exc
    return files


def tokenizer_files(folder: Path) -> list[Path]:
    """Returns the files of the T5 tokenizer in a folder."""
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise CheckpointError(
            f"{folder} lacks T5's tokenizer: expected {' or '.join(TOKENIZER_FILES)}"
        )
    names = (*TOKENIZER_FILES, "tokenizer_config.json", "special_tokens_map.json")
    return [folder / name for name in names if (folder / name).is_file()]


def checkpoint_files(folder: Path) -> list[Path]:
    """Returns all files of a MusicGen folder that are read, each found whole."""
    read_config(folder)
    optional = (INDEX_FILE, "generation_config.json", "preprocessor_config.json")
    return [
        folder / CONFIG_FILE,
        *(folder / name for name in optional if (folder / name).is_file()),
        *weight_files(folder),
        *tokenizer_files(folder),
    ]


def _no_weights(folder: Path) -> str:
    """Returns what to say of a folder without safetensors."""
    needed = f"{folder} lacks {WEIGHTS_FILE} (or {INDEX_FILE} and the files it names)"
    partial = sorted(file.name for file in folder.rglob("*.incomplete"))
    if partial:
        return f"{needed}; a download was broken off: {', '.join(partial)}"
    pickled = sorted(file.name for file in folder.glob("*.bin"))
    if pickled:
        return (
            f"{needed}; {', '.join(pickled)} is a pickle, which can run any code and is never "
            "read: load it where you trust it and save it with save_pretrained, which writes "
            "safetensors"
        )
    return needed
