"""A training step over delayed codebooks against one over the same clips flattened naively.

Delay takes T + K - 1 steps of the transformer, flattening K * T: what attends to what grows with
the square of that.

python -m tests.benchmarks.interleaving [--tiny]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial

import torch

from alignment.face import FlatAudioLM
from generator.bench.timing import Timing, time_in_turns
from generator.lm.starter import StarterConfig
from tests.benchmarks.rows import random_rows
from tests.tiny import tiny_core

PATTERNS = ("delays", "flattening")


@dataclass(frozen=True)
class Case:
    """A clip of a core."""

    n_codebooks: int
    n_frames: int
    width: int = 256
    n_layers: int = 5
    n_clips: int = 2


CASES = (Case(2, 125), Case(2, 500), Case(4, 125), Case(4, 250))
TINY_CASES = (Case(4, 12, width=32, n_layers=1),)


def compare(case: Case, n_runs: int) -> tuple[list[int], list[Timing]]:
    """Returns steps of the transformer and the timing of each of PATTERNS, forward and back."""
    n_steps, ways = [], []
    for pattern in PATTERNS:
        config = StarterConfig(
            width=case.width,
            n_layers=case.n_layers,
            n_heads=max(1, case.width // 64),
            delays=tuple(range(case.n_codebooks)),
            pattern=pattern,
        )
        model = FlatAudioLM(tiny_core(config=config))
        ids, labels = random_rows(model.core, case.n_clips, case.n_frames)
        n_steps.append(model.core.pattern.n_steps(case.n_frames))
        ways.append(partial(_step, model, ids, labels))
    return n_steps, time_in_turns(ways, n_runs)


def _step(model: FlatAudioLM, ids: torch.Tensor, labels: torch.Tensor) -> None:
    model.zero_grad()
    model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs.sum().backward()


def main(arguments: list[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="sizes of seconds, to try it out")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(
        "| codebooks | frames | steps, delay | steps, flattened | delay, CPU s "
        "| flattened, CPU s | ratio | runs |\n|---|---|---|---|---|---|---|---|"
    )
    for case in TINY_CASES if options.tiny else CASES:
        n_steps, (delay, flattened) = compare(case, options.runs)
        print(
            f"| {case.n_codebooks} | {case.n_frames} | {n_steps[0]} | {n_steps[1]} "
            f"| {delay.cpu_s:.3f} | {flattened.cpu_s:.3f} "
            f"| {flattened.cpu_s / delay.cpu_s:.2f} | {options.runs} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
