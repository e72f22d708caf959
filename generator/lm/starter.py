"""The starter's transformer: a core that predicts K codes a step from text and timing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from generator.errors import RequestError
from generator.lm.attention import KeyValueCache, SelfAttention, first_std, rotary_table
from generator.lm.metre import IdValues, MetreEmbedding
from generator.lm.patterns import Pattern, PatternKind, pattern_of
from generator.lm.timing import (
    LONGEST_SECONDS,
    fourier_features,
    n_remaining_bins,
    quantise_seconds,
    remaining_bins,
)
from generator.melody import N_MELODY_IDS, NOT_TOLD
from generator.text.header import EMPTY_HEADER, HEADER_VOCABULARY

N_OCTAVES = 12
N_POSITIONS = 2048


@dataclass(frozen=True)
class Condition:
    """What a core knows about text, timing and melody before the first step, one row a clip."""

    seconds: Tensor
    """Start and total, quantised, [B, 2]."""
    embedding: Tensor
    """Added to every step's input, [B, 1, D]."""
    modulations: tuple[tuple[Tensor, ...], ...]
    """Gain and shift before attention, then before the feed-forward part, of each layer.

    [B, 1, D] each.
    """
    metre: Tensor | None = None
    """Frames per beat and beats per bar, 0 where open, [B, 2]."""
    melody: Tensor | None = None
    """The pitch class that leads at each frame, [B, T], or none is told."""
    n_frames: int | None = None
    """How long the clips are, which only a pattern of several passes has to know."""
    known: KnownInputs | None = None
    """Of all steps, where the length is known."""


@dataclass(frozen=True)
class KnownInputs:
    """What the inputs of steps hold beside the codes before them."""

    inputs: Tensor
    """[B, S, D]."""
    cosine: Tensor
    """Of the steps' rotary positions, [S, head_width], as is sine."""
    sine: Tensor


@dataclass(frozen=True)
class StarterConfig:
    """The size of a starter core and the ids it reads."""

    width: int = 256
    n_layers: int = 5
    n_heads: int = 4
    delays: tuple[int, ...] = (0, 1)
    pattern: str = PatternKind.DELAYS.value
    """The kind of pattern, one of PatternKind; the delays tell the rest."""
    codebook_size: int = 512
    attention_window: int = 256
    frame_rate_hz: int = 25
    longest_s: float = 14.0
    """Longer clips are told this length: none longer was trained on."""
    text_vocabulary_size: int = HEADER_VOCABULARY.size
    empty_header: tuple[int, ...] = EMPTY_HEADER
    beat_ids: IdValues = ()
    """Header ids that tell frames per beat; none, and the core is not told the metre."""
    bar_ids: IdValues = ()
    """Header ids that tell beats per bar."""
    hears_melody: bool = False

    def __post_init__(self) -> None:
        if self.width % (2 * self.n_heads):
            raise RequestError(
                f"width is a multiple of twice n_heads, got {self.width} and {self.n_heads}"
            )
        for name in ("n_layers", "codebook_size", "attention_window", "frame_rate_hz"):
            if getattr(self, name) < 1:
                raise RequestError(f"{name} is at least 1, got {getattr(self, name)}")
        self.interleaving()
        if not 1.0 <= self.longest_s <= LONGEST_SECONDS:
            raise RequestError(f"longest_s is 1 to {LONGEST_SECONDS:g}, got {self.longest_s}")
        if not self.empty_header or max(self.empty_header) >= self.text_vocabulary_size:
            raise RequestError(
                f"header ids are below {self.text_vocabulary_size}, got {self.empty_header}"
            )
        for text_id, value in (*self.beat_ids, *self.bar_ids):
            if not (0 <= text_id < self.text_vocabulary_size and value > 0):
                raise RequestError(
                    f"metre ids are 0 to {self.text_vocabulary_size - 1} and tell at least 1, "
                    f"got {text_id}: {value}"
                )

    def interleaving(self) -> Pattern:
        """Returns the pattern; ValueError where the kind is unknown or the delays are not its."""
        kinds = [kind.value for kind in PatternKind]
        if self.pattern not in kinds:
            raise RequestError(f"pattern is one of {kinds}, got {self.pattern!r}")
        return pattern_of(PatternKind(self.pattern), self.delays, self.codebook_size)


def random_embedding(n_ids: int, width: int, std: float) -> nn.Embedding:
    """Returns an embedding with normal weights of a standard deviation."""
    embedding = nn.Embedding(n_ids, width)
    nn.init.normal_(embedding.weight, std=std)
    return embedding


def silent_head(width: int, codebook_size: int) -> nn.Linear:
    """Returns a head whose first predictions are uniform."""
    head = nn.Linear(width, codebook_size, bias=False)
    nn.init.zeros_(head.weight)
    return head


