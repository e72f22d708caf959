"""JSON and safetensors files: written whole or not at all, read without pickle."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from generator.errors import CheckpointError

READ_BYTES = 1 << 20


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that readers see the old content or the new, never a part."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON atomically, with an indent and a last newline."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file; CheckpointError where it is missing or broken."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as exc:
        raise CheckpointError(f"{path} is missing") from exc
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{path} is not readable JSON: {exc}") from exc


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype | None = None
) -> None:
    """Writes tensors as safetensors, floats in `dtype` where one is given."""
    stored = {}
    for name, tensor in tensors.items():
        narrowed = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        stored[name] = tensor.detach().to("cpu", narrowed).contiguous().clone()
    write_atomically(path, safetensors.torch.save(stored))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file, half precision widened to float32."""
    try:
        tensors = safetensors.torch.load_file(path)
    except FileNotFoundError as exc:
        raise CheckpointError(f"{path} is missing") from exc
    except (OSError, safetensors.SafetensorError) as exc:
        raise CheckpointError(f"{path} is not readable: {exc}") from exc
    halves = (torch.float16, torch.bfloat16)
    return {n: t.float() if t.dtype in halves else t for n, t in tensors.items()}


def load_weights(module: nn.Module, path: Path) -> None:
    """Sets a module's weights from a safetensors file that holds exactly these."""
    try:
        module.load_state_dict(read_tensors(path))
    except RuntimeError as exc:
        raise CheckpointError(f"{path} does not fit its configuration: {exc}") from exc


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file's bytes in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
