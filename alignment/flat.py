"""One id sequence per clip: the flat vocabulary in which a codebook model is a causal model.

A clip becomes `text ids, start bin, total bin, BOS` (the prompt) followed by its interleaved
grid, step by step and within a step codebook by codebook, and EOS (the completion). Codes come
first in the vocabulary so that a head over it needs no rows for text. Step by step matters: in
any frame by frame order a later id would lie in the past of an earlier one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alignment.errors import AlignmentError
from generator.lm.core import Core
from generator.lm.patterns import Pattern
from generator.lm.timing import N_TIME_BINS, bins_to_seconds, seconds_to_bins

N_STRUCTURAL = 4


@dataclass(frozen=True)
class FlatRows:
    """What flat rows say, one clip a row."""

    text: Tensor
    """Text ids of the core, [B, L]; 0 where there is none."""
    text_mask: Tensor
    """[B, L], 1 where there is text."""
    seconds: Tensor
    """Start and total, [B, 2]."""
    grid: Tensor
    """Codes by step, [B, S, K]; the hole id where there is none, after a clip's end too."""
    beginning: Tensor
    """Where BOS stands in each row, [B]."""


@dataclass(frozen=True)
class FlatVocabulary:
    """The ids: K * V codes, PAD, EOS, HOLE, BOS, start bins, total bins, text."""

    pattern: Pattern
    """How codes are interleaved."""
    text_vocabulary_size: int

    def __post_init__(self) -> None:
        if self.pattern.n_passes > 1:
            raise AlignmentError(
                f"flat rows of several lengths go through a clip once, "
                f"got a {self.pattern.kind} pattern of {self.pattern.n_passes} passes"
            )

    @classmethod
    def of(cls, core: Core) -> FlatVocabulary:
        """Returns the vocabulary of a core."""
        return cls(core.pattern, core.text_vocabulary_size)

    @property
    def n_codebooks(self) -> int:
        """The number of codebooks K."""
        return self.pattern.n_codebooks

    @property
    def codebook_size(self) -> int:
        """The number of codes of a codebook, V."""
        return self.pattern.codebook_size

    @property
    def n_codes(self) -> int:
        """The number of ids that are codes; code v of codebook k is k * V + v."""
        return self.n_codebooks * self.codebook_size

    @property
    def pad(self) -> int:
        """The id that fills rows to equal length."""
        return self.n_codes

    @property
    def eos(self) -> int:
        """The id that ends a completion."""
        return self.n_codes + 1

    @property
    def hole(self) -> int:
        """The id of a place in the grid that holds no code."""
        return self.n_codes + 2

    @property
    def bos(self) -> int:
        """The id that ends a prompt."""
        return self.n_codes + 3

    @property
    def n_outputs(self) -> int:
        """The number of ids that can follow a prompt: codes and the structural four."""
        return self.n_codes + N_STRUCTURAL

    @property
    def first_start(self) -> int:
        """The id of start bin 0."""
        return self.n_outputs

    @property
    def first_total(self) -> int:
        """The id of total bin 0."""
        return self.first_start + N_TIME_BINS

    @property
    def first_text(self) -> int:
        """The id of text id 0."""
        return self.first_total + N_TIME_BINS

    @property
    def size(self) -> int:
        """The number of all ids."""
        return self.first_text + self.text_vocabulary_size

    def prompts(self, text: Tensor, seconds: Tensor) -> Tensor:
        """Returns prompts [B, L + 3] of text ids [B, L] and seconds [B, 2]."""
        if text.numel() and not 0 <= int(text.min()) <= int(text.max()) < self.text_vocabulary_size:
            raise AlignmentError(
                f"text ids are 0 to {self.text_vocabulary_size - 1}, "
                f"got {int(text.min())} to {int(text.max())}"
            )
        bins = seconds_to_bins(seconds)
        timing = bins + bins.new_tensor([self.first_start, self.first_total])
        end = bins.new_full((text.shape[0], 1), self.bos)
        return torch.cat([text + self.first_text, timing, end], dim=1)

    def completions(self, codes: Tensor) -> Tensor:
        """Returns completions [B, S * K + 1] of codes [B, K, T]."""
        if codes.ndim != 3 or codes.shape[1] != self.n_codebooks:
            raise AlignmentError(
                f"expected codes of shape [B, {self.n_codebooks}, T], got {tuple(codes.shape)}"
            )
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.codebook_size:
            raise AlignmentError(
                f"codes are 0 to {self.codebook_size - 1}, "
                f"got {int(codes.min())} to {int(codes.max())}"
            )
        grid = self.pattern.build(codes.long())  # [B, S, K]
        offsets = torch.arange(self.n_codebooks, device=codes.device) * self.codebook_size
        flat = torch.where(grid == self.pattern.hole, self.hole, grid + offsets)
        end = flat.new_full((flat.shape[0], 1), self.eos)
        return torch.cat([flat.flatten(1), end], dim=1)

    def codes(self, completions: Tensor) -> Tensor:
        """Returns the codes [B, K, T] of completions [B, S * K + 1]."""
        length = completions.shape[1] - 1
        if length % self.n_codebooks or not bool((completions[:, -1] == self.eos).all()):
            raise AlignmentError(
                f"expected whole steps of {self.n_codebooks} ids and EOS, got {length + 1} ids"
            )
        return self.pattern.revert(self._local(completions[:, :-1]))

    def is_code(self, ids: Tensor) -> Tensor:
        """Returns bool of the shape of ids: true for codes."""
        return ids < self.n_codes

    def split(self, ids: Tensor) -> FlatRows:
        """Returns what flat rows [B, L] say; PAD may stand on any side of each."""
        length = ids.shape[1]
        place = torch.arange(length, device=ids.device)
        if not bool(((ids == self.bos).sum(1) == 1).all()):
            raise AlignmentError("a flat row has exactly one BOS, between prompt and completion")
        beginning = (ids == self.bos).int().argmax(1)  # [B]

        is_text = ids >= self.first_text
        n_text = is_text.sum(1)
        text_place = torch.arange(max(int(n_text.max()), 1), device=ids.device)
        text_mask = text_place < n_text[:, None]
        text_place = (is_text.int().argmax(1)[:, None] + text_place).clamp(max=length - 1)
        text = (ids.gather(1, text_place) - self.first_text) * text_mask

        bins = torch.stack(
            [self._bin(ids, first) for first in (self.first_start, self.first_total)], dim=1
        )

        in_grid = (place > beginning[:, None]) & (self.is_code(ids) | (ids == self.hole))
        n_grid = in_grid.sum(1)
        n_steps = max(-(-int(n_grid.max()) // self.n_codebooks), 1)
        cell = torch.arange(n_steps * self.n_codebooks, device=ids.device)
        source = (beginning[:, None] + 1 + cell).clamp(max=length - 1)
        cells = torch.where(cell < n_grid[:, None], ids.gather(1, source), self.hole)
        return FlatRows(
            text=text,
            text_mask=text_mask.long(),
            seconds=bins_to_seconds(bins),
            grid=self._local(cells),
            beginning=beginning,
        )

    def _bin(self, ids: Tensor, first: int) -> Tensor:
        """Returns the one bin of each row [B] among the ids that start at `first`."""
        found = (ids >= first) & (ids < first + N_TIME_BINS)
        if not bool((found.sum(1) == 1).all()):
            raise AlignmentError("a flat row has exactly one start bin and one total bin")
        return ((ids - first) * found).sum(1)

    def _local(self, cells: Tensor) -> Tensor:
        """Returns the grid [B, S, K] of codes and holes behind flat cells [B, S * K]."""
        cells = cells.view(cells.shape[0], -1, self.n_codebooks)
        return torch.where(self.is_code(cells), cells % self.codebook_size, self.pattern.hole)
