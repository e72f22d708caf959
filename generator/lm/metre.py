"""Metre conditioning: where in its beat, and in its phrase of four bars, each frame lies.

Huang and Yang 2020 (Pop Music Transformer, arXiv:2002.00212) give a language model of notes the
place in the bar as tokens of its own. Here the place is known for every frame once the header
tells the length of a beat and the metre of the style, so it is an embedding and costs no step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BARS_PER_PHRASE = 4
FIRST_STD = 0.05

IdValues = Sequence[tuple[int, int]]
"""Text ids and the count that each of them tells."""


def value_table(values: IdValues, vocabulary_size: int) -> Tensor:
    """Returns what each text id tells, int64 [vocabulary_size], 0 where it tells nothing."""
    table = torch.zeros(vocabulary_size, dtype=torch.long)
    for text_id, value in values:
        table[text_id] = value
    return table


def first_rows(sizes: Sequence[int]) -> Tensor:
    """Returns the row at which each size's positions begin, by size; row 0 is for "not told"."""
    starts = torch.zeros(max(sizes, default=0) + 1, dtype=torch.long)
    row = 1
    for size in sorted(set(sizes)):
        starts[size] = row
        row += size
    return starts


class MetreEmbedding(nn.Module):
    """An embedding of each frame's place in its beat, and of its beat's place in the phrase."""

    frames_of_id: Tensor
    beats_of_id: Tensor
    beat_rows: Tensor
    phrase_rows: Tensor

    def __init__(
        self, width: int, vocabulary_size: int, beat_ids: IdValues, bar_ids: IdValues
    ) -> None:
        """beat_ids: ids that tell frames per beat; bar_ids: ids that tell beats per bar."""
        super().__init__()
        beats = [frames for _, frames in beat_ids]
        phrases = [count * BARS_PER_PHRASE for _, count in bar_ids]
        tables = {
            "frames_of_id": value_table(beat_ids, vocabulary_size),
            "beats_of_id": value_table(bar_ids, vocabulary_size),
            "beat_rows": first_rows(beats),
            "phrase_rows": first_rows(phrases),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        self.in_beat = nn.Embedding(1 + sum(set(beats)), width)
        self.in_phrase = nn.Embedding(1 + sum(set(phrases)), width)
        for embedding in (self.in_beat, self.in_phrase):
            nn.init.normal_(embedding.weight, std=FIRST_STD)

    def told(self, text: Tensor) -> Tensor:
        """Returns frames per beat and beats per bar [B, 2] of header ids [B, L], 0 if open."""
        return torch.stack(
            [self.frames_of_id[text].sum(dim=1), self.beats_of_id[text].sum(dim=1)], dim=1
        )

    def forward(self, metre: Tensor, frame: Tensor) -> Tensor:
        """Returns embeddings [B, S, D] of frames [B, S], counted from the piece's beginning."""
        per_beat, per_bar = metre[:, :1], metre[:, 1:]  # [B, 1]
        beat = frame // per_beat.clamp(min=1)
        beat_row = self.beat_rows[per_beat] + frame % per_beat.clamp(min=1)
        per_phrase = per_bar * BARS_PER_PHRASE
        phrase_row = self.phrase_rows[per_phrase] + beat % per_phrase.clamp(min=1)
        is_told = (per_beat > 0) & (per_bar > 0)
        in_phrase = self.in_phrase(torch.where(is_told, phrase_row, 0))
        embedding: Tensor = self.in_beat(torch.where(per_beat > 0, beat_row, 0)) + in_phrase
        return embedding
