"""How a prompt becomes ids for T5, and what of it T5 does not get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LONGEST_TEXT = 512
"""T5 was trained on texts of at most this many ids."""


@dataclass(frozen=True)
class TextPlan:
    """The T5 ids of a prompt, and the words that did not reach the model whole."""

    header: tuple[int, ...]
    unknown_words: tuple[str, ...]
    """Words with characters that T5 has no piece for, and words cut off behind its limit."""
    n_ids_cut: int = 0

    @property
    def slots(self) -> dict[str, int]:
        """How many ids were read and how many were cut off, for a line in a log."""
        return {"ids": len(self.header), "ids_cut": self.n_ids_cut}


class PromptIds(Protocol):
    """Whatever holds the text ids of a prompt."""

    @property
    def header(self) -> tuple[int, ...]:
        """The ids."""
        ...


class TextReader:
    """T5's tokenizer with a limit that is told, not silent."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.text_length = min(int(tokenizer.model_max_length), LONGEST_TEXT)

    def plan(self, prompt: str) -> TextPlan:
        """Returns the ids of a prompt, at most text_length with the end of text."""
        encoded = self.tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True)
        ids: list[int] = encoded["input_ids"]
        offsets: list[tuple[int, int]] = encoded["offset_mapping"]
        n_kept = min(len(ids), self.text_length - 1)
        beyond = offsets[n_kept - 1][1] if 0 < n_kept < len(ids) else len(prompt)
        missed = [
            _word_around(prompt, start, end)
            for (start, end), text_id in zip(offsets[:n_kept], ids[:n_kept], strict=True)
            if text_id == self.tokenizer.unk_token_id
        ]
        missed += prompt[beyond:].split()
        return TextPlan(
            header=(*ids[:n_kept], self.tokenizer.eos_token_id),
            unknown_words=tuple(dict.fromkeys(missed)),
            n_ids_cut=len(ids) - n_kept,
        )

    def header(
        self,
        plan: PromptIds,
        seed: int,  # noqa: ARG002
        *,
        has_melody: bool = False,  # noqa: ARG002
    ) -> tuple[int, ...]:
        """Returns the ids of a plan: MusicGen's clips of one prompt all read the same."""
        return plan.header


def _word_around(prompt: str, start: int, end: int) -> str:
    """Returns the word of a prompt that holds the characters from start to end."""
    while start > 0 and not prompt[start - 1].isspace():
        start -= 1
    while end < len(prompt) and not prompt[end].isspace():
        end += 1
    return prompt[start:end].strip()