class Layer(nn.Module):
    """One block: attention and a feed-forward part, scaled and shifted by the condition."""

    def __init__(self, config: StarterConfig) -> None:
        super().__init__()
        width = config.width
        self.attention_norm = nn.RMSNorm(width, eps=1e-6)
        self.attention = SelfAttention(width, config.n_heads, config.attention_window)
        self.feed_norm = nn.RMSNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width, bias=False)
        self.fc2 = nn.Linear(4 * width, width, bias=False)
        self.modulation = nn.Linear(width, 4 * width)
        nn.init.normal_(self.fc1.weight, std=first_std(width))
        for silent in (self.fc2.weight, self.modulation.weight, self.modulation.bias):
            nn.init.zeros_(silent)

    def forward(
        self,
        x: Tensor,
        modulation: tuple[Tensor, ...],
        rotary: tuple[Tensor, Tensor],
        cache: KeyValueCache | None,
        index: int,
    ) -> Tensor:
        """Returns x [B, S, D] after this block; modulation: what `modulate` returned."""
        gain_1, shift_1, gain_2, shift_2 = modulation
        attended = torch.addcmul(shift_1, self.attention_norm(x), gain_1)
        x = x + self.attention(attended, rotary, cache, index)
        fed = torch.addcmul(shift_2, self.feed_norm(x), gain_2)
        return x + self.fc2(F.gelu(self.fc1(fed), approximate="tanh"))

    def modulate(self, activated: Tensor) -> tuple[Tensor, ...]:
        """Returns gain, shift, gain, shift [B, 1, D] of a condition [B, 1, D]."""
        scale_1, shift_1, scale_2, shift_2 = self.modulation(activated).chunk(4, dim=-1)
        return 1 + scale_1, shift_1, 1 + scale_2, shift_2


