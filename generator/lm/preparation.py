"""A core made ready to be sampled from: joined projections, packed weights, adapters by row."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

from torch import Tensor, nn

from generator.errors import RequestError
from generator.lm.adapters import RowAdaptedLinear, RowAdapters, is_linear
from generator.lm.attention import KeyValueCache
from generator.lm.core import Core
from generator.lm.graphs import Capture, GraphedSteps, capture_on_cuda, overwrite, signature
from generator.lm.projections import JoinedLinear, WeightFormat, are_joinable

MOST_GRAPHED = 4
"""Batch sizes and lengths whose graphs are kept."""


class Sampling(Protocol):
    """Computes the steps of a batch, one after the other."""

    def read(self, rows: Tensor) -> None:
        """Takes in rows [B, S, K] whose successors are known already."""
        ...

    def logits(self, row: Tensor, asked: slice) -> Tensor:
        """Takes in one row [B, K]; returns float logits [B, k, V] of the asked codebooks."""
        ...


class EagerSampling:
    """Steps computed by running the core."""

    def __init__(self, preparation: Preparation, condition: object, cache: KeyValueCache) -> None:
        self._preparation = preparation
        self._core = preparation.core
        self.condition = condition
        self.cache = cache

    def read(self, rows: Tensor) -> None:
        """Takes in rows [B, S, K] whose successors are known already."""
        self._core.trunk(rows, self.condition, self.cache)

    def logits(self, row: Tensor, asked: slice) -> Tensor:
        """Takes in one row [B, K]; returns float logits [B, k, V] of the asked codebooks."""
        hidden = self._core.trunk(row[:, None], self.condition, self.cache)  # [B, 1, D]
        if asked.start == asked.stop:
            return hidden.new_zeros(len(row), 0, self._core.codebook_size)
        logits: Tensor = self._preparation.heads(asked)(hidden).float()
        return logits.view(len(row), asked.stop - asked.start, self._core.codebook_size)


class GraphedSampling:
    """Steps replayed from graphs, on rows, a condition and a cache that stay where they are."""

    def __init__(
        self, preparation: Preparation, condition: object, cache: KeyValueCache, capture: Capture
    ) -> None:
        self._eager = EagerSampling(preparation, condition, cache)
        self._capture = capture
        self._row: Tensor | None = None
        self._graphs: dict[tuple[int, int], GraphedSteps] = {}

    def restart(self, condition: object) -> None:
        """Begins again with another condition of the same signature."""
        overwrite(self._eager.condition, condition)
        self._eager.cache.length = 0

    def read(self, rows: Tensor) -> None:
        """Takes in rows [B, S, K] whose successors are known already."""
        self._eager.read(rows)

    def logits(self, row: Tensor, asked: slice) -> Tensor:
        """Takes in one row [B, K]; returns float logits [B, k, V] of the asked codebooks."""
        if self._row is None:
            self._row = row.clone()
        fixed = self._row
        fixed.copy_(row)
        key = (asked.start, asked.stop)
        if key not in self._graphs:
            self._graphs[key] = GraphedSteps(
                lambda: self._eager.logits(fixed, asked), self._eager.cache, self._capture
            )
        return self._graphs[key].run()


class Preparation:
    """What makes the steps of a core fast, kept from one sampling to the next.

    The core itself stays as it is; only while it is `ready` do other modules stand in for its
    linear maps. A core whose weights have changed since needs a new preparation.

    A module that names some of its linear maps in `joined_names` has one in their place, `joined`;
    outside of sampling that is None.
    """

    def __init__(
        self,
        core: Core,
        weight_format: WeightFormat = WeightFormat.FLOAT32,
        capture: Capture | None = None,
    ) -> None:
        """capture: makes graphs of steps; on a CUDA device there is one that does."""
        self.core = core
        self._module = cast(nn.Module, core)
        self._weight = next(iter(core.lm_heads.parameters()))
        self.device = self._weight.device
        self.weight_format = weight_format
        if capture is None and self.device.type == "cuda":
            capture = capture_on_cuda
        if self.device.type != "cpu" and weight_format is WeightFormat.INT8:
            raise RequestError(f"int8 weights are for a CPU, the core is on {self.device}")
        self._stand_ins: dict[str, nn.Module] = {}
        self._joined: dict[str, tuple[str, ...]] = {}
        self._heads: dict[tuple[int, int], nn.Module] = {}
        self._graphed: OrderedDict[tuple[Any, ...], GraphedSampling] = OrderedDict()
        self._capture = capture
        self._is_adapted = False
        for path, module in self._blocks():
            names = getattr(module, "joined_names", ())
            parts = [getattr(module, name) for name in names]
            if parts and are_joinable(parts):
                self._joined[f"{path}.joined"] = tuple(f"{path}.{name}" for name in names)
                self._stand_ins[f"{path}.joined"] = JoinedLinear(parts, weight_format)
            if isinstance(module, nn.Linear) and is_linear(module) and self.device.type == "cpu":
                self._stand_ins[path] = JoinedLinear([module], weight_format)

    def _blocks(self) -> Iterator[tuple[str, nn.Module]]:
        """Yields every module inside the core's layers with its path in the core."""
        blocks = {id(module) for layer in self.core.layers for module in layer.modules()}
        for path, module in self._module.named_modules():
            if id(module) in blocks:
                yield path, module

    def heads(self, asked: slice) -> nn.Module:
        """Returns one linear map for the heads of a range of codebooks."""
        key = (asked.start, asked.stop)
        if key not in self._heads:
            heads = cast(list[nn.Linear], list(self.core.lm_heads)[asked])
            self._heads[key] = JoinedLinear(heads, self.weight_format)
        return self._heads[key]

    @contextmanager
    def ready(self, adapters: RowAdapters | None = None) -> Iterator[None]:
        """Puts the fast linear maps into the core, with adapters by row, and takes them out."""
        chosen = dict(self._stand_ins)
        if adapters is not None:
            chosen |= self._adapted(adapters)
        before: list[tuple[nn.Module, str, nn.Module | None]] = []
        try:
            self._is_adapted = adapters is not None
            for path, module in chosen.items():
                parent_path, _, name = path.rpartition(".")
                parent = self._module.get_submodule(parent_path)
                before.append((parent, name, getattr(parent, name)))
                setattr(parent, name, module)
            yield
        finally:
            self._is_adapted = False
            for parent, name, original in before:
                setattr(parent, name, original)

    def sampling(self, condition: object, n_rows: int, n_steps: int) -> Sampling:
        """Returns what computes n_steps steps of n_rows rows while the core is ready."""
        if self._capture is None or self._is_adapted:
            return EagerSampling(self, condition, self.core.new_cache(n_rows, n_steps))
        key = (n_rows, n_steps, *signature(condition))
        if key in self._graphed:
            self._graphed.move_to_end(key)
            self._graphed[key].restart(condition)
        else:
            while len(self._graphed) >= MOST_GRAPHED:
                self._graphed.popitem(last=False)
            cache = self.core.new_cache(n_rows, n_steps)
            self._graphed[key] = GraphedSampling(self, condition, cache, self._capture)
        return self._graphed[key]

    def _adapted(self, adapters: RowAdapters) -> dict[str, nn.Module]:
        """Returns the linear maps that the adapters change, by path."""
        paths = adapters.paths
        result: dict[str, nn.Module] = {}
        for joined, parts in self._joined.items():
            if paths & set(parts):
                result[joined] = self._row_adapted(self._stand_ins[joined], parts, adapters)
                paths = paths - set(parts)
        for path in sorted(paths):
            base = self._stand_ins.get(path, self._module.get_submodule(path))
            result[path] = self._row_adapted(base, (path,), adapters)
        return result

    def _row_adapted(
        self, base: nn.Module, parts: tuple[str, ...], adapters: RowAdapters
    ) -> RowAdaptedLinear:
        linears = [self._module.get_submodule(part) for part in parts]
        sizes = [
            (linear.in_features, linear.out_features)
            for linear in linears
            if isinstance(linear, nn.Linear)
        ]
        return RowAdaptedLinear(base, adapters.stacked(parts, sizes), self._weight)
