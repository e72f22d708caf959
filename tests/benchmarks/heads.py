"""The face's own head against one matrix of outputs behind TRL's fused head, in turns.

python -m tests.benchmarks.heads [--tiny]
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass

import torch

from alignment.face import FlatAudioLM
from generator.bench.timing import Timing, time_in_turns
from generator.lm.patterns import shift_right
from generator.lm.starter import StarterConfig, StarterCore
from tests.benchmarks.augmented import AugmentedAudioLM
from tests.benchmarks.rows import random_rows
from tests.tiny import tiny_core


@dataclass(frozen=True)
class Case:
    """A core's size, and a batch of clips."""

    width: int
    n_layers: int
    n_codebooks: int
    codebook_size: int
    n_clips: int = 8
    n_frames: int = 125

    def core(self) -> StarterCore:
        """Returns a core of this size with random weights."""
        config = StarterConfig(
            width=self.width,
            n_layers=self.n_layers,
            n_heads=self.width // 32,
            delays=tuple(range(self.n_codebooks)),
            codebook_size=self.codebook_size,
        )
        return tiny_core(config=config)


CASES = (Case(256, 5, 2, 1024), Case(256, 5, 4, 1024), Case(256, 5, 4, 2048, n_clips=4))
TINY_CASES = (Case(32, 1, 2, 64, n_clips=2, n_frames=10),)


@dataclass(frozen=True)
class Result:
    """One batch forward and back by either head."""

    case: Case
    trunk: Timing
    """The transformer alone, which both have."""
    native: Timing
    augmented: Timing
    difference: float
    """The largest between log-probabilities of the two."""

    @property
    def ratio(self) -> float:
        """How often the native batch fits into the time of the augmented one."""
        return self.augmented.cpu_s / self.native.cpu_s

    @property
    def ratio_of_heads(self) -> float:
        """The same without the transformer."""
        return (self.augmented.cpu_s - self.trunk.cpu_s) / (self.native.cpu_s - self.trunk.cpu_s)


def compare(case: Case, n_runs: int) -> Result:
    """Returns how long a batch takes forward and back with each head."""
    core = case.core()
    native = FlatAudioLM(core)
    augmented = AugmentedAudioLM(copy.deepcopy(core))
    ids, labels = random_rows(core, case.n_clips, case.n_frames)

    def score(model: torch.nn.Module) -> torch.Tensor:
        model.zero_grad()
        log_probs = model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs
        log_probs.sum().backward()
        return log_probs.detach()

    def transform() -> None:
        native.zero_grad()
        rows = native.vocabulary.split(ids)
        condition = core.condition(rows.text, rows.text_mask, rows.seconds)
        core.trunk(shift_right(rows.grid, core.pattern.hole), condition).sum().backward()

    difference = float((score(native) - score(augmented)).abs().max())
    ways = [transform, lambda: score(native), lambda: score(augmented)]
    timings = time_in_turns(ways, n_runs)
    return Result(case, *timings, difference)


def line_of(result: Result) -> str:
    """Returns a result as a row of the table."""
    case = result.case
    return (
        f"| d{case.width} L{case.n_layers}, {case.n_codebooks} codebooks of {case.codebook_size} "
        f"| {case.n_clips} x {case.n_frames} | {result.trunk.cpu_s:.3f} "
        f"| {result.native.cpu_s:.3f} | {result.augmented.cpu_s:.3f} "
        f"| {result.ratio:.2f} | {result.ratio_of_heads:.2f} | {result.difference:.1e} "
        f"| {result.native.n_runs} |"
    )


def main(arguments: list[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="sizes of seconds, to try it out")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(
        "| core | clips x frames | transformer, CPU s | with native head | with augmented head "
        "| ratio | of the heads alone | largest difference | runs |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for case in TINY_CASES if options.tiny else CASES:
        print(line_of(compare(case, options.runs)), flush=True)


if __name__ == "__main__":
    main()
