"""How much memory a run took, and what to do when there was too little."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from alignment.errors import AlignmentError
from alignment.settings import Settings

BYTES_PER_MB = 1024**2
LINUX_STATUS = Path("/proc/self/status")
ALLOCATOR_WORDS = ("can't allocate memory", "cannot allocate memory", "out of memory")
BATCH_SETTINGS = ("batch_pairs", "batch_clips", "batch_prompts")


class OutOfMemory(AlignmentError):
    """The device has less memory than a step needs; the message says what makes it need less."""


def peak_memory_mb(device: str) -> float:
    """Returns the most memory used so far: of the GPU where there is one, else of this process."""
    if device != "cpu" and torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / BYTES_PER_MB, 1)
    if LINUX_STATUS.exists():
        # What getrusage tells here includes the program that started this one.
        found = next(line for line in LINUX_STATUS.read_text().splitlines() if "VmHWM" in line)
        return round(int(found.split()[1]) / 1024, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes, on macOS bytes
    return round(peak / (BYTES_PER_MB if sys.platform == "darwin" else 1024), 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out.

    PyTorch's allocator for processors raises a plain RuntimeError, known by its words.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError | OSError) and any(
        words in said for words in ALLOCATOR_WORDS
    )


def memory_advice(config: Settings, device: str) -> str:
    """Returns what to set so that the same training needs less memory."""
    stored = config.to_mapping()
    steps = [f"{peak_memory_mb(device):.0f} MB were in use"]
    batch = next((name for name in BATCH_SETTINGS if name in stored), None)
    if batch is not None and stored[batch] > 1:
        halved = f"set {batch} to {stored[batch] // 2} (it is {stored[batch]})"
        if "accumulation_steps" in stored:
            now = stored["accumulation_steps"]
            halved += (
                f" and accumulation_steps to {2 * now} (it is {now}), which makes the same steps"
            )
        steps.append(halved)
    if stored.get("gradient_checkpointing") is False:
        steps.append("set gradient_checkpointing to true, which takes about a fifth more time")
    steps.append("or train on shorter clips")
    return "out of memory: " + "; ".join(steps)
