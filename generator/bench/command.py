"""Subcommand `bench`: how fast clips are sampled and decoded, and beside transformers."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch

from generator.bench.comparison import CASES, TINY_CASES, compare, table
from generator.bench.starter import bench_starter, starter_table

logger = logging.getLogger(__name__)


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand that times sampling."""
    bench = subparsers.add_parser("bench", help="time sampling and decoding on this machine")
    bench.add_argument(
        "--against", choices=["transformers"], help="compare on MusicGen with random weights"
    )
    bench.add_argument("--tiny", action="store_true", help="sizes of seconds, to try it out")
    bench.add_argument("--only", help="cases whose label holds this, for instance 'd256'")
    bench.add_argument("--batch", type=int, help="clips at once, instead of each case's own")
    bench.add_argument("--frames", type=int, help="of a clip, instead of each case's own")
    bench.add_argument("--device", default="cpu")
    bench.add_argument("--seconds", type=float, default=10.0, help="of the starter's clips")
    bench.add_argument("--checkpoint", type=Path, help="instead of the starter")
    bench.add_argument("--out", type=Path, help="file for the tables, in Markdown")
    bench.set_defaults(run=run_bench)


def run_bench(arguments: argparse.Namespace) -> None:
    """Logs the tables, and writes them where asked."""
    torch.set_num_threads(1)
    texts = []
    if arguments.against:
        results = []
        for known in TINY_CASES if arguments.tiny else CASES:
            case = replace(
                known,
                n_clips=arguments.batch or known.n_clips,
                n_frames=arguments.frames or known.n_frames,
            )
            if arguments.only is None or arguments.only in case.label:
                found = compare(case, arguments.device)
                logger.info("%s\n%s", case.label, table(found))
                results += found
        texts.append(table(results))
    else:
        texts.append(
            starter_table(
                bench_starter(
                    arguments.checkpoint,
                    duration_s=arguments.seconds,
                    n_runs=1 if arguments.tiny else 3,
                    device=arguments.device,
                )
            )
        )
    for text in texts:
        logger.info("measured:\n%s", text)
    if arguments.out:
        arguments.out.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
