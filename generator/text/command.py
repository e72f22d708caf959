"""Subcommands `train-planner`, `evaluate-prompts` and `list-lookalikes`."""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from pathlib import Path

from generator.files import write_atomically, write_json
from generator.text.free_prompts import Half, load_free_prompts, score_free_prompts
from generator.text.lexicon import known_phrases, words_of
from generator.text.planner import load_planner, save_planner
from generator.text.reading import DENIALS
from generator.text.spelling import LOOKALIKES_FILE, find_lookalikes, lookalikes_text
from generator.text.training import held_out_examples, score_planner, train_planner
from generator.text.vocabulary import STOP_WORDS

STARTER = Path(__file__).parents[1] / "starter"

logger = logging.getLogger(__name__)


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommands that train and measure the planner."""
    train = subparsers.add_parser("train-planner", help="train prompt to header on captions")
    train.add_argument("--out", type=Path, required=True, help="folder of the planner")
    train.add_argument("--examples", type=int, default=60000)
    train.add_argument("--seed", type=int, default=0)
    train.set_defaults(run=run)

    evaluate = subparsers.add_parser(
        "evaluate-prompts", help="measure a planner on prompts written by hand"
    )
    evaluate.add_argument("--planner", type=Path, default=STARTER, help="folder of the planner")
    evaluate.add_argument("--output", type=Path, help="JSON file for the figures")
    evaluate.set_defaults(run=run_evaluation)

    lookalikes = subparsers.add_parser(
        "list-lookalikes", help="list the English words that the planner must not mend"
    )
    lookalikes.add_argument("--dictionary", type=Path, default=Path("/usr/share/dict/words"))
    lookalikes.add_argument("--out", type=Path, default=LOOKALIKES_FILE)
    lookalikes.set_defaults(run=run_lookalikes)


def run(arguments: argparse.Namespace) -> None:
    """Trains, saves and scores a planner."""
    planner = train_planner(seed=arguments.seed, n_examples=arguments.examples)
    save_planner(planner, arguments.out)
    score = score_planner(planner, held_out_examples(1000))
    logger.info("planner on held-out captions: %s", asdict(score))


def run_evaluation(arguments: argparse.Namespace) -> None:
    """Logs how a planner reads both halves; mistakes are shown of the development half only."""
    planner = load_planner(arguments.planner)
    report = {}
    for half, prompts in load_free_prompts().items():
        score = score_free_prompts(planner.plan, prompts)
        report[half.value] = score.to_json()
        logger.info("%s half: %s", half, score.summary)
        if half is Half.DEVELOPMENT:
            for mistake in score.mistakes:
                logger.info("  %s", mistake)
    if arguments.output is not None:
        write_json(arguments.output, report)


def run_lookalikes(arguments: argparse.Namespace) -> None:
    """Writes the words of a dictionary that resemble known words; needed after new synonyms."""
    dictionary = arguments.dictionary.read_text().split()
    known = words_of(known_phrases()) | STOP_WORDS | DENIALS
    words = find_lookalikes(dictionary, known)
    write_atomically(arguments.out, lookalikes_text(words).encode())
    logger.info("%d of %d words resemble known ones", len(words), len(dictionary))
