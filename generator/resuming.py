"""A training's state in a folder: weights, optimisers and position, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from generator.errors import CheckpointError
from generator.files import read_json, read_tensors, write_json, write_tensors

STATE_FILE = "training.json"


@dataclass(frozen=True)
class Position:
    """How far a training is."""

    step: int = 0
    elapsed_s: float = 0.0


def save_training(
    folder: Path,
    *,
    model: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    position: Position,
    config: Mapping[str, Any],
    statistics: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the tensors of a step and then the position that names them.

    statistics: what a model keeps besides its state dict, by name. A kill between the two leaves
    the position of the step before, and its tensors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {f"model.{n}": t for n, t in model.state_dict().items()}
    tensors |= {f"statistics.{n}": t for n, t in (statistics or {}).items()}
    for number, optimiser in enumerate(optimisers):
        for index, entries in optimiser.state_dict()["state"].items():
            for key, value in entries.items():
                tensors[f"optimiser.{number}.{index}.{key}"] = value
    name = f"training-{position.step}.safetensors"
    write_tensors(folder / name, tensors)
    state = {"step": position.step, "elapsed_s": position.elapsed_s, "tensors": name}
    write_json(folder / STATE_FILE, state | {"config": dict(config)})
    for old in folder.glob("training-*.safetensors"):
        if old.name != name:
            old.unlink()


def resume_training(
    folder: Path,
    *,
    model: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    kind: str = "model",
    statistics: Mapping[str, Tensor] | None = None,
) -> Position:
    """Takes up weights, statistics and optimisers from a folder; a new folder is at step 0.

    Raises CheckpointError where the folder is that of another model, of this kind.
    """
    if not (folder / STATE_FILE).is_file():
        return Position()
    state = read_json(folder / STATE_FILE)
    tensors = read_tensors(folder / state["tensors"])
    weights = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as exc:
        raise CheckpointError(f"{folder} holds another {kind}: {exc}") from exc
    for statistic, tensor in (statistics or {}).items():
        tensor.copy_(tensors[f"statistics.{statistic}"])
    for number, optimiser in enumerate(optimisers):
        entries: dict[int, dict[str, Tensor]] = {}
        prefix = f"optimiser.{number}."
        for name, value in tensors.items():
            if name.startswith(prefix):
                index, key = name.removeprefix(prefix).split(".", 1)
                entries.setdefault(int(index), {})[key] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": entries, "param_groups": groups})
    return Position(int(state["step"]), float(state["elapsed_s"]))
