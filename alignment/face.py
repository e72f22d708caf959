"""A codebook model that looks like a causal language model, for trainers that know only those."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput
from trl.trainer.utils import FusedCausalLMOutput

from alignment.errors import AlignmentError, ConfigError
from alignment.flat import FlatRows, FlatVocabulary
from generator.lm.core import Core
from generator.lm.patterns import shift_right

IGNORED_LABEL = -100
IMPOSSIBLE = -1e4


class FlatAudioConfig(PreTrainedConfig):
    """The few attributes trainers read of a model's config."""

    # No attribute may be named decoder, text_encoder, generator or text_config: transformers
    # would take it for the config of the language model inside.
    model_type = "flat_audio_lm"
    vocab_size: int = 0
    hidden_size: int = 0
    tie_word_embeddings: bool = False


class FlatAudioLM(PreTrainedModel):
    """Scores flat rows with a core: K small softmaxes a step, structural ids are certain.

    TRL (1.15 and later) puts a fused head over `forward` that multiplies hidden states by one
    matrix of all outputs. This model answers the same call itself, so the fused head is turned
    away: the log-probabilities are equal and cost a K-th.
    """

    config_class = FlatAudioConfig
    supports_gradient_checkpointing = True
    base_model_prefix = "core"
    main_input_name = "input_ids"

    core: Any

    def __init__(self, core: Core) -> None:
        vocabulary = FlatVocabulary.of(core)
        super().__init__(FlatAudioConfig(vocab_size=vocabulary.size, hidden_size=core.width))
        self.vocabulary = vocabulary
        self.core = core
        # Trainers write the pad id here. Sampling itself belongs to the generator package.
        self.generation_config = GenerationConfig(pad_token_id=vocabulary.pad)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leaves the core's weights as they are."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "forward" and _is_fused_head(value):
            temperature = inspect.getclosurevars(value.__func__).nonlocals.get("temperature", 1.0)
            if temperature != 1.0:
                raise AlignmentError(f"log-probabilities are at temperature 1, got {temperature}")
            return
        super().__setattr__(name, value)

    def gradient_checkpointing_enable(self, *_: object, **__: object) -> None:
        """Has the core compute its layers again on the way back instead of keeping them."""
        if not hasattr(self.core, "gradient_checkpointing"):
            raise ConfigError(
                f"gradient_checkpointing is for the starter's core, got {type(self.core).__name__}"
            )
        self.core.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Has the core keep what its layers computed."""
        if hasattr(self.core, "gradient_checkpointing"):
            self.core.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether layers are computed again on the way back."""
        return bool(getattr(self.core, "gradient_checkpointing", False))

    def get_input_embeddings(self) -> nn.Module:
        """Returns the embedding of the first codebook."""
        embedding = self.core.code_embeddings[0]
        assert isinstance(embedding, nn.Module)
        return embedding

    def get_output_embeddings(self) -> None:
        """Returns None: there is no one matrix of outputs."""

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        fused_lm_head: bool = False,
        weights: Tensor | None = None,
        codes_per_row: Tensor | None = None,
        **_: object,
    ) -> FusedCausalLMOutput | CausalLMOutput:
        """Returns scores of labels [B, L] when the head is fused, else logits [B, L, outputs].

        weights: [B], scales the gradient of each row's log-probabilities, not their values: the
        gradient is that of a loss in which every row counts by its weight. codes_per_row: [B],
        scales log-probabilities so that each row's sum is that of so many codes, for losses
        that are about sums. Other arguments, such as an attention mask, say nothing that the
        ids do not.
        """
        self._refuse_adapted_heads()
        if not fused_lm_head:
            return CausalLMOutput(logits=self._logits(input_ids))
        if labels is None:
            raise AlignmentError("a fused head needs labels")
        return self._scores(input_ids, labels, weights, codes_per_row)

    def code_logits(self, rows: FlatRows) -> list[Tensor]:
        """Returns logits [B, S, V] of each codebook at each step."""
        condition = self.core.condition(rows.text, rows.text_mask, rows.seconds)
        steps = shift_right(rows.grid, self.vocabulary.pattern.hole)
        hidden = self.core.trunk(steps, condition)  # [B, S, D]
        return [head(hidden).float() for head in self.core.lm_heads]

    def _scores(
        self, ids: Tensor, labels: Tensor, weights: Tensor | None, codes_per_row: Tensor | None
    ) -> FusedCausalLMOutput:
        rows = self.vocabulary.split(ids)
        log_probs, entropies, means, tops = [], [], [], []
        for codebook, logits in enumerate(self.code_logits(rows)):
            target = rows.grid[:, :, codebook]  # [B, S]
            known = target.clamp(max=self.vocabulary.codebook_size - 1)
            losses = F.cross_entropy(logits.flatten(0, 1), known.flatten(), reduction="none")
            log_probs.append(-losses.view(target.shape))
            with torch.no_grad():
                logarithms = logits.log_softmax(-1)
                entropies.append(-(logarithms.exp() * logarithms).sum(-1))
                means.append(logits.mean(-1))
                tops.append(logits.argmax(-1) == known)

        cell, is_cell = self._cells(ids, rows)
        label_mask = labels[:, 1:] != IGNORED_LABEL
        scored = is_cell & label_mask & self.vocabulary.is_code(ids[:, 1:])

        def by_id(grid: list[Tensor]) -> Tensor:
            """Returns [B, L - 1] of K times [B, S]; zero where no code is scored."""
            cells = torch.stack(grid, dim=2).flatten(1)  # [B, S * K]
            return cells.gather(1, cell).masked_fill(~scored, 0)

        token_log_probs = by_id(log_probs)
        if codes_per_row is not None:
            scale = codes_per_row / scored.sum(1).clamp(min=1)
            token_log_probs = token_log_probs * scale[:, None]
        if weights is not None:
            fixed = token_log_probs.detach()
            token_log_probs = fixed + weights[:, None] * (token_log_probs - fixed)
        return FusedCausalLMOutput(
            loss=-token_log_probs.sum() / label_mask.sum().clamp(min=1),
            log_probs=token_log_probs,
            entropy=by_id(entropies),
            mean_logits=by_id(means),
            is_top1=by_id(tops),
            label_mask=label_mask,
        )

    def _cells(self, ids: Tensor, rows: FlatRows) -> tuple[Tensor, Tensor]:
        """Returns which cell of the grid id p + 1 is, [B, L - 1], and whether it is one."""
        place = torch.arange(ids.shape[1] - 1, device=ids.device)
        cell = place - rows.beginning[:, None]
        n_cells = rows.grid.shape[1] * rows.grid.shape[2]
        return cell.clamp(0, n_cells - 1), (cell >= 0) & (cell < n_cells)

    def _logits(self, ids: Tensor) -> Tensor:
        """Returns logits [B, L, outputs]; position p is about id p + 1, the last about none.

        Within the codebook whose turn it is the core's logits stand, and elsewhere a number
        that no softmax notices. Structural ids that follow are certain.
        """
        vocabulary = self.vocabulary
        rows = vocabulary.split(ids)
        following = torch.cat([ids[:, 1:], ids.new_full((len(ids), 1), vocabulary.pad)], dim=1)
        blocks = torch.stack(self.code_logits(rows), dim=2).flatten(1, 2)  # [B, S * K, V]
        cell, is_cell = self._cells(torch.cat([ids, following[:, -1:]], dim=1), rows)
        logits = blocks.new_full((*ids.shape, vocabulary.n_outputs), IMPOSSIBLE)

        turn = (cell % vocabulary.n_codebooks)[..., None] * vocabulary.codebook_size
        columns = turn + torch.arange(vocabulary.codebook_size, device=ids.device)
        chosen = blocks.gather(1, cell[..., None].expand(-1, -1, vocabulary.codebook_size))
        logits = logits.scatter(2, columns, chosen)

        certain = torch.full_like(logits, IMPOSSIBLE).scatter(
            2, following.clamp(max=vocabulary.bos)[..., None], 0.0
        )
        is_code = is_cell & vocabulary.is_code(following)
        return torch.where(is_code[..., None], logits, certain)

    def _refuse_adapted_heads(self) -> None:
        if any(isinstance(head, BaseTunerLayer) for head in self.core.lm_heads):
            raise AlignmentError(
                "an adapter sits on the codebook heads, where it would be lost when the sampler "
                "joins them; remove lm_heads from its targets"
            )


def _is_fused_head(value: object) -> bool:
    """Returns whether a value is the forward that TRL's add_fused_lm_head makes."""
    function = getattr(value, "__func__", None)
    code = getattr(function, "__code__", None)
    return code is not None and code.co_name == "_fused_forward"
