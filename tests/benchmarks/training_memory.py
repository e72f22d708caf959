"""How much memory DPO takes for each second of clips in a batch.

python -m tests.benchmarks.training_memory [--base FOLDER]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from generator.command import STARTER
from tests.benchmarks.runs import train_on_random_pairs

DURATIONS_S = (2.0, 4.0, 8.0)
BATCH_PAIRS = 8


def peak_mb(base: Path, duration_s: float, gradient_checkpointing: bool) -> float:
    """Returns the most memory that two steps of a batch took."""
    config = {
        "batch_pairs": BATCH_PAIRS,
        "n_epochs": 1,
        "sample_steps": 0,
        "gradient_checkpointing": gradient_checkpointing,
    }
    with tempfile.TemporaryDirectory() as folder:
        trained = train_on_random_pairs(
            Path(folder) / "run",
            base,
            n_pairs=2 * BATCH_PAIRS,
            duration_s=duration_s,
            config=config,
        )
    return float(trained.summary["memory_mb"])


def main(arguments: list[str] | None = None) -> None:
    """Prints the table and the slopes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, default=STARTER, help="a full checkpoint")
    parser.add_argument("--durations", type=float, nargs="+", default=DURATIONS_S)
    options = parser.parse_args(arguments)
    print("| gradient checkpointing | clip-seconds a batch | peak, MB |\n|---|---|---|")
    slopes = []
    for checkpointing in (False, True):
        peaks = []
        for duration_s in options.durations:
            peaks.append(peak_mb(options.base, duration_s, checkpointing))
            clip_s = 2 * BATCH_PAIRS * duration_s
            print(f"| {checkpointing} | {clip_s:g} | {peaks[-1]:.0f} |", flush=True)
        clip_seconds = 2 * BATCH_PAIRS * np.array(options.durations)
        slopes.append(np.polyfit(clip_seconds, peaks, 1)[0])
    print(
        f"\nMB for each clip-second: {slopes[0]:.2f}, with gradient checkpointing {slopes[1]:.2f} "
        f"({slopes[1] / slopes[0]:.0%})"
    )


if __name__ == "__main__":
    main()
