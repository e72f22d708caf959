"""Batches of preferences for trainers, made of codes files at the time they are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from alignment.flat import FlatVocabulary
from alignment.runs import Preference, load_codes

ROW = "row"


def flat_row(
    vocabulary: FlatVocabulary, header: Sequence[int], codes: Tensor, rate_hz: int
) -> Tensor:
    """Returns prompt and completion [L] of a whole clip with codes [K, T]."""
    seconds = torch.tensor([[0.0, codes.shape[-1] / rate_hz]])
    prompt = vocabulary.prompts(torch.tensor([list(header)]), seconds)
    return torch.cat([prompt, vocabulary.completions(codes[None])], dim=1)[0]


class PreferenceCollator:
    """Makes the batch a DPO trainer reads: all chosen rows first, then all rejected ones.

    Only codes count as completion. Holes and EOS are certain and would dilute every mean.
    Nothing is ever cut: rows are as long as the longest clip of the batch.
    """

    def __init__(
        self, vocabulary: FlatVocabulary, preferences: Sequence[Preference], rate_hz: int
    ) -> None:
        self.vocabulary = vocabulary
        self.preferences = preferences
        self.rate_hz = rate_hz

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        return self.collate([self.preferences[example[ROW]] for example in examples])

    def collate(self, preferences: Sequence[Preference]) -> dict[str, Tensor]:
        """Returns input_ids, masks [2 B, L] and weights [2 B] of B preferences."""
        files = [row.chosen for row in preferences] + [row.rejected for row in preferences]
        rows = [
            flat_row(
                self.vocabulary,
                row.header,
                torch.from_numpy(load_codes(path)).long(),
                self.rate_hz,
            )
            for row, path in zip([*preferences, *preferences], files, strict=True)
        ]
        ids = pad_sequence(rows, batch_first=True, padding_value=float(self.vocabulary.pad))
        weights = torch.tensor([row.weight for row in preferences])
        return {
            "input_ids": ids,
            "attention_mask": (ids != self.vocabulary.pad).long(),
            "completion_mask": self.vocabulary.is_code(ids).long(),
            "weights": weights.repeat(2),
        }


def row_dataset(n_rows: int) -> Dataset:
    """Returns a dataset of row numbers; its text columns are there for the trainer to prepare."""
    text = [[row_text] * n_rows for row_text in ("<bos>", "<eos>", "<eos>")]
    columns = dict(zip(("prompt", "chosen", "rejected"), text, strict=True))
    return Dataset.from_dict({ROW: list(range(n_rows)), **columns})


def structural_tokenizer(vocabulary: FlatVocabulary) -> PreTrainedTokenizerFast:
    """Returns the tokenizer a trainer insists on: the structural ids, by name."""
    names = {
        "<pad>": vocabulary.pad,
        "<eos>": vocabulary.eos,
        "<hole>": vocabulary.hole,
        "<bos>": vocabulary.bos,
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(names, unk_token="<hole>")),
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<hole>",
    )
