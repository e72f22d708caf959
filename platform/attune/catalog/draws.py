"""Draws from any source of uniform numbers: `random.Random` and NumPy's generator both fit."""

from collections.abc import Sequence
from typing import Protocol


class UniformSource(Protocol):
    """Gives uniform numbers from 0, included, to 1, excluded."""

    def random(self) -> float: ...


def draw_integer(limit: int, rng: UniformSource) -> int:
    """A whole number from 0 to limit - 1, each as likely as any other."""
    return min(int(rng.random() * limit), limit - 1)


def draw_index(weights: Sequence[float], rng: UniformSource) -> int:
    """An index drawn in proportion to the weights, which need not sum to 1."""
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError(f"weights {list(weights)}: expected none below 0, and some above")
    mark = rng.random() * total
    last = 0
    for index, weight in enumerate(weights):
        if weight == 0:
            continue
        last = index
        mark -= weight
        if mark < 0:
            break
    return last
