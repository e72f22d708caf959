"""Subcommand `compare-patterns`: which interleaving of codebooks is worth its steps."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from generator.codec.model import load_codec
from generator.corpus.storage import load_tokens
from generator.errors import GeneratorError
from generator.lm.batches import joined, tokenised_clips
from generator.lm.command import silence_codes
from generator.lm.comparison import ComparisonConfig, compare_patterns
from generator.lm.comparison_report import TABLE_MARKDOWN, write_report
from generator.lm.patterns import COMPARED

logger = logging.getLogger(__name__)


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand that compares interleaving patterns."""
    defaults = ComparisonConfig()
    command = subparsers.add_parser(
        "compare-patterns", help="train every interleaving pattern on one budget and compare them"
    )
    command.add_argument("--tokens", type=Path, nargs="+", required=True, help="tokenised corpora")
    command.add_argument("--codec", type=Path, required=True, help="folder of the codec")
    command.add_argument("--out", type=Path, required=True, help="folder to train in and report to")
    budget = command.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="CPU minutes of each training (8)")
    budget.add_argument("--steps", type=int, help="training steps of each pattern, in their stead")
    command.add_argument("--patterns", nargs="+", choices=COMPARED, default=list(COMPARED))
    for name, text in (
        ("codebooks", "how many of the codec's codebooks the cores speak"),
        ("width", "width of the cores"),
        ("layers", "layers of the cores"),
        ("frames", "frames of a window"),
        ("held-out", "clips at the end that are not trained on"),
    ):
        stored = "n_held_out" if name == "held-out" else f"n_{name}"
        default = getattr(defaults, stored if name != "width" else "width")
        command.add_argument(f"--{name}", type=int, default=default, help=f"{text} ({default})")
    command.add_argument("--seed", type=int, default=defaults.seed)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Trains pattern by pattern, and writes table and picture after each; resumes a folder."""
    torch.set_num_threads(1)
    minutes = arguments.minutes
    if minutes is None and arguments.steps is None:
        minutes = ComparisonConfig().minutes
    try:
        config = ComparisonConfig(
            minutes=minutes,
            max_steps=arguments.steps,
            n_codebooks=arguments.codebooks,
            width=arguments.width,
            n_layers=arguments.layers,
            n_frames=arguments.frames,
            n_held_out=arguments.held_out,
            seed=arguments.seed,
        )
    except ValueError as exc:
        raise GeneratorError(str(exc)) from exc
    codec = load_codec(arguments.codec)
    silence = silence_codes(codec)
    clips = joined(
        [
            tokenised_clips(*load_tokens(folder), silence, config.n_codebooks)
            for folder in arguments.tokens
        ]
    )
    compare_patterns(
        clips=clips,
        config=config,
        folder=arguments.out,
        codebook_size=codec.config.codebook_size,
        names=arguments.patterns,
        on_result=lambda results: write_report(arguments.out, results, config),
    )
    logger.info("\n%s", (arguments.out / TABLE_MARKDOWN).read_text())
