"""The layers of MusicGen's decoder, named as in transformers so that weights load by name.

Copet et al. 2023, arXiv:2306.05284: pre-norm layers without biases, text by cross-attention; the
melody model reads text and melody as a prefix instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.lm.attention import JOINED_NAMES, KeyValueCache

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "gelu": F.gelu,
        "gelu_new": partial(F.gelu, approximate="tanh"),
        "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
        "relu": F.relu,
        "silu": F.silu,
        "swish": F.silu,
    }
)


class Memory(NamedTuple):
    """Keys and values of a layer that were computed once per clip, [B, H, M, head_width] each."""

    keys: Tensor
    values: Tensor


def sinusoids(n_positions: int, width: int) -> Tensor:
    """Returns position vectors [n_positions, width]: cosines of falling frequency, then sines.

    Vaswani et al. 2017, section 3.5, arXiv:1706.03762, in the order of tensor2tensor: the slowest
    frequency is exactly 1 / 10000.
    """
    half = width // 2
    octave = torch.arange(half, dtype=torch.float32) / (half - 1)
    frequency = torch.exp(octave * -torch.log(torch.tensor(10000.0)))
    angle = torch.arange(n_positions, dtype=torch.float32)[:, None] * frequency
    table = torch.cat([torch.cos(angle), torch.sin(angle)], dim=1)
    return F.pad(table, (0, width - 2 * half))


def causal_mask(n_queries: int, n_steps: int, device: torch.device) -> Tensor:
    """Returns bool [n_queries, n_steps]: which steps the last n_queries of them see."""
    step = torch.arange(n_steps, device=device)
    return step[None] <= step[n_steps - n_queries :, None]


def with_prefix(seen: Tensor, known: Tensor | None, n_prefix: int) -> Tensor:
    """Returns bool [B or 1, 1, S, n_prefix + n_steps] of the steps seen [S, n_steps].

    known: [B, n_prefix], false where the prefix is padding; None where it has none.
    """
    if known is None:
        return F.pad(seen, (n_prefix, 0), value=True)[None, None]
    before = known[:, None, None].expand(-1, 1, len(seen), -1)
    return torch.cat([before, seen.expand(len(known), 1, -1, -1)], dim=-1)


class Attention(nn.Module):
    """Multi-head attention to a memory, without biases."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)

    def query(self, x: Tensor) -> Tensor:
        """Returns queries [B, H, S, head_width] of x [B, S, D]."""
        return self._by_head(self.q_proj(x))

    def memory(self, states: Tensor) -> Memory:
        """Returns keys and values of states [B, M, D]."""
        return Memory(self._by_head(self.k_proj(states)), self._by_head(self.v_proj(states)))

    def attend(
        self,
        query: Tensor,
        memory: Memory,
        mask: Tensor | None = None,
        *,
        is_causal: bool = False,
    ) -> Tensor:
        """Returns what queries [B, H, S, head_width] read of a memory, [B, S, D]."""
        read = F.scaled_dot_product_attention(
            query, memory.keys, memory.values, attn_mask=mask, is_causal=is_causal
        )
        return self.out_proj(read.transpose(1, 2).flatten(2))

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


class SelfAttention(Attention):
    """Multi-head attention to the steps so far, and to a prefix before them."""

    joined_names = JOINED_NAMES

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__(width, n_heads)
        self.joined: nn.Module | None = None

    def project(self, x: Tensor) -> tuple[Tensor, Memory]:
        """Returns queries [B, H, S, head_width], keys and values of x [B, S, D]."""
        if self.joined is None:
            return self.query(x), self.memory(x)
        query, key, value = self.joined(x).chunk(3, dim=-1)
        return self._by_head(query), Memory(self._by_head(key), self._by_head(value))

    def forward(
        self,
        x: Tensor,
        cache: KeyValueCache | None,
        index: int,
        prefix: Memory | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Returns what the steps x [B, S, D] read of themselves, of the cache and of a prefix.

        known: bool [B, P], false where the prefix is padding; None where it has none.
        """
        query, memory = self.project(x)
        seen = None
        if cache is not None:
            memory = Memory(*cache.extend(index, *memory))
            seen = cache.seen()
        n_queries, n_steps = x.shape[1], memory.keys.shape[2]
        if prefix is None and seen is None and n_queries == n_steps:
            return self.attend(query, memory, is_causal=n_queries > 1)
        n_prefix = 0
        if prefix is not None:
            n_prefix = prefix.keys.shape[2]
            memory = Memory(
                *(torch.cat(parts, dim=2) for parts in zip(prefix, memory, strict=True))
            )
        if n_queries == 1 and seen is None and known is None:
            return self.attend(query, memory)
        if seen is None:
            seen = causal_mask(n_queries, n_steps, x.device)
        return self.attend(query, memory, with_prefix(seen, known, n_prefix))


class TextLayer(nn.Module):
    """Self-attention, cross-attention to text, feed-forward; each behind a norm and added."""

    def __init__(self, width: int, n_heads: int, feed_width: int, activation: Activation) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, n_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Attention(width, n_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, feed_width, bias=False)
        self.fc2 = nn.Linear(feed_width, width, bias=False)
        self.final_layer_norm = nn.LayerNorm(width)
        self.activation = activation

    def forward(
        self,
        x: Tensor,
        memory: Memory,
        known: Tensor | None,
        cache: KeyValueCache | None,
        index: int,
    ) -> Tensor:
        """Returns x [B, S, D] after this layer.

        memory: keys and values of the text; known: bool [B, M], false where the text is padding.
        """
        x = x + self.self_attn(self.self_attn_layer_norm(x), cache, index)
        query = self.encoder_attn.query(self.encoder_attn_layer_norm(x))
        mask = None if known is None else known[:, None, None]
        x = x + self.encoder_attn.attend(query, memory, mask)
        return x + self.fc2(self.activation(self.fc1(self.final_layer_norm(x))))


class PrefixLayer(nn.Module):
    """Self-attention over a prefix and the steps so far, feed-forward."""

    def __init__(self, width: int, n_heads: int, feed_width: int, activation: Activation) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, n_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, feed_width, bias=False)
        self.fc2 = nn.Linear(feed_width, width, bias=False)
        self.final_layer_norm = nn.LayerNorm(width)
        self.activation = activation

    def read_prefix(self, prefix: Tensor) -> tuple[Tensor, Memory]:
        """Returns a prefix [B, P, D] after this layer, and its keys and values."""
        query, memory = self.self_attn.project(self.self_attn_layer_norm(prefix))
        prefix = prefix + self.self_attn.attend(query, memory, is_causal=True)
        return self._feed(prefix), memory

    def forward(
        self,
        x: Tensor,
        memory: Memory,
        known: Tensor | None,
        cache: KeyValueCache | None,
        index: int,
    ) -> Tensor:
        """Returns x [B, S, D] after this layer.

        memory: keys and values of the prefix; known: bool [B, P], false where it is padding.
        """
        normed = self.self_attn_layer_norm(x)
        return self._feed(x + self.self_attn(normed, cache, index, memory, known))

    def _feed(self, x: Tensor) -> Tensor:
        return x + self.fc2(self.activation(self.fc1(self.final_layer_norm(x))))
