"""Causal self-attention with rotary positions, a static key/value cache and fused projections."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.errors import RequestError


class KeyValueCache:
    """The keys and values of the steps seen so far, for every layer, in memory taken once."""

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
        shape = (n_layers, batch_size, n_heads, n_steps, head_width)
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0

    @property
    def n_steps(self) -> int:
        """The number of steps the cache can hold."""
        return int(self.keys.shape[3])

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Stores [B, H, S, head_width] after the steps seen and returns all of the layer's."""
        end = self.length + key.shape[2]
        if end > self.n_steps:
            raise RequestError(f"the cache holds {self.n_steps} steps, step {end} was asked for")
        self.keys[layer, :, :, self.length : end] = key
        self.values[layer, :, :, self.length : end] = value
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, n_steps: int) -> None:
        """Counts n_steps as seen, once every layer has stored them."""
        self.length += n_steps


def rotary_table(n_positions: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Returns cosines and sines [n_positions, head_width / 2], Su et al. 2021, arXiv:2104.09864."""
    half = head_width // 2
    frequency = 10000.0 ** (-torch.arange(half) / half)
    angle = torch.arange(n_positions)[:, None] * frequency
    return torch.cos(angle), torch.sin(angle)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Returns x [..., S, head_width] turned by its position; cosine and sine: [S, half]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


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

    def __init__(self, width: int, n_heads: int, window: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.window = window
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)
        self.query_scale = nn.Parameter(torch.ones(n_heads, 1, 1))
        self._fused_weight: Tensor | None = None
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
        if self._fused_weight is not None:
            projected = F.linear(x, self._fused_weight).view(batch, n_steps, 3, *shape[2:])
            paired, value = projected[:, :, :2].permute(2, 0, 3, 1, 4), projected[:, :, 2]
        else:
            paired = torch.stack([self.q_proj(x).view(shape), self.k_proj(x).view(shape)])
            paired, value = paired.transpose(2, 3), self.v_proj(x).view(shape)
        value = value.transpose(1, 2)  # [B, H, S, head_width]
        turned = rotate(F.rms_norm(paired, (head_width,)), *rotary)  # [2, B, H, S, head_width]
        query, key = (turned[0] * self.query_scale).to(value.dtype), turned[1].to(value.dtype)
        if cache is not None:
            key, value = cache.extend(layer, key, value)
        attended = self._attend(query, key, value)
        return self.out_proj(attended.transpose(1, 2).reshape(batch, n_steps, width))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        n_queries, n_keys = query.shape[2], key.shape[2]
        if n_queries == 1:
            key, value = key[:, :, -self.window :], value[:, :, -self.window :]
            return F.scaled_dot_product_attention(query, key, value)
        if query.device.type == "cpu" and self.training:
            mask = band_mask(n_queries, n_keys, self.window, query.device)
            return explicit_attention(query, key, value, mask)
        if n_queries == n_keys <= self.window:
            return F.scaled_dot_product_attention(query, key, value, is_causal=True)
        mask = band_mask(n_queries, n_keys, self.window, query.device)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)

    def fuse(self) -> None:
        """Joins the three projections into one matrix, where no adapter wraps them."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        if all(type(projection) is nn.Linear for projection in projections):
            self._fused_weight = torch.cat([p.weight.detach() for p in projections])

    def unfuse(self) -> None:
        """Goes back to the three projections."""
        self._fused_weight = None


@contextmanager
def fused_projections(model: nn.Module) -> Iterator[None]:
    """Runs every SelfAttention of a model with one joined projection, for sampling only."""
    attentions = [module for module in model.modules() if isinstance(module, SelfAttention)]
    for attention in attentions:
        attention.fuse()
    try:
        yield
    finally:
        for attention in attentions:
            attention.unfuse()
