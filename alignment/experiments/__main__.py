"""Trials of alignment on simulated tastes, and their table."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.experiments.trial import Trial

OUT = Path("build/experiments")
BASE = Path("generator/starter")
PROMPTS = Path("platform/attune/catalog/data/starter_prompts.json")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(prog="python -m alignment.experiments", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run one trial; what is done is not done again")
    run.add_argument("--taste", required=True, help="darker, busier, slower, consonant, ...")
    run.add_argument("--method", default="dpo", help="a method of alignment, or best-of-8")
    run.add_argument("--pairs", type=int, default=480, help="pairs rated a round")
    run.add_argument("--rounds", type=int, default=1)
    run.add_argument("--labels", default="noisy", help="noisy, random or flipped")
    run.add_argument("--agreement", type=float, default=0.75)
    run.add_argument("--ties", type=float, default=0.0, help="share of pairs called a tie")
    run.add_argument(
        "--reward-model", action="store_true", help="have dpo or expert learn by a reward model"
    )
    run.add_argument("--seed", type=int, default=0)
    run.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the method"
    )
    run.add_argument("--base", type=Path, default=BASE, help="full checkpoint to start from")
    run.add_argument("--prompts", type=Path, default=PROMPTS)
    run.add_argument("--duration", type=float, default=5.0, help="seconds of every clip")
    run.add_argument("--threads", type=int, default=1)
    run.add_argument("--out", type=Path, default=OUT)
    table = commands.add_parser("table", help="print the results of all trials as Markdown")
    table.add_argument("--out", type=Path, default=OUT)
    return parser.parse_args(arguments)


def read_trial(options: argparse.Namespace) -> Trial:
    """Returns the trial that the command line describes."""
    from alignment.errors import ConfigError
    from alignment.experiments.labels import Labels
    from alignment.experiments.trial import Trial
    from alignment.simulation.tastes import Taste

    for name, kind in (("taste", Taste), ("labels", Labels)):
        allowed = [member.value for member in kind]
        if getattr(options, name) not in allowed:
            raise ConfigError(f"--{name} is one of {allowed}, got {getattr(options, name)!r}")
    return Trial(
        taste=Taste(options.taste),
        method=options.method,
        n_pairs=options.pairs,
        n_rounds=options.rounds,
        labels=Labels(options.labels),
        agreement=options.agreement,
        tie_share=options.ties,
        seed=options.seed,
        config=dict(_setting(text) for text in options.set),
        has_reward_model=options.reward_model,
    )


def _setting(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main(arguments: list[str]) -> int:
    """Returns the exit code of a trial or of the table."""
    options = parse(arguments)
    os.environ["OMP_NUM_THREADS"] = str(getattr(options, "threads", 1))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    import torch

    from alignment.errors import AlignmentError
    from alignment.experiments.table import results_table
    from alignment.experiments.trial import Prompts, Workspace, run_trial

    if options.command == "table":
        print(results_table(options.out))
        return os.EX_OK
    torch.set_num_threads(options.threads)
    try:
        space = Workspace(
            root=options.out.resolve(),
            base=options.base.resolve(),
            prompts=Prompts.read(options.prompts),
            duration_s=options.duration,
            n_threads=options.threads,
        )
        result = run_trial(read_trial(options), space)
    except AlignmentError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return os.EX_DATAERR
    print(json.dumps(result, indent=1))
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
