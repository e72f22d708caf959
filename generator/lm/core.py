"""What every language model over codes offers; attention, sampler and face know no family."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.lm.attention import KeyValueCache
from generator.lm.patterns import Pattern


class Core(Protocol):
    """A language model over codes, whatever its family.

    What `condition` returns is the family's own; `trunk` takes it back.
    """

    n_codebooks: int
    codebook_size: int
    width: int
    delays: tuple[int, ...]
    pattern: Pattern
    frame_rate_hz: int
    text_vocabulary_size: int
    text_length: int
    """The most ids a text has."""
    lm_heads: nn.ModuleList

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer's blocks."""
        ...

    def condition(
        self,
        text: Tensor,
        text_mask: Tensor,
        seconds: Tensor,
        melody: Tensor | None = None,
        *,
        n_frames: int | None = None,
    ) -> Any:
        """Returns the condition of text [B, L], its mask [B, L], seconds [B, 2], melody [B, T].

        n_frames: how long the clips are, which a pattern of several passes has to know.
        """
        ...

    def empty_text(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Returns the text [B, L] and mask [B, L] of an empty prompt; L is the core's own."""
        ...

    def new_cache(self, batch_size: int, n_steps: int) -> KeyValueCache:
        """Returns an empty cache for n_steps steps."""
        ...

    def trunk(self, steps: Tensor, condition: Any, cache: KeyValueCache | None = None) -> Tensor:
        """Returns hidden states [B, S, D] of input rows [B, S, K]; row s predicts step s."""
        ...


def head_weights(core: Core) -> Tensor:
    """Returns the weights of all heads [K * V, D], codebook by codebook."""
    return torch.cat([head.weight for head in cast(Iterable[nn.Linear], core.lm_heads)])


def text_lengths(core: Core) -> range:
    """Returns how many ids a text of a core can have: from those of an empty text to the most."""
    empty, _ = core.empty_text(1)
    return range(empty.shape[1], core.text_length + 1)


def stack_texts(*texts: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Returns texts (ids [B, L], mask [B, L]) as one; the shorter end in masked zeros."""
    length = max(ids.shape[1] for ids, _ in texts)

    def filled(rows: Tensor) -> Tensor:
        return F.pad(rows, (0, length - rows.shape[1]))

    return (
        torch.cat([filled(ids) for ids, _ in texts]),
        torch.cat([filled(mask) for _, mask in texts]),
    )


def all_logits(core: Core, hidden: Tensor) -> Tensor:
    """Returns logits [B, S, K, V] of hidden states [B, S, D]."""
    return torch.stack([head(hidden) for head in core.lm_heads], dim=2)
