"""Interleaving patterns: how the codes of a clip become the sequence a language model predicts.

A pattern is data: for each codebook a delay and a pass, and one stride for all. The functions
at the end of this module make the patterns that Copet et al. 2023 (section 2.2, arXiv:2306.05284)
compare; a single builder and its inverse serve them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

import torch
from torch import Tensor

from generator.errors import RequestError


class PatternKind(StrEnum):
    """What a configuration says of its pattern beside the delays."""

    DELAYS = "delays"
    FLATTENING = "flattening"
    COARSE_FIRST = "coarse_first"


@dataclass(frozen=True)
class Steps:
    """What a model is told of steps that follow each other, int64 [S] each."""

    position: Tensor
    """The step within its pass."""
    frame: Tensor
    """The frame whose codes the step predicts; under delays that of the codebooks not delayed."""
    turn: Tensor
    """Which of the pattern's sets of codebooks the step predicts, below `n_turns`."""


@dataclass(frozen=True)
class Pattern:
    """A layout of (frame, codebook) places by step, for clips of any length.

    The code of frame t and codebook k stands in column k of the grid, `delays[k] + stride * t`
    steps after its pass `passes[k]` starts; a pass starts where the one before it ends. No passes
    mean one. `codebook_size` is also the id of a hole, a place that holds no code.
    """

    delays: tuple[int, ...]
    codebook_size: int
    stride: int = 1
    passes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.passes:
            object.__setattr__(self, "passes", (0,) * len(self.delays))
        if not self.delays or min(self.delays) != 0:
            raise RequestError(f"delays start at 0 and there is at least one, got {self.delays}")
        if self.codebook_size < 2:
            raise RequestError(f"codebook_size is at least 2, got {self.codebook_size}")
        if len(self.passes) != len(self.delays) or set(self.passes) != set(range(self.n_passes)):
            raise RequestError(
                f"passes are 0, 1, ..., one a codebook of {len(self.delays)}, got {self.passes}"
            )
        if self.stride < 1:
            raise RequestError(f"stride is at least 1, got {self.stride}")
        for number in range(self.n_passes):
            delays = self._delays_of(number)
            if min(delays) != 0 or {d % self.stride for d in delays} != set(range(self.stride)):
                raise RequestError(
                    f"every step predicts a code: pass {number} of stride {self.stride} needs "
                    f"delays 0 to {self.stride - 1}, got {delays}"
                )

    def _delays_of(self, number: int) -> tuple[int, ...]:
        """Returns the delays of the codebooks of a pass."""
        return tuple(d for d, p in zip(self.delays, self.passes, strict=True) if p == number)

    @property
    def n_codebooks(self) -> int:
        """The number of codebooks K."""
        return len(self.delays)

    @property
    def hole(self) -> int:
        """The id of a place without a code."""
        return self.codebook_size

    @property
    def n_passes(self) -> int:
        """How often the sequence runs through the clip."""
        return max(self.passes) + 1

    @property
    def n_turns(self) -> int:
        """How many sets of codebooks take turns in being predicted; under plain delays one."""
        return self.n_passes * self.stride

    @property
    def kind(self) -> PatternKind:
        """Whether steps differ by delays only, or by stride, or by passes."""
        if self.n_passes > 1:
            return PatternKind.COARSE_FIRST
        return PatternKind.FLATTENING if self.stride > 1 else PatternKind.DELAYS

    def n_steps(self, n_frames: int) -> int:
        """The number of steps S that n_frames frames take."""
        return self._starts(n_frames)[-1]

    def n_frames(self, n_steps: int) -> int:
        """The number of frames T that n_steps steps hold."""
        whole, rest = divmod(n_steps - self.n_steps(1), self.n_turns)
        if whole < 0:
            raise RequestError(
                f"delays {self.delays} need more than {self.n_steps(1) - 1} steps, got {n_steps}"
            )
        if rest:
            raise RequestError(
                f"a frame takes {self.n_turns} steps, got {n_steps}, which is {rest} too many"
            )
        return whole + 1

    def _starts(self, n_frames: int) -> list[int]:
        """Returns the step at which each pass starts, and last the one at which all have ended."""
        if n_frames < 1:
            raise RequestError(f"n_frames is at least 1, got {n_frames}")
        starts = [0]
        for number in range(self.n_passes):
            longest = max(self._delays_of(number))
            starts.append(starts[-1] + self.stride * (n_frames - 1) + longest + 1)
        return starts

    def places(self, n_frames: int) -> Tensor:
        """Returns the step [K, T] at which each code stands."""
        starts = self._starts(n_frames)
        first = torch.tensor([starts[p] + d for p, d in zip(self.passes, self.delays, strict=True)])
        return first[:, None] + self.stride * torch.arange(n_frames)

    def present(self, n_frames: int) -> Tensor:
        """Returns bool [S, K]: true where a step of the grid holds a code."""
        present = torch.zeros(self.n_steps(n_frames), self.n_codebooks, dtype=torch.bool)
        return present.scatter_(0, self.places(n_frames).T, True)

    def build(self, codes: Tensor) -> Tensor:
        """Returns the grid [B, S, K] of codes [B, K, T], with holes where a codebook is silent."""
        if codes.ndim != 3 or codes.shape[1] != self.n_codebooks:
            raise RequestError(
                f"expected codes of shape [B, {self.n_codebooks}, T], got {tuple(codes.shape)}"
            )
        batch, _, n_frames = codes.shape
        grid = codes.new_full((batch, self.n_steps(n_frames), self.n_codebooks), self.hole)
        places = self.places(n_frames).T.to(codes.device)  # [T, K]
        return grid.scatter_(1, places.expand(batch, -1, -1), codes.transpose(1, 2))

    def revert(self, grid: Tensor, n_frames: int | None = None) -> Tensor:
        """Returns the codes [B, K, T] of a grid [B, S, K].

        A grid that is not finished is read with n_frames; holes stand for what is still to come.
        """
        if grid.ndim != 3 or grid.shape[2] != self.n_codebooks:
            raise RequestError(
                f"expected a grid of shape [B, S, {self.n_codebooks}], got {tuple(grid.shape)}"
            )
        if n_frames is None:
            n_frames = self.n_frames(grid.shape[1])
        return self._gather(grid[..., None], n_frames, self.hole)[..., 0]

    def revert_logits(self, logits: Tensor, n_frames: int) -> Tensor:
        """Returns logits [B, K, T, V] of logits by step [B, S, K, V], NaN for steps not among them.

        Logits of places that hold no code are left out.
        """
        expected = (self.n_codebooks, self.codebook_size)
        if logits.ndim != 4 or tuple(logits.shape[2:]) != expected:
            raise RequestError(
                f"expected logits of shape [B, S, {expected[0]}, {expected[1]}], "
                f"got {tuple(logits.shape)}"
            )
        return self._gather(logits, n_frames, torch.nan)

    def _gather(self, by_step: Tensor, n_frames: int, missing: float) -> Tensor:
        """Returns [B, K, T, N] of [B, S, K, N], and `missing` for steps beyond S."""
        n_steps = by_step.shape[1]
        if n_steps > self.n_steps(n_frames):
            raise RequestError(
                f"{n_frames} frames take {self.n_steps(n_frames)} steps, got {n_steps}"
            )
        places = self.places(n_frames).to(by_step.device)
        streams = [
            by_step[:, places[k].clamp(max=max(n_steps - 1, 0)), k]
            if n_steps
            else by_step.new_full((len(by_step), n_frames, by_step.shape[3]), missing)
            for k in range(self.n_codebooks)
        ]
        known = (places < n_steps)[None, :, :, None]
        return torch.stack(streams, dim=1).masked_fill(~known, missing)

    def complete_frames(self, n_steps: int, n_frames: int) -> int:
        """Returns how many frames from the first have all their codes after n_steps steps."""
        last = self.places(n_frames).amax(dim=0)  # [T]
        return int((last < n_steps).sum())

    def steps(
        self,
        first: int,
        n_steps: int,
        n_frames: int | None = None,
        device: torch.device | None = None,
    ) -> Steps:
        """Returns what a model is told of n_steps steps from `first` on.

        n_frames: the length of the clip, without which a pattern of several passes does not know
        where one ends.
        """
        step = torch.arange(first, first + n_steps, device=device)
        number = torch.zeros_like(step)
        if self.n_passes > 1:
            if n_frames is None:
                raise RequestError(f"a pattern of {self.n_passes} passes needs n_frames, got None")
            starts = torch.tensor(self._starts(n_frames)[:-1], device=device)
            number = torch.searchsorted(starts, step, right=True) - 1
            step = step - starts[number]
        return Steps(
            position=step,
            frame=step // self.stride,
            turn=number * self.stride + step % self.stride,
        )


