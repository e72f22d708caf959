"""`python -m alignment METHOD RUN_FOLDER`: trains a run and exits with what became of it.

0: done, the adapter is in RUN_FOLDER/result. 65: the run folder cannot be trained from. 75: the
run was asked to stop (SIGTERM or SIGINT), saved what it had and goes on when started again.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.methods import METHODS

if TYPE_CHECKING:
    from alignment.stopping import StopSwitch

DONE = 0
BAD_RUN = os.EX_DATAERR
STOPPED = os.EX_TEMPFAIL

# Nothing is looked up or told outside this machine, whatever the libraries' defaults are.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(prog="python -m alignment", description=__doc__)
    methods = parser.add_subparsers(dest="method", required=True)
    for method in METHODS.values():
        command = methods.add_parser(method.name, help=method.title)
        command.add_argument("run_folder", type=Path, help="folder with run.json")
        command.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        command.add_argument(
            "--threads", type=int, default=1, help="threads of the matrix products"
        )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Returns the exit code of a run."""
    options = parse(arguments)
    os.environ.update(OFFLINE)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    # Threads that wait for each other by spinning doubled the CPU time of a run.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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
    print(json.dumps(summary, indent=1))
    return DONE


def _train(options: argparse.Namespace, stop: StopSwitch) -> dict[str, Any]:
    """Returns the summary of the run; libraries that take seconds to load come last."""
    from alignment.errors import RunFolderError
    from alignment.runs import read_run

    run = read_run(options.run_folder.resolve())
    if run.method != options.method:
        raise RunFolderError(f"the run's method is {run.method}, asked for was {options.method}")

    import torch
    from transformers.utils.logging import set_verbosity_error

    stop.raise_if_requested()

    from alignment.training import train_run

    torch.set_num_threads(options.threads)
    set_verbosity_error()
    warnings.simplefilter("ignore", FutureWarning)  # of libraries about each other
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    return train_run(run, stop=stop, device=options.device)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
