"""JSON and safetensors files: written whole or not at all, read without pickle."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from generator.errors import CheckpointError, GeneratorError

READ_BYTES = 1 << 20
SHOWN_CHARACTERS = 400


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a path to write to, which takes its place under the name asked for at the end.

    Readers see the old content or the new, never a part; after an error nothing is left.
    """
    if not path.parent.is_dir():
        raise GeneratorError(f"cannot write {path}: {path.parent} is not a folder")
    if path.is_dir():
        raise GeneratorError(f"cannot write {path}: it is a folder")
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as exc:
        raise GeneratorError(f"cannot write {path}: {exc.strerror or exc}") from exc
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that readers see the old content or the new, never a part."""
    with written_whole(path) as partial, partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


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
    except (OSError, ValueError, RecursionError) as exc:
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
    """Sets a module's weights from a safetensors file that holds exactly these, all finite."""
    tensors = read_tensors(path)
    for name, expected in module.state_dict().items():
        tensor = tensors.get(name)
        if tensor is None or not expected.is_floating_point():
            continue
        if not tensor.is_floating_point():
            raise CheckpointError(f"{path}: {name} holds {tensor.dtype}, expected floats")
        if not tensor.isfinite().all():
            n_bad = int((~tensor.isfinite()).sum())
            raise CheckpointError(
                f"{path}: {n_bad} of {tensor.numel()} numbers of {name} are NaN or infinite"
            )
    try:
        module.load_state_dict(tensors)
    except RuntimeError as exc:
        told = " ".join(str(exc).split())[:SHOWN_CHARACTERS]
        raise CheckpointError(f"{path} does not fit its configuration: {told}") from exc


def file_sha256(path: Path) -> str:
    """Returns the sha256 of a file's bytes in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
