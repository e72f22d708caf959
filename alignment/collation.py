"""Batches of clips for trainers, made of codes files at the time they are needed.

Only codes count as completion. Holes and EOS are certain and would dilute every mean. Nothing is
ever cut: rows are as long as the longest clip of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from alignment.flat import FlatVocabulary
from alignment.losses import PairTargets
from alignment.outcomes import Outcome
from alignment.runs import Preference, load_codes

ROW = "row"
TARGETS = "targets"


def flat_row(
    vocabulary: FlatVocabulary, header: Sequence[int], codes: Tensor, rate_hz: int
) -> Tensor:
    """Returns prompt and completion [L] of a whole clip with codes [K, T]."""
    seconds = torch.tensor([[0.0, codes.shape[-1] / rate_hz]])
    prompt = vocabulary.prompts(torch.tensor([list(header)]), seconds)
    return torch.cat([prompt, vocabulary.completions(codes[None])], dim=1)[0]


@dataclass(frozen=True)
class ClipRows:
    """Makes flat rows of clips."""

    vocabulary: FlatVocabulary
    rate_hz: int

    def batch(self, headers: Sequence[Sequence[int]], files: Sequence[Path]) -> dict[str, Tensor]:
        """Returns input_ids and the masks of attention and completion [B, L] of B clips."""
        rows = [
            flat_row(
                self.vocabulary, header, torch.from_numpy(load_codes(path)).long(), self.rate_hz
            )
            for header, path in zip(headers, files, strict=True)
        ]
        ids = pad_sequence(rows, batch_first=True, padding_value=float(self.vocabulary.pad))
        return {
            "input_ids": ids,
            "attention_mask": (ids != self.vocabulary.pad).long(),
            "completion_mask": self.vocabulary.is_code(ids).long(),
        }


@dataclass(frozen=True)
class Target:
    """What the ratings of one pair say to a loss."""

    win: float
    defeat: float
    tie: float
    weight: float
    imitated: float

    @classmethod
    def of(cls, row: Preference, *, soft_labels: bool, reads_ties: bool) -> Target:
        """Returns a preference's target.

        Where raters disagree and labels are soft, the shares say what the weight says too, which
        then is not applied a second time.
        """
        if row.win_probability is not None:
            win = row.win_probability
            return cls(win=win, defeat=1.0 - win, tie=0.0, weight=1.0, imitated=1.0)
        counts = row.counts
        ties = counts.tie if reads_ties else 0
        total = counts.decided + ties
        imitated = float(row.outcome is Outcome.CHOSEN)
        if not soft_labels or not total:
            return cls(
                win=imitated,
                defeat=0.0,
                tie=float(row.outcome is Outcome.TIE),
                weight=row.weight,
                imitated=imitated,
            )
        is_disputed = max(counts.chosen, counts.rejected, ties) < total
        return cls(
            win=counts.chosen / total,
            defeat=counts.rejected / total,
            tie=ties / total,
            weight=1.0 if is_disputed else row.weight,
            imitated=imitated,
        )


def pair_targets(
    rows: Sequence[Preference], *, soft_labels: bool, reads_ties: bool, mean_weight: float = 1.0
) -> PairTargets:
    """Returns the targets [B] of preferences; mean_weight: what counts as a weight of 1."""
    targets = [Target.of(row, soft_labels=soft_labels, reads_ties=reads_ties) for row in rows]
    return PairTargets(
        win=torch.tensor([target.win for target in targets]),
        defeat=torch.tensor([target.defeat for target in targets]),
        tie=torch.tensor([target.tie for target in targets]),
        weight=torch.tensor([target.weight for target in targets]) / mean_weight,
        imitated=torch.tensor([target.imitated for target in targets]),
    )


class PreferenceCollator:
    """Makes the batch a DPO trainer reads: all chosen rows first, then all rejected ones.

    Weights are divided by their mean over all preferences, so that they say how much a pair
    counts beside others and change nothing where all are equal.
    """

    def __init__(
        self,
        vocabulary: FlatVocabulary,
        preferences: Sequence[Preference],
        rate_hz: int,
        *,
        soft_labels: bool = True,
        reads_ties: bool = False,
    ) -> None:
        self.rows = ClipRows(vocabulary, rate_hz)
        self.preferences = preferences
        self._soft_labels = soft_labels
        self._reads_ties = reads_ties
        self._mean_weight = float(self._targets(preferences, 1.0).weight.mean())

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        preferences = [self.preferences[example[ROW]] for example in examples]
        targets = self._targets(preferences, self._mean_weight)
        return {**self.collate(preferences), TARGETS: vars(targets)}

    def collate(self, preferences: Sequence[Preference]) -> dict[str, Tensor]:
        """Returns input_ids and masks [2 B, L] of B preferences."""
        files = [row.chosen for row in preferences] + [row.rejected for row in preferences]
        return self.rows.batch([row.header for row in (*preferences, *preferences)], files)

    def _targets(self, rows: Sequence[Preference], mean_weight: float) -> PairTargets:
        return pair_targets(
            rows,
            soft_labels=self._soft_labels,
            reads_ties=self._reads_ties,
            mean_weight=mean_weight,
        )


def row_dataset(n_rows: int) -> Dataset:
    """Returns a dataset of row numbers; its text columns are there for the trainer to prepare."""
    text = [[row_text] * n_rows for row_text in ("<bos>", "<eos>", "<eos>")]
    columns = dict(zip(("prompt", "chosen", "rejected"), text, strict=True))
    return Dataset.from_dict({ROW: list(range(n_rows)), **columns})


def clip_dataset(n_rows: int, labels: Sequence[bool] | None = None) -> Dataset:
    """Returns a dataset of row numbers of single clips, each labelled good or bad if at all."""
    columns: dict[str, list[Any]] = {"prompt": ["<bos>"] * n_rows, "completion": ["<eos>"] * n_rows}
    if labels is not None:
        columns["label"] = list(labels)
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
