"""The processes of one run, a rank each, and what they agree on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is."""

    rank: int = 0
    n_ranks: int = 1

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> Ranks:
        """Returns what torchrun told this process; without it the process is alone."""
        return cls(
            rank=int(environment.get("RANK", "0")), n_ranks=int(environment.get("WORLD_SIZE", "1"))
        )

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Where tensors lie that ranks exchange."""
        on_gpu = torch.distributed.get_backend() == "nccl"
        return torch.device("cuda" if on_gpu else "cpu")

    def agree(self, flag: bool) -> bool:
        """Returns the first rank's flag, on every rank; each has to ask."""
        if self.n_ranks == 1:
            return flag
        told = torch.tensor([int(flag)], device=self.device)
        torch.distributed.broadcast(told, src=0)
        return bool(told.item())

    def wait(self) -> None:
        """Waits until every rank has come here."""
        if self.n_ranks > 1:
            torch.distributed.barrier()
