"""MusicGen's language model: our own decoder under transformers' names, over T5's states.

Weights and LoRA adapters of `MusicgenForCausalLM` and `MusicgenMelodyForCausalLM` load by name and
the other way round. Only the text encoder inside is transformers' own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self, cast

import torch
from torch import Tensor, nn

from generator.errors import RequestError
from generator.lm.attention import KeyValueCache
from generator.lm.patterns import Pattern
from generator.melody import N_PITCH_CLASSES
from generator.musicgen.layers import ACTIVATIONS, Memory, PrefixLayer, TextLayer, sinusoids

END_OF_TEXT = 1
"""T5's id after the last piece of a text; an empty text is this alone."""


@dataclass(frozen=True)
class MusicgenConfig:
    """The sizes of a decoder; stereo has two codebooks, left and right, for each of the codec's."""

    width: int
    n_layers: int
    n_heads: int
    feed_width: int
    n_codebooks: int
    codebook_size: int
    frame_rate_hz: int
    text_vocabulary_size: int
    n_channels: int = 1
    activation: str = "gelu"
    text_length: int = 512
    """The most ids a text has."""
    n_positions: int = 2048

    def __post_init__(self) -> None:
        if self.width % self.n_heads:
            raise RequestError(
                f"width is a multiple of n_heads, got {self.width} and {self.n_heads}"
            )
        if self.n_channels not in (1, 2) or self.n_codebooks % self.n_channels:
            raise RequestError(
                f"1 or 2 channels share the codebooks evenly, got {self.n_channels} channels "
                f"and {self.n_codebooks} codebooks"
            )
        if self.activation not in ACTIVATIONS:
            raise RequestError(f"activation is one of {list(ACTIVATIONS)}, got {self.activation!r}")

    @property
    def delays(self) -> tuple[int, ...]:
        """How many steps late each codebook runs; left and right run together."""
        return tuple(codebook // self.n_channels for codebook in range(self.n_codebooks))


@dataclass(frozen=True)
class Condition:
    """What was computed of text and melody once per clip."""

    memories: tuple[Memory, ...]
    """Keys and values of each layer."""
    known: Tensor | None
    """Bool [B, M], false where the memory is padding; None where none is."""
    first_position: Tensor
    """The position of the first step, [B, 1]."""
    n_prefix: int
    """The most that first_position can be."""


class TextStates(Protocol):
    """What a text encoder returns."""

    last_hidden_state: Tensor


class Decoder(nn.Module):
    """Embeddings, layers and last norm, under transformers' names."""

    def __init__(self, config: MusicgenConfig, layer: type[TextLayer] | type[PrefixLayer]) -> None:
        super().__init__()
        activation = ACTIVATIONS[config.activation]
        self.embed_tokens = nn.ModuleList(
            nn.Embedding(config.codebook_size + 1, config.width) for _ in range(config.n_codebooks)
        )
        self.layers = nn.ModuleList(
            layer(config.width, config.n_heads, config.feed_width, activation)
            for _ in range(config.n_layers)
        )
        self.layer_norm = nn.LayerNorm(config.width)


class DecoderModel(nn.Module):
    """The level between the core and its decoder that transformers' names have."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder


class DecoderCore(nn.Module, ABC):
    """What MusicGen's two cores share; they differ in how text and melody reach the layers."""

    layer_class: type[TextLayer] | type[PrefixLayer]

    def __init__(self, config: MusicgenConfig, text_encoder: nn.Module, text_width: int) -> None:
        """text_width: of the encoder's states; where it is not ours a projection is needed."""
        super().__init__()
        self.config = config
        self.n_codebooks = config.n_codebooks
        self.codebook_size = config.codebook_size
        self.width = config.width
        self.delays = config.delays
        self.pattern = Pattern(config.delays, config.codebook_size)
        self.frame_rate_hz = config.frame_rate_hz
        self.text_vocabulary_size = config.text_vocabulary_size
        self.text_length = config.text_length
        self.model = DecoderModel(Decoder(config, self.layer_class))
        self.lm_heads = nn.ModuleList(
            nn.Linear(config.width, config.codebook_size, bias=False)
            for _ in range(config.n_codebooks)
        )
        self.text_encoder = text_encoder
        self.enc_to_dec_proj = (
            nn.Linear(text_width, config.width) if text_width != config.width else nn.Identity()
        )
        self._positions = torch.empty(0, config.width)

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder's layers."""
        return self.model.decoder.layers

    @property
    def code_embeddings(self) -> nn.ModuleList:
        """The embedding of each codebook, the hole last."""
        return self.model.decoder.embed_tokens

    def train(self, mode: bool = True) -> Self:
        """Sets the training mode of all but the text encoder, which is never trained."""
        super().train(mode)
        self.text_encoder.eval()
        return self

    @abstractmethod
    def condition(
        self,
        text: Tensor,
        text_mask: Tensor,
        seconds: Tensor,
        melody: Tensor | None = None,
        *,
        n_frames: int | None = None,
    ) -> Condition:
        """Returns the condition of T5 ids [B, L], their mask, and a melody where it is followed."""

    def empty_text(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Returns one id [B, 1] and a mask of zeros: a text that is not there."""
        device = self.model.decoder.layer_norm.weight.device
        text = torch.full((batch_size, 1), END_OF_TEXT, device=device)
        return text, torch.zeros_like(text)

    def new_cache(self, batch_size: int, n_steps: int) -> KeyValueCache:
        """Returns an empty cache for n_steps steps of batch_size rows."""
        weight = self.model.decoder.layer_norm.weight
        return KeyValueCache(
            n_layers=self.config.n_layers,
            batch_size=batch_size,
            n_heads=self.config.n_heads,
            n_steps=n_steps,
            head_width=self.width // self.config.n_heads,
            device=weight.device,
            dtype=weight.dtype,
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
        n_new = steps.shape[1]
        n_steps = n_new if cache is None else cache.n_steps
        place = torch.arange(n_steps, device=steps.device)
        if cache is not None:
            place = cache.next_rows(place, 0, n_new)
        x = self.position_vectors(condition.first_position + place, condition.n_prefix + n_steps)
        for codebook, embedding in enumerate(self.code_embeddings):
            x = x + embedding(steps[:, :, codebook])
        for index, (layer, memory) in enumerate(zip(self.layers, condition.memories, strict=True)):
            x = layer(x, memory, condition.known, cache, index)
        if cache is not None:
            cache.advance(n_new)
        return self.model.decoder.layer_norm(x)

    def position_vectors(self, positions: Tensor, n_positions: int) -> Tensor:
        """Returns the vectors [..., D] of positions [...], all below n_positions."""
        weight = self.model.decoder.layer_norm.weight
        if n_positions > len(self._positions) or self._positions.device != weight.device:
            n_known = max(n_positions, self.config.n_positions)
            self._positions = sinusoids(n_known, self.width).to(weight.device)
        return self._positions[positions].to(weight.dtype)

    def text_states(self, text: Tensor, text_mask: Tensor) -> Tensor:
        """Returns the encoder's states [B, L, D] of text ids [B, L], zero where the mask is 0."""
        if text.ndim != 2 or text.shape != text_mask.shape:
            raise RequestError(
                f"expected text and mask of shape [B, L], got {tuple(text.shape)} and "
                f"{tuple(text_mask.shape)}"
            )
        if text.shape[1] > self.text_length:
            raise RequestError(f"a text has at most {self.text_length} ids, got {text.shape[1]}")
        with torch.no_grad():
            states = cast(TextStates, self.text_encoder(input_ids=text, attention_mask=text_mask))
        dtype = self.model.decoder.layer_norm.weight.dtype
        projected = self.enc_to_dec_proj(states.last_hidden_state.to(dtype))
        return projected.masked_fill(text_mask[..., None] == 0, 0.0)


class MusicgenCore(DecoderCore):
    """MusicGen small, medium, large and stereo: text by cross-attention."""

    layer_class = TextLayer

    def condition(
        self,
        text: Tensor,
        text_mask: Tensor,
        seconds: Tensor,  # noqa: ARG002 - every core is told times
        melody: Tensor | None = None,
        *,
        n_frames: int | None = None,  # noqa: ARG002
    ) -> Condition:
        """Returns the condition of T5 ids [B, L] and their mask.

        MusicGen is told no times: seconds [B, 2] and n_frames change nothing, a clip is as long as
        it is sampled. An empty text reads zeros, as in training.
        """
        if melody is not None:
            raise RequestError("this MusicGen follows no melody; the melody checkpoints do")
        states = self.text_states(text, text_mask)
        known = text_mask.bool()
        known = known | ~known.any(dim=1, keepdim=True)
        return Condition(
            memories=tuple(
                layer.encoder_attn.memory(states)
                for layer in cast(Iterable[TextLayer], self.layers)
            ),
            known=None if bool(known.all()) else known,
            first_position=torch.zeros((len(text), 1), dtype=torch.long, device=text.device),
            n_prefix=0,
        )


class MelodyCore(DecoderCore):
    """MusicGen melody: a melody's pitch classes and the text are a prefix of the steps."""

    layer_class = PrefixLayer
    melody_rate_hz: float

    def __init__(
        self,
        config: MusicgenConfig,
        text_encoder: nn.Module,
        text_width: int,
        *,
        n_melody_steps: int,
        melody_rate_hz: float,
    ) -> None:
        """n_melody_steps: the length of the melody's part of the prefix, always filled."""
        super().__init__(config, text_encoder, text_width)
        self.n_melody_steps = n_melody_steps
        self.melody_rate_hz = melody_rate_hz
        self.audio_enc_to_dec_proj = (
            nn.Linear(N_PITCH_CLASSES, config.width)
            if config.width != N_PITCH_CLASSES
            else nn.Identity()
        )

    def condition(
        self,
        text: Tensor,
        text_mask: Tensor,
        seconds: Tensor,  # noqa: ARG002 - every core is told times
        melody: Tensor | None = None,
        *,
        n_frames: int | None = None,  # noqa: ARG002
    ) -> Condition:
        """Returns the condition of T5 ids [B, L], their mask and melody ids [B, M].

        The melody has melody_rate_hz ids a second; a short one is repeated, a long one cut. Times
        change nothing. A row without text reads as many zero vectors as its twin has ids: guidance
        puts rows with text first and their twins without after them, in the same order.
        """
        states = self.text_states(text, text_mask)
        prefix = torch.cat([self.melody_states(melody, len(text)), states], dim=1)
        n_prefix = prefix.shape[1]
        places = torch.arange(n_prefix, device=text.device)
        x = prefix + self.position_vectors(places, n_prefix)
        memories = []
        for layer in cast(Iterable[PrefixLayer], self.layers):
            x, memory = layer.read_prefix(x)
            memories.append(memory)
        n_known = self.n_melody_steps + twin_lengths(text_mask)[:, None]  # [B, 1]
        return Condition(
            memories=tuple(memories),
            known=None if bool((n_known == n_prefix).all()) else places < n_known,
            first_position=n_known,
            n_prefix=n_prefix,
        )

    def melody_states(self, melody: Tensor | None, batch_size: int) -> Tensor:
        """Returns the melody's part of the prefix [B, n_melody_steps, D].

        Where nothing was heard or told the first pitch class stands, as in training.
        """
        weight = self.model.decoder.layer_norm.weight
        if melody is None:
            melody = torch.zeros((batch_size, 1), dtype=torch.long, device=weight.device)
        if melody.ndim != 2 or len(melody) != batch_size or melody.shape[1] < 1:
            raise RequestError(
                f"expected a melody of shape [{batch_size}, M], got {tuple(melody.shape)}"
            )
        classes = torch.where(melody < N_PITCH_CLASSES, melody, 0)
        n_copies = -(-self.n_melody_steps // classes.shape[1])
        classes = classes.repeat(1, n_copies)[:, : self.n_melody_steps]
        one_hot = nn.functional.one_hot(classes.to(weight.device), N_PITCH_CLASSES)
        return self.audio_enc_to_dec_proj(one_hot.to(weight.dtype))


def twin_lengths(text_mask: Tensor) -> Tensor:
    """Returns how many ids each text of a mask [B, L] has; an empty one as many as its twin.

    The empty texts are, in order, twins of the texts that come before; without a twin an empty
    text is L long.
    """
    n_ids = text_mask.long().sum(dim=1)
    is_empty = n_ids == 0
    n_twins = min(int(is_empty.sum()), int((~is_empty).sum()))
    lengths = torch.where(is_empty, text_mask.shape[1], n_ids)
    lengths[is_empty.nonzero()[:n_twins, 0]] = n_ids[~is_empty][:n_twins]
    return lengths
