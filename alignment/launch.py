"""One run on several devices: a process for each, started and watched as torchrun does."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence

import torch
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from alignment.errors import RunFolderError, StopRequested

PR_SET_PDEATHSIG = 1
MOST_DEVICES = 64


def usable_devices(device: str, asked: int | None) -> int:
    """Returns how many devices a run uses: all GPUs, one processor, or as many as were asked for.

    On processors several ranks share the cores, which is slower than one; it serves to try
    several GPUs without any.
    """
    available = torch.cuda.device_count() if device == "cuda" else MOST_DEVICES
    if asked is None:
        return max(available, 1) if device == "cuda" else 1
    if not 1 <= asked <= available:
        raise RunFolderError(f"devices are 1 to {available}, got {asked}")
    return asked


def is_rank(environment: Mapping[str, str] = os.environ) -> bool:
    """Returns whether this process was started by torchrun, or as torchrun does."""
    return "RANK" in environment and "WORLD_SIZE" in environment


def rank_command(method: str, folder: str, *, device: str, threads: int) -> list[str]:
    """Returns the command of one rank; torchrun's variables tell it which it is."""
    return [
        *(sys.executable, "-m", "alignment", method, folder),
        *("--device", device, "--threads", str(threads)),
    ]


def launch_ranks(command: Sequence[str], n_ranks: int) -> dict[int, int]:
    """Runs a command on n_ranks ranks of this machine; returns the exit codes of failed ranks.

    None failed where all ended well. A signal that asks this process to stop is passed on; the
    ranks have half a minute to save what they have, then this raises StopRequested.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # ranks say more
    with tempfile.TemporaryDirectory(prefix="attune-ranks-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=n_ranks,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            monitor_interval=0.2,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        entry, *arguments = command
        try:
            elastic_launch(config, entry)(*arguments)
        except ChildFailedError as exc:
            return {rank: failure.exitcode for rank, failure in exc.failures.items()}
        except SignalException as exc:
            raise StopRequested(f"the run was asked to stop by {exc.sigval.name}") from exc
    return {}


def die_with_parent() -> None:
    """Has Linux kill this rank when the process that started it dies, however it dies.

    Ranks lead sessions of their own, so that nothing else would end them.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
