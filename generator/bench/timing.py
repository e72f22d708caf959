"""Two ways of doing one thing, timed in turns, so that a busy machine slows both alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch


@dataclass(frozen=True)
class Timing:
    """Medians over runs, in seconds."""

    cpu_s: float
    """Of this process; on a GPU the time the process waited is in it too."""
    wall_s: float
    n_runs: int


def time_in_turns(ways: Sequence[Callable[[], object]], n_runs: int) -> list[Timing]:
    """Returns the timing of each way, run one after another n_runs times, A B A B ...

    Each way runs once before, unmeasured.
    """
    if n_runs < 1:
        raise ValueError(f"n_runs is at least 1, got {n_runs}")
    cpu: list[list[float]] = [[] for _ in ways]
    wall: list[list[float]] = [[] for _ in ways]
    for way in ways:
        way()
    for _ in range(n_runs):
        for number, way in enumerate(ways):
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            way()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            cpu[number].append(time.process_time() - cpu_start)
            wall[number].append(time.perf_counter() - wall_start)
    return [Timing(median(c), median(w), n_runs) for c, w in zip(cpu, wall, strict=True)]
