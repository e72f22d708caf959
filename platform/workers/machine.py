"""What this worker runs on."""

import os
import socket

from attune.jobs.report_services import Machine
from workers.generators import compute_device

MEGABYTE = 1_000_000


def device_name() -> str:
    """Returns the device's name: that of the GPU, or how many cores may be used."""
    if compute_device() == "cuda":
        import torch

        return str(torch.cuda.get_device_name())
    return f"CPU with {usable_cores()} cores"


def usable_cores() -> int:
    """Returns how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def this_machine() -> Machine:
    """Returns what is known of the device and its memory."""
    return Machine(
        worker=f"{socket.gethostname()}:{os.getpid()}",
        device=device_name(),
        memory_mb=_memory_bytes() // MEGABYTE,
        n_cores=usable_cores(),
    )


def _memory_bytes() -> int:
    """Returns the memory of the GPU where one computes, else that of the machine."""
    if compute_device() == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
