"""Steps of a core as CUDA graphs, one for each cache bucket, on tensors that never move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from generator.lm.attention import KeyValueCache

LEAST_BUCKET = 64

Step = Callable[[], Tensor]
Capture = Callable[[Step], Step]


def bucket_of(n_steps: int, most: int) -> int:
    """Returns the smallest power of two from 64 on that holds n_steps, but at most `most`."""
    bucket = LEAST_BUCKET
    while bucket < n_steps:
        bucket *= 2
    return min(bucket, most)


def capture_on_cuda(step: Step) -> Step:
    """Returns a step that replays what `step` computed, on the same tensors.

    It runs twice before, on a stream of its own: kernels that tune themselves cannot be captured.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def leaves(condition: object) -> Iterator[Any]:
    """Yields what a condition of nested dataclasses and tuples holds, always in one order."""
    if is_dataclass(condition) and not isinstance(condition, type):
        for field in fields(condition):
            yield from leaves(getattr(condition, field.name))
    elif isinstance(condition, tuple | list):
        for item in condition:
            yield from leaves(item)
    else:
        yield condition


def signature(condition: object) -> tuple[Any, ...]:
    """Returns what two conditions share if one can stand in for the other in a graph."""
    return tuple(
        (tuple(leaf.shape), leaf.dtype) if isinstance(leaf, Tensor) else leaf
        for leaf in leaves(condition)
    )


def overwrite(condition: object, other: object) -> None:
    """Copies the tensors of another condition of the same signature into this one's."""
    for mine, theirs in zip(leaves(condition), leaves(other), strict=True):
        if isinstance(mine, Tensor):
            mine.copy_(theirs)


class GraphedSteps:
    """Single steps of a core on fixed rows, condition and cache, each bucket captured once."""

    def __init__(
        self,
        step: Step,
        cache: KeyValueCache,
        capture: Capture = capture_on_cuda,
    ) -> None:
        self._step = step
        self._cache = cache
        self._capture = capture
        self._captured: dict[int, Step] = {}

    def run(self) -> Tensor:
        """Returns what the step gives after the steps in the cache, and counts it as seen."""
        cache = self._cache
        bucket = bucket_of(cache.length + 1, cache.n_steps)
        cache.place.fill_(cache.length)
        cache.bucket = bucket
        try:
            if bucket not in self._captured:
                self._captured[bucket] = self._capture(self._step)
            result = self._captured[bucket]()
        finally:
            cache.bucket = None
        cache.length += 1
        return result
