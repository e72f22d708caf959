"""Subcommand `train-planner`."""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from pathlib import Path

from generator.text.planner import save_planner
from generator.text.training import held_out_examples, score_planner, train_planner

logger = logging.getLogger(__name__)


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand that trains the planner."""
    command = subparsers.add_parser("train-planner", help="train prompt to header on captions")
    command.add_argument("--out", type=Path, required=True, help="folder of the planner")
    command.add_argument("--examples", type=int, default=40000)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Trains, saves and scores a planner."""
    planner = train_planner(seed=arguments.seed, n_examples=arguments.examples)
    save_planner(planner, arguments.out)
    score = score_planner(planner, held_out_examples(1000))
    logger.info("planner on held-out captions: %s", asdict(score))
