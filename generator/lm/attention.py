"""Causal self-attention with rotary positions and a static key/value cache."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.errors import RequestError

JOINED_NAMES = ("q_proj", "k_proj", "v_proj")
"""The projections that one matrix replaces while codes are sampled, in its order."""


class KeyValueCache:
    """The keys and values of the steps seen so far, for every layer, in memory taken once.

    While `bucket` is set the cache is read and written as a CUDA graph needs it: always the first
    `bucket` places, behind a mask, at a place that a tensor holds.
    """

    def __init__(
        self,
        *,
        n_layers: int,
        batch_size: int,
        n_heads: int,
        n_steps: int,
        head_width: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (batch_size, n_heads, n_steps, head_width)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(n_layers)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(n_layers)]
        self.n_steps = n_steps
        """The number of steps the cache can hold."""
        self.length = 0
        self.bucket: int | None = None
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        """Where a graph writes its step, [1]."""
        self._places = torch.arange(n_steps, device=device)

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Stores [B, H, S, head_width] after the steps seen and returns all of the layer's."""
        keys, values = self.keys[layer], self.values[layer]
        if self.bucket is not None:
            keys.index_copy_(2, self.place, key)
            values.index_copy_(2, self.place, value)
            return keys.narrow(2, 0, self.bucket), values.narrow(2, 0, self.bucket)
        n_new = key.shape[2]
        end = self.length + n_new
        if end > self.n_steps:
            raise RequestError(f"the cache holds {self.n_steps} steps, step {end} was asked for")
        keys.narrow(2, self.length, n_new).copy_(key)
        values.narrow(2, self.length, n_new).copy_(value)
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)

    def next_rows(self, table: Tensor, dim: int, n_new: int) -> Tensor:
        """Returns the rows of a table that belong to the next n_new steps, along dim."""
        if self.bucket is not None:
            return table.index_select(dim, self.place)
        return table.narrow(dim, self.length, n_new)

    def next_places(self, n_new: int) -> Tensor:
        """Returns the places [n_new] of the next steps."""
        return self.next_rows(self._places, 0, n_new)

    def seen(self, window: int | None = None) -> Tensor | None:
        """Returns which places a step may read, bool [1, bucket]; None where it may read all."""
        if self.bucket is None:
            return None
        places = self._places.narrow(0, 0, self.bucket)[None]
        seen = places <= self.place
        return seen if window is None else seen & (places > self.place - window)

    def advance(self, n_steps: int) -> None:
        """Counts n_steps as seen, once every layer has stored them; a graph's steps do not count.

        Whoever replays the graph moves `place` and `length`.
        """
        if self.bucket is None:
            self.length += n_steps


def rotary_table(n_positions: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Returns cosines and signed sines [n_positions, head_width] for `rotate`.

    Su et al. 2021, arXiv:2104.09864.
    """
    half = head_width // 2
    frequency = 10000.0 ** (-torch.arange(half) / half)
    angle = torch.arange(n_positions)[:, None] * frequency
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return torch.cat([cosine, cosine], dim=-1), torch.cat([-sine, sine], dim=-1)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Returns x [..., S, head_width] turned by its position; cosine, sine: rows of their table."""
    return torch.addcmul(x * cosine, x.roll(x.shape[-1] // 2, -1), sine)


def band_mask(n_queries: int, n_keys: int, window: int, device: torch.device) -> Tensor:
    """Returns bool [n_queries, n_keys]: which keys a query sees, itself and window - 1 before."""
    query = torch.arange(n_keys - n_queries, n_keys, device=device)[:, None]
    key = torch.arange(n_keys, device=device)[None]
    return (key <= query) & (key > query - window)


def explicit_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Returns attention of [B, H, S, head_width] under a bool mask [S, keys], step by step.

    On a CPU its backward pass takes half the time of the fused kernel's.
    """
    hidden = torch.zeros(mask.shape, dtype=query.dtype, device=mask.device)
    hidden = hidden.masked_fill(~mask, -torch.inf).expand(query.shape[0] * query.shape[1], -1, -1)
    scores = torch.baddbmm(
        hidden,
        query.flatten(0, 1),
        key.flatten(0, 1).transpose(1, 2),
        alpha=query.shape[-1] ** -0.5,
    )
    weights = scores.softmax(dim=-1).to(value.dtype)
    attended = torch.bmm(weights, value.flatten(0, 1))
    return attended.view(query.shape)


def first_std(width: int) -> float:
    """Returns the standard deviation of a projection's first weights."""
    return 0.7 / math.sqrt(width)


class SelfAttention(nn.Module):
    """Attention over the last `window` steps with normalised queries and keys."""

    joined_names = JOINED_NAMES

    def __init__(self, width: int, n_heads: int, window: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.window = window
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)
        self.query_scale = nn.Parameter(torch.ones(n_heads, 1, 1))
        self.joined: nn.Module | None = None
        for projection in (self.q_proj, self.k_proj, self.v_proj):
            nn.init.normal_(projection.weight, std=first_std(width))
        nn.init.zeros_(self.out_proj.weight)

    def forward(
        self,
        x: Tensor,
        rotary: tuple[Tensor, Tensor],
        cache: KeyValueCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """Returns the attended x [B, S, D]; rotary: the rows of these steps' positions."""
        batch, n_steps, width = x.shape
        head_width = width // self.n_heads
        shape = (batch, n_steps, self.n_heads, head_width)
        if self.joined is not None:
            projected = self.joined(x).view(batch, n_steps, 3, self.n_heads, head_width)
            paired, value = projected.split((2, 1), dim=2)
            paired, value = paired.permute(2, 0, 3, 1, 4), value.squeeze(2)
        else:
            paired = torch.stack([self.q_proj(x).view(shape), self.k_proj(x).view(shape)])
            paired, value = paired.transpose(2, 3), self.v_proj(x).view(shape)
        value = value.transpose(1, 2)  # [B, H, S, head_width]
        turned = rotate(F.rms_norm(paired, (head_width,)), *rotary)  # [2, B, H, S, head_width]
        query, key = turned.unbind()
        query, key = (query * self.query_scale).to(value.dtype), key.to(value.dtype)
        seen = None
        if cache is not None:
            key, value = cache.extend(layer, key, value)
            seen = cache.seen(self.window)
        attended = self._attend(query, key, value, seen)
        return self.out_proj(attended.transpose(1, 2).reshape(batch, n_steps, width))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None) -> Tensor:
        n_queries, n_keys = query.shape[2], key.shape[2]
        if seen is not None:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        if n_queries == 1:
            if n_keys > self.window:
                key, value = key[:, :, -self.window :], value[:, :, -self.window :]
            return F.scaled_dot_product_attention(query, key, value)
        if query.device.type == "cpu" and self.training:
            mask = band_mask(n_queries, n_keys, self.window, query.device)
            return explicit_attention(query, key, value, mask)
        if n_queries == n_keys <= self.window:
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)
        mask = band_mask(n_queries, n_keys, self.window, query.device)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
