"""How long a DPO round takes: as many pairs as asked for, default settings, both cores.

python -m tests.benchmarks.dpo_round [--pairs 480] [--duration 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from generator.command import STARTER
from tests.benchmarks.runs import train_on_random_pairs


def main(arguments: list[str] | None = None) -> None:
    """Prints what the round took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, default=STARTER, help="a full checkpoint")
    parser.add_argument("--pairs", type=int, default=480)
    parser.add_argument("--duration", type=float, default=5.0, help="seconds of every clip")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        trained = train_on_random_pairs(
            Path(folder) / "run",
            options.base,
            n_pairs=options.pairs,
            duration_s=options.duration,
            config={},
            n_threads=options.threads,
        )
    summary = trained.summary
    print(
        f"{options.pairs} pairs of {options.duration:g} s, {summary['n_steps']} steps, "
        f"{options.threads} threads: {trained.wall_s:.0f} s by the clock, "
        f"{trained.cpu_s:.0f} s of processors, "
        f"{summary['memory_mb']:.0f} MB"
    )


if __name__ == "__main__":
    main()
