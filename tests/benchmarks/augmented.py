"""The rival of the face: a codebook model behind the one matrix of outputs that trainers expect.

TRL's fused head multiplies hidden states by one matrix. K heads fit into it exactly: each hidden
state carries a one-hot of whose turn it is, and the matrix a column for each turn that is 0 for
the ids of that turn and IMPOSSIBLE for all others.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from trl.trainer.utils import add_fused_lm_head

from alignment.face import IMPOSSIBLE, FlatAudioConfig
from alignment.flat import N_STRUCTURAL, FlatVocabulary
from generator.lm.core import Core, head_weights
from generator.lm.patterns import shift_right


class Backbone(nn.Module):
    """Hidden states of a core, spread over flat ids, each with whose turn is next."""

    def __init__(self, core: Core) -> None:
        super().__init__()
        self.core = core
        self.vocabulary = FlatVocabulary.of(core)

    def forward(self, input_ids: Tensor, **_: object) -> BaseModelOutput:
        """Returns hidden states [B, L, D + K + 4] of ids [B, L]; place p is about id p + 1."""
        vocabulary, n_codebooks = self.vocabulary, self.vocabulary.n_codebooks
        rows = vocabulary.split(input_ids)
        condition = self.core.condition(rows.text, rows.text_mask, rows.seconds)
        hidden = self.core.trunk(shift_right(rows.grid, vocabulary.pattern.hole), condition)
        place = torch.arange(input_ids.shape[1], device=input_ids.device)
        cell = place - rows.beginning[:, None]  # [B, L]
        step = (cell // n_codebooks).clamp(0, hidden.shape[1] - 1)
        spread = hidden.gather(1, step[..., None].expand(-1, -1, hidden.shape[-1]))
        following = F.pad(input_ids[:, 1:], (0, 1), value=vocabulary.pad)
        structural = n_codebooks + (following - vocabulary.n_codes).clamp(0, N_STRUCTURAL - 1)
        turn = torch.where(vocabulary.is_code(following), cell % n_codebooks, structural)
        turns = F.one_hot(turn, n_codebooks + N_STRUCTURAL).to(spread.dtype)
        return BaseModelOutput(last_hidden_state=torch.cat([spread, turns], dim=-1))


class AugmentedAudioLM(PreTrainedModel):
    """A core with one matrix of outputs, scored by TRL's own fused head."""

    config_class = FlatAudioConfig
    base_model_prefix = "backbone"
    main_input_name = "input_ids"

    backbone: Any

    def __init__(self, core: Core) -> None:
        vocabulary = FlatVocabulary.of(core)
        super().__init__(FlatAudioConfig(vocab_size=vocabulary.size, hidden_size=core.width))
        self.vocabulary = vocabulary
        self.backbone = Backbone(core)
        self.head = nn.Linear(1, 1, bias=False)
        self.head.weight = nn.Parameter(augmented_weight(core, vocabulary), requires_grad=False)
        add_fused_lm_head(self, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))

    def get_output_embeddings(self) -> nn.Module:
        """Returns the one matrix of outputs."""
        return self.head

    def forward(self, input_ids: Tensor, **_: object) -> Any:
        """Returns nothing but for the fused head, which stands over this."""
        raise NotImplementedError("only the fused head is measured")


def augmented_weight(core: Core, vocabulary: FlatVocabulary) -> Tensor:
    """Returns the matrix [K * V + 4, D + K + 4]: the heads' weights and the mask of turns."""
    heads = F.pad(head_weights(core).detach(), (0, 0, 0, N_STRUCTURAL))
    groups = [
        *(torch.ones(vocabulary.codebook_size, 1) for _ in range(vocabulary.n_codebooks)),
        *(torch.ones(1, 1) for _ in range(N_STRUCTURAL)),
    ]
    return torch.cat([heads, IMPOSSIBLE * (1 - torch.block_diag(*groups))], dim=1)
