"""Several LoRA adapters in one batch: each row of a batch has its own, or none, over one core.

LoRA (Hu et al. 2021, section 4.1, arXiv:2106.09685) adds a product of two thin matrices to a
projection. Kept apart from it, the thin ones may differ by row, so that clips of a checkpoint and
of its adapters are sampled together while every large matrix is read once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from generator.errors import CheckpointError, RequestError
from generator.files import read_json, read_tensors

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True)
class LowRank:
    """What is added to a projection: down [R, D], then up [O, R], the scale inside."""

    down: Tensor
    up: Tensor


@dataclass(frozen=True)
class Adapter:
    """What a LoRA adapter adds, by the path of the projection in the core."""

    deltas: Mapping[str, LowRank]

    def followed_by(self, other: Adapter) -> Adapter:
        """Returns the sum of this adapter and one that was trained on top of it."""
        deltas = dict(self.deltas)
        for path, delta in other.deltas.items():
            first = deltas.get(path)
            if first is not None:
                delta = LowRank(  # noqa: PLW2901 - the sum takes the place of its part
                    torch.cat([first.down, delta.down]), torch.cat([first.up, delta.up], dim=1)
                )
            deltas[path] = delta
        return Adapter(deltas)


NO_ADAPTER = Adapter({})


def read_adapter(core: nn.Module, folder: Path) -> Adapter:
    """Returns the adapter of a PEFT folder; CheckpointError where only merging can apply it."""
    config = read_json(folder / CONFIG_FILE)
    unfit = {
        "peft_type": config.get("peft_type", "LORA") != "LORA",
        "use_dora": bool(config.get("use_dora")),
        "bias": config.get("bias", "none") != "none",
        "modules_to_save": bool(config.get("modules_to_save")),
        "fan_in_fan_out": bool(config.get("fan_in_fan_out")),
    }
    for name, is_unfit in unfit.items():
        if is_unfit:
            raise CheckpointError(
                f"{folder} has {name} {config[name]!r}: it can be merged, but not shared by row"
            )
    tensors = read_tensors(folder / WEIGHTS_FILE)
    linears = {path: module for path, module in core.named_modules() if is_linear(module)}
    deltas = {}
    for name in tensors:
        if not name.endswith(".lora_A.weight"):
            continue
        stated = name.removesuffix(".lora_A.weight")
        path = path_in_core(stated.removeprefix(PEFT_PREFIX), linears, folder)
        down = tensors[name].float()
        up = tensors[f"{stated}.lora_B.weight"].float()
        linear = linears[path]
        assert isinstance(linear, nn.Linear)
        expected = (len(down), linear.in_features, linear.out_features)
        found = (up.shape[1], down.shape[1], up.shape[0])
        if found != expected:
            raise CheckpointError(
                f"{folder} does not fit {path}: rank, inputs and outputs are {expected}, "
                f"got {found}"
            )
        deltas[path] = LowRank(down, up * scale_of(config, stated, len(down)))
    n_used = 2 * len(deltas)
    if n_used != len(tensors) or not deltas:
        raise CheckpointError(
            f"{folder} holds {len(tensors)} tensors, {n_used} of them pairs of lora_A and lora_B: "
            "it can be merged, but not shared by row"
        )
    return Adapter(deltas)


def is_linear(module: nn.Module) -> bool:
    """Returns whether a module is a linear map that an adapter can be added to."""
    return type(module) is nn.Linear


def path_in_core(stated: str, linears: Mapping[str, nn.Module], folder: Path) -> str:
    """Returns the path of the projection that an adapter states, perhaps from a level above."""
    found = [path for path in linears if stated == path or stated.endswith(f".{path}")]
    if not found:
        raise CheckpointError(f"{folder} adapts {stated}, which is no linear map of the core")
    longest = max(found, key=len)
    if longest.startswith("lm_heads."):
        raise CheckpointError(f"{folder} adapts {stated}: it can be merged, but not shared by row")
    return longest


def scale_of(config: Mapping[str, Any], path: str, rank: int) -> float:
    """Returns what PEFT multiplies a pair of matrices by: alpha / r, or alpha / sqrt(r)."""
    alpha = float(config.get("lora_alpha", 8))
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if path.endswith(pattern):
            alpha = float(value)
    return alpha / (rank**0.5 if config.get("use_rslora") else rank)


class RowAdapters:
    """Which adapter each row of a batch uses."""

    def __init__(self, rows: Sequence[Adapter]) -> None:
        """rows: one a clip; NO_ADAPTER for the base alone."""
        if not rows:
            raise RequestError("expected one adapter a clip, got none")
        self.rows = tuple(rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def paths(self) -> set[str]:
        """The projections that at least one row changes."""
        return {path for adapter in self.rows for path in adapter.deltas}

    def repeated(self, n_copies: int) -> RowAdapters:
        """Returns the adapters of a batch that holds all its clips n_copies times."""
        return RowAdapters(self.rows * n_copies)

    def stacked(self, paths: Sequence[str], sizes: Sequence[tuple[int, int]]) -> StackedDeltas:
        """Returns what the rows add to projections that are joined in the order of paths.

        sizes: inputs and outputs of each. An only path is a projection of its own.
        """
        ranks = [
            max((len(row.deltas[path].down) for row in self.rows if path in row.deltas), default=0)
            for path in paths
        ]
        n_inputs, n_outputs = sizes[0][0], sum(outputs for _, outputs in sizes)
        down = torch.zeros(len(self.rows), n_inputs, sum(ranks))
        up = torch.zeros(len(self.rows), sum(ranks), n_outputs)
        first_rank, first_output = 0, 0
        for path, rank, (_, outputs) in zip(paths, ranks, sizes, strict=True):
            for number, row in enumerate(self.rows):
                delta = row.deltas.get(path)
                if delta is not None:
                    end = first_rank + len(delta.down)
                    down[number, :, first_rank:end] = delta.down.T
                    up[number, first_rank:end, first_output : first_output + outputs] = delta.up.T
            first_rank += rank
            first_output += outputs
        return StackedDeltas(down, up)


@dataclass(frozen=True)
class StackedDeltas:
    """What each row adds: down [B, D, R] and up [B, R, O]."""

    down: Tensor
    up: Tensor


class RowAdaptedLinear(nn.Module):
    """A linear map to whose outputs every row adds its own product of two thin matrices."""

    def __init__(self, base: nn.Module, deltas: StackedDeltas, like: Tensor) -> None:
        """like: a weight of the core, whose device and dtype are taken."""
        super().__init__()
        self.base = base
        self._down = deltas.down.to(like)
        self._up = deltas.up.to(like)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, S, O] of x [B, S, D]; B is the number of rows."""
        return torch.baddbmm(self.base(x), torch.bmm(x, self._down), self._up)
