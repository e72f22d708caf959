"""Interleaving patterns: how the codes of a clip become the sequence a language model predicts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from generator.errors import RequestError


@dataclass(frozen=True)
class DelayPattern:
    """Codebook k runs `delays[k]` steps late (Copet et al. 2023, section 2.2, arXiv:2306.05284).

    Equal delays are the parallel pattern, 0, 1, 2, ... the delay pattern, and 0, 1, 1, 1 a
    partial delay. `codebook_size` is also the id of a hole, a place that holds no code.
    """

    delays: tuple[int, ...]
    codebook_size: int

    def __post_init__(self) -> None:
        if not self.delays or min(self.delays) != 0:
            raise ValueError(f"delays start at 0 and there is at least one, got {self.delays}")
        if self.codebook_size < 2:
            raise ValueError(f"codebook_size is at least 2, got {self.codebook_size}")

    @property
    def n_codebooks(self) -> int:
        """The number of codebooks K."""
        return len(self.delays)

    @property
    def hole(self) -> int:
        """The id of a place without a code."""
        return self.codebook_size

    def n_steps(self, n_frames: int) -> int:
        """The number of steps S that n_frames frames take."""
        return n_frames + max(self.delays)

    def n_frames(self, n_steps: int) -> int:
        """The number of frames T that n_steps steps hold."""
        return n_steps - max(self.delays)

    def build(self, codes: Tensor) -> Tensor:
        """Returns the grid [B, S, K] of codes [B, K, T], with holes where a codebook is silent."""
        if codes.ndim != 3 or codes.shape[1] != self.n_codebooks:
            raise RequestError(
                f"expected codes of shape [B, {self.n_codebooks}, T], got {tuple(codes.shape)}"
            )
        n_frames = codes.shape[2]
        grid = codes.new_full((codes.shape[0], self.n_steps(n_frames), self.n_codebooks), self.hole)
        for codebook, delay in enumerate(self.delays):
            grid[:, delay : delay + n_frames, codebook] = codes[:, codebook]
        return grid

    def revert(self, grid: Tensor) -> Tensor:
        """Returns the codes [B, K, T] of a grid [B, S, K]."""
        if grid.ndim != 3 or grid.shape[2] != self.n_codebooks:
            raise RequestError(
                f"expected a grid of shape [B, S, {self.n_codebooks}], got {tuple(grid.shape)}"
            )
        n_frames = self.n_frames(grid.shape[1])
        if n_frames < 1:
            raise RequestError(
                f"delays {self.delays} need more than {max(self.delays)} steps, got {grid.shape[1]}"
            )
        streams = [
            grid[:, delay : delay + n_frames, codebook]
            for codebook, delay in enumerate(self.delays)
        ]
        return torch.stack(streams, dim=1)

    def present(self, n_frames: int) -> Tensor:
        """Returns bool [S, K]: true where a step of the grid holds a code."""
        step = torch.arange(self.n_steps(n_frames))[:, None]
        delay = torch.tensor(self.delays)[None]
        return (step >= delay) & (step < delay + n_frames)


def shift_right(grid: Tensor, hole: int) -> Tensor:
    """Returns the input rows [B, S, K] that predict a grid [B, S, K]: holes, then all but its end.

    Row 0 is the beginning of the sequence and row s holds what sits at step s - 1.
    """
    start = grid.new_full((grid.shape[0], 1, grid.shape[2]), hole)
    return torch.cat([start, grid[:, :-1]], dim=1)