class StarterCore(nn.Module):
    """A decoder-only transformer whose layers are modulated by a header and by timing.

    The modulation is adaLN (Peebles and Xie 2023, arXiv:2212.09748), with outputs that start
    at zero.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, config: StarterConfig) -> None:
        super().__init__()
        self.config = config
        self.n_codebooks = len(config.delays)
        self.codebook_size = config.codebook_size
        self.width = config.width
        self.delays = config.delays
        self.pattern = config.interleaving()
        self.frame_rate_hz = config.frame_rate_hz
        self.text_vocabulary_size = config.text_vocabulary_size
        self.text_length = len(config.empty_header)
        self.gradient_checkpointing = False

        width = config.width
        self.code_embeddings = nn.ModuleList(
            random_embedding(config.codebook_size + 1, width, std=0.5) for _ in config.delays
        )
        self.remaining_embedding = random_embedding(
            n_remaining_bins(config.longest_s), width, std=0.05
        )
        self.turn_embedding = (
            random_embedding(self.pattern.n_turns, width, std=0.5)
            if self.pattern.n_turns > 1
            else None
        )
        self.text_embedding = random_embedding(
            config.text_vocabulary_size, width, std=0.7 / math.sqrt(self.text_length)
        )
        self.metre = (
            MetreEmbedding(width, config.text_vocabulary_size, config.beat_ids, config.bar_ids)
            if config.beat_ids
            else None
        )
        self.melody_embedding = (
            random_embedding(N_MELODY_IDS, width, std=0.05) if config.hears_melody else None
        )
        self.seconds_projection = nn.Linear(4 * N_OCTAVES, width)
        self.condition_in = nn.Linear(width, 2 * width)
        self.condition_out = nn.Linear(2 * width, width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.final_norm = nn.RMSNorm(width, eps=1e-6)
        self.lm_heads = nn.ModuleList(
            silent_head(width, config.codebook_size) for _ in config.delays
        )
        cosine, sine = rotary_table(N_POSITIONS, width // config.n_heads)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def condition(
        self,
        text: Tensor,
        text_mask: Tensor,
        seconds: Tensor,
        melody: Tensor | None = None,
        *,
        n_frames: int | None = None,
    ) -> Condition:
        """Returns the condition of header ids [B, L], a mask of ones and seconds [B, 2].

        melody: ids [B, T] of generator.melody for the frames from the window's start on;
        n_frames: the length of the window, which only a pattern of several passes has to know.
        """
        if text.ndim != 2 or text.shape[1] != self.text_length:
            raise RequestError(
                f"expected text of shape [B, {self.text_length}], got {tuple(text.shape)}"
            )
        if seconds.shape != (text.shape[0], 2):
            raise RequestError(
                f"expected seconds of shape [{text.shape[0]}, 2], got {tuple(seconds.shape)}"
            )
        if melody is not None and self.melody_embedding is None:
            raise RequestError("this checkpoint was not trained to follow a melody")
        seconds = quantise_seconds(seconds)
        slots = self.text_embedding(text) * text_mask[..., None]
        told = seconds.clamp(max=self.config.longest_s)
        timing = fourier_features(told, N_OCTAVES).flatten(1)
        vector = slots.sum(dim=1) + self.seconds_projection(timing.to(slots.dtype))
        vector = vector + self.condition_out(F.silu(self.condition_in(vector)))
        vector = vector[:, None]
        activated = F.silu(vector)
        condition = Condition(
            seconds=seconds,
            embedding=vector,
            modulations=tuple(
                layer.modulate(activated) for layer in cast(Iterable[Layer], self.layers)
            ),
            metre=None if self.metre is None else self.metre.told(text),
            melody=melody,
            n_frames=n_frames,
        )
        if n_frames is None:
            return condition
        n_steps = min(self.pattern.n_steps(n_frames), N_POSITIONS)
        return replace(condition, known=self.known_inputs(condition, 0, n_steps))

    def known_inputs(self, condition: Condition, first: int, n_steps: int) -> KnownInputs:
        """Returns what the condition alone says of the inputs of n_steps steps from first on."""
        told = self.pattern.steps(first, n_steps, condition.n_frames, condition.embedding.device)
        remaining = remaining_bins(
            condition.seconds, told.frame, self.frame_rate_hz, self.config.longest_s
        )
        inputs = condition.embedding + self.remaining_embedding(remaining)
        if self.turn_embedding is not None:
            inputs = inputs + self.turn_embedding(told.turn)
        if self.metre is not None and condition.metre is not None:
            start = torch.round(condition.seconds[:, :1] * self.frame_rate_hz).long()
            inputs = inputs + self.metre(condition.metre, start + told.frame)
        if self.melody_embedding is not None:
            melody = melody_rows(condition.melody, told.frame, len(condition.seconds))
            inputs = inputs + self.melody_embedding(melody)
        return KnownInputs(inputs, self.cosine[told.position], self.sine[told.position])

    def empty_text(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Returns header ids [B, L] that leave every slot open, and a mask of ones."""
        text = torch.tensor(self.config.empty_header, device=self.cosine.device)
        text = text[None].repeat(batch_size, 1)
        return text, torch.ones_like(text)

    def new_cache(self, batch_size: int, n_steps: int) -> KeyValueCache:
        """Returns an empty cache for n_steps steps of batch_size rows."""
        return KeyValueCache(
            n_layers=self.config.n_layers,
            batch_size=batch_size,
            n_heads=self.config.n_heads,
            n_steps=n_steps,
            head_width=self.width // self.config.n_heads,
            device=self.cosine.device,
            dtype=self.final_norm.weight.dtype,
        )

    def trunk(
        self, steps: Tensor, condition: Condition, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Returns hidden states [B, S, D] of input rows [B, S, K]; row s predicts step s.

        With a cache the rows follow those already in it.
        """
        if steps.ndim != 3 or steps.shape[2] != self.n_codebooks:
            raise RequestError(
                f"expected steps of shape [B, S, {self.n_codebooks}], got {tuple(steps.shape)}"
            )
        first = 0 if cache is None else cache.length
        n_steps = steps.shape[1]
        if first + n_steps > N_POSITIONS:
            raise RequestError(f"at most {N_POSITIONS} steps fit, got {first + n_steps}")
        known = condition.known
        if known is None or first + n_steps > known.inputs.shape[1]:
            asked = self.known_inputs(condition, first, n_steps)
            x, rotary = asked.inputs, (asked.cosine, asked.sine)
        elif cache is None:
            x = known.inputs[:, :n_steps]
            rotary = known.cosine[:n_steps], known.sine[:n_steps]
        else:
            x = cache.next_rows(known.inputs, 1, n_steps)
            rotary = (
                cache.next_rows(known.cosine, 0, n_steps),
                cache.next_rows(known.sine, 0, n_steps),
            )
        for codebook, embedding in enumerate(self.code_embeddings):
            x = x + embedding(steps[:, :, codebook])
        for index, (layer, modulation) in enumerate(
            zip(self.layers, condition.modulations, strict=True)
        ):
            if self.gradient_checkpointing and self.training and cache is None:
                x = checkpoint(layer, x, modulation, rotary, None, index, use_reentrant=False)
            else:
                x = layer(x, modulation, rotary, cache, index)
        if cache is not None:
            cache.advance(n_steps)
        return self.final_norm(x)


def melody_rows(melody: Tensor | None, frame: Tensor, batch_size: int) -> Tensor:
    """Returns melody ids [B, S] at frames [S]; frames that none tells of are not told."""
    if melody is None:
        return torch.full((batch_size, len(frame)), NOT_TOLD, device=frame.device)
    told = melody[:, frame.clamp(max=melody.shape[1] - 1)]
    return torch.where(frame < melody.shape[1], told, NOT_TOLD)