def delay(n_codebooks: int, codebook_size: int) -> Pattern:
    """Returns the pattern in which each codebook runs a step later: T + K - 1 steps."""
    return Pattern(tuple(range(n_codebooks)), codebook_size)


def parallel(n_codebooks: int, codebook_size: int) -> Pattern:
    """Returns the pattern that predicts the codes of a frame at once: T steps."""
    return Pattern((0,) * n_codebooks, codebook_size)


def partial_delay(n_codebooks: int, codebook_size: int) -> Pattern:
    """Returns the pattern in which all but codebook 0 run one step late: T + 1 steps."""
    return Pattern((0, *(1,) * (n_codebooks - 1)), codebook_size)


def stereo_delay(n_codebooks: int, codebook_size: int) -> Pattern:
    """Returns the delays 0, 0, 1, 1, ... of two channels whose codebooks alternate."""
    if n_codebooks % 2:
        raise RequestError(f"two channels have an even number of codebooks, got {n_codebooks}")
    return Pattern(tuple(codebook // 2 for codebook in range(n_codebooks)), codebook_size)


def flattening(n_codebooks: int, codebook_size: int) -> Pattern:
    """Returns the pattern that predicts one code a step, frame by frame: K * T steps."""
    return Pattern(tuple(range(n_codebooks)), codebook_size, stride=n_codebooks)


def coarse_first(n_codebooks: int, codebook_size: int) -> Pattern:
    """Returns all of codebook 0 and then, in a second pass, the others in parallel: 2 T steps.

    This is the coarse-first of MusicGen's trial. The second pass sees the whole first one, so
    that no frame is complete before step T.
    """
    later = (1,) * (n_codebooks - 1)
    return Pattern((0,) * n_codebooks, codebook_size, passes=(0, *later))


COMPARED: Mapping[str, Callable[[int, int], Pattern]] = MappingProxyType(
    {
        "delay": delay,
        "parallel": parallel,
        "partial_delay": partial_delay,
        "flattening": flattening,
        "coarse_first": coarse_first,
    }
)
"""The patterns that `compare-patterns` trains, by name: each made of n_codebooks and their size."""


def pattern_of(kind: PatternKind, delays: tuple[int, ...], codebook_size: int) -> Pattern:
    """Returns the pattern that a configuration names by its kind and delays."""
    match kind:
        case PatternKind.DELAYS:
            pattern = Pattern(delays, codebook_size)
        case PatternKind.FLATTENING:
            pattern = flattening(len(delays), codebook_size)
        case PatternKind.COARSE_FIRST:
            pattern = coarse_first(len(delays), codebook_size)
        case _:
            assert_never(kind)
    if pattern.delays != tuple(delays):
        raise RequestError(
            f"{kind} of {len(delays)} codebooks has delays {pattern.delays}, got {delays}"
        )
    return pattern


def shift_right(grid: Tensor, hole: int) -> Tensor:
    """Returns the input rows [B, S, K] that predict a grid [B, S, K]: holes, then all but its end.

    Row 0 is the beginning of the sequence and row s holds what sits at step s - 1.
    """
    start = grid.new_full((grid.shape[0], 1, grid.shape[2]), hole)
    return torch.cat([start, grid[:, :-1]], dim=1)
