"""Generators that stay loaded between jobs, the least recently used dropped first."""

from __future__ import annotations

import gc
from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog
from django.conf import settings

from attune.catalog.models import Checkpoint
from attune.catalog.storage import checkpoint_chain

if TYPE_CHECKING:
    from generator.synthesis import Generator

CAPACITY = 2
"""A base and its canary make most clips of one time."""

logger = structlog.get_logger(__name__)


def compute_device() -> str:
    """Returns the torch device that ATTUNE_DEVICE names; "auto" takes CUDA where there is one."""
    import torch

    if settings.ATTUNE_DEVICE != "auto":
        return str(settings.ATTUNE_DEVICE)
    return "cuda" if torch.cuda.is_available() else "cpu"


def chain_key(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Returns the content hashes of a checkpoint and its ancestors, the full one first."""
    hashes: list[str] = []
    link: Checkpoint | None = checkpoint
    while link is not None:
        hashes.append(link.content_hash)
        link = link.parent if link.kind == "adapter" else None
    return tuple(reversed(hashes))


class WarmGenerators:
    """Loads the generator of a checkpoint once and keeps the last few.

    The key is the content, not the name, so that an equal checkpoint is the same generator.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._loaded: OrderedDict[tuple[str, ...], Generator] = OrderedDict()

    def __len__(self) -> int:
        return len(self._loaded)

    def get(self, checkpoint: Checkpoint) -> Generator:
        """Returns the checkpoint's generator, loading and verifying it where it is not warm."""
        key = chain_key(checkpoint)
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        while len(self._loaded) >= self._capacity:
            self._loaded.popitem(last=False)
        self._loaded[key] = load_fresh(checkpoint)
        logger.info("generator_loaded", checkpoint=checkpoint.name, warm=len(self._loaded))
        return self._loaded[key]

    def drop(self) -> None:
        """Frees all generators and the device memory they held."""
        if not self._loaded:
            return
        self._loaded.clear()
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_fresh(checkpoint: Checkpoint) -> Generator:
    """Returns the checkpoint's generator read from its files, each held against its hash."""
    import torch

    from generator.synthesis import load_generator

    torch.set_num_threads(1)  # more than one thread a process is slower for these small models
    folder, adapters = checkpoint_chain(checkpoint)
    return load_generator(folder, adapters, device=compute_device())


WARM_GENERATORS = WarmGenerators()
