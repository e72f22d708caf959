"""`python -m alignment METHOD RUN_FOLDER`: trains a run and exits with what became of it.

`python -m alignment score --reward FOLDER CLIPS...` scores clips by a trained reward model, and
`python -m alignment best-of BASE REWARD PROMPTS OUT` makes clips and keeps the best.

Exit codes:
  0   done, the checkpoint is in RUN_FOLDER/result
  65  the run folder cannot be trained from
  75  the run was asked to stop (SIGTERM or SIGINT) and saved what it had; start it again to go on
  76  memory ran out; standard error says which settings need less
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.methods import METHODS
from alignment.reward import command as scoring
from alignment.rl import best_of

if TYPE_CHECKING:
    from alignment.stopping import StopSwitch

DONE = 0
BAD_RUN = os.EX_DATAERR
STOPPED = os.EX_TEMPFAIL
OUT_OF_MEMORY = os.EX_PROTOCOL
TOLD_CODES = (BAD_RUN, OUT_OF_MEMORY, STOPPED)
"""Of several ranks' codes the first of these is the run's."""

# Nothing is looked up or told outside this machine, whatever the libraries' defaults are.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the command line's arguments."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m alignment", description=__doc__, formatter_class=shape
    )
    methods = parser.add_subparsers(dest="method", required=True, metavar="METHOD")
    for method in METHODS.values():
        learns_from = ", ".join(sorted(outcome.value for outcome in method.outcomes))
        command = methods.add_parser(
            method.name,
            help=method.title,
            description=f"{method.title}\n\nReads pairs of outcome: {learns_from}. "
            "Settings stand in run.json; docs/alignment.md lists them.",
            formatter_class=shape,
        )
        command.add_argument("run_folder", type=Path, help="folder with run.json")
        command.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        command.add_argument(
            "--devices",
            type=int,
            help="how many to train on, a process each (default: all GPUs, or one processor)",
        )
        command.add_argument(
            "--threads", type=int, default=1, help="threads of the matrix products (default: 1)"
        )
    scoring.add_command(methods)
    best_of.add_command(methods)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Returns the exit code of a run."""
    options = parse(arguments)
    os.environ.update(OFFLINE)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    # Threads that wait for each other by spinning doubled the CPU time of a run.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    if options.method in (scoring.NAME, best_of.NAME):
        return _score(options) if options.method == scoring.NAME else _keep_best(options)

    from alignment.errors import RunFolderError, StopRequested
    from alignment.stopping import StopSwitch

    stop = StopSwitch()
    stop.install()
    try:
        summary = _train(options, stop)
    except RunFolderError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return BAD_RUN
    except StopRequested as exc:
        print(f"stopped: {exc}; start it again to go on", file=sys.stderr)
        return STOPPED
    except RanksFailed as exc:
        return exc.code
    except Exception as exc:
        from alignment.memory import OutOfMemory

        if not isinstance(exc, OutOfMemory):
            raise
        print(f"error: {exc}", file=sys.stderr)
        return OUT_OF_MEMORY
    if summary is not None and os.environ.get("RANK", "0") == "0":
        print(json.dumps(summary, indent=1))
    return DONE


def _score(options: argparse.Namespace) -> int:
    """Returns the exit code of scoring clips."""
    from generator.errors import GeneratorError

    try:
        lines = scoring.run_scoring(options)
    except GeneratorError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return BAD_RUN
    print("\n".join(lines))
    return DONE


def _keep_best(options: argparse.Namespace) -> int:
    """Returns the exit code of making clips and keeping the best."""
    from alignment.errors import AlignmentError
    from generator.errors import GeneratorError

    try:
        told = best_of.run_command(options)
    except (AlignmentError, GeneratorError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return BAD_RUN
    print(json.dumps(told, indent=1))
    return DONE


class RanksFailed(Exception):
    """Ranks ended otherwise than well, after they said why."""

    def __init__(self, codes: Mapping[int, int]) -> None:
        """codes: by rank, negative for a signal."""
        super().__init__(f"ranks failed: {dict(codes)}")
        told = [code for code in TOLD_CODES if code in codes.values()]
        self.code = told[0] if told else 1


def _train(options: argparse.Namespace, stop: StopSwitch) -> dict[str, Any] | None:
    """Returns the summary of the run, None where ranks were started that tell it themselves.

    Libraries that take seconds to load come last.
    """
    from alignment.errors import RunFolderError
    from alignment.runs import read_run

    run = read_run(options.run_folder.resolve())
    if run.method != options.method:
        raise RunFolderError(f"the run's method is {run.method}, asked for was {options.method}")

    import torch

    from alignment import launch

    stop.raise_if_requested()
    if launch.is_rank():
        launch.die_with_parent()
    elif (n_ranks := launch.usable_devices(options.device, options.devices)) > 1:
        command = launch.rank_command(
            run.method, str(run.path), device=options.device, threads=options.threads
        )
        if codes := launch.launch_ranks(command, n_ranks):
            raise RanksFailed(codes)
        return None  # the first rank told it

    from transformers.utils.logging import set_verbosity_error

    stop.raise_if_requested()

    from alignment.training import train_run

    torch.set_num_threads(options.threads)
    set_verbosity_error()
    warnings.simplefilter("ignore", FutureWarning)  # of libraries about each other
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("alignment").setLevel(logging.INFO)
    return train_run(run, stop=stop, device=options.device)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
