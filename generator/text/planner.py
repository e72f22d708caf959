"""The planner: a small classifier that turns a prompt into a header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.errors import CheckpointError
from generator.files import load_weights, read_json, write_json, write_tensors
from generator.text.beats import TEMPO_OF_FRAMES, find_bpm, frames_of_bpm
from generator.text.header import (
    EMPTY_HEADER,
    HEADER_VOCABULARY,
    SlotValue,
    decode_header,
    encode_header,
)
from generator.text.vocabulary import (
    STOP_WORDS,
    gram_buckets,
    phrases,
    split_words,
)


@dataclass(frozen=True)
class Plan:
    """What the planner understood: ten header ids, and the words it has never met."""

    header: tuple[int, ...]
    unknown_words: tuple[str, ...]

    @property
    def slots(self) -> dict[str, SlotValue]:
        """The slots the prompt specifies, by name."""
        return decode_header(self.header)


@dataclass(frozen=True)
class PlannerConfig:
    """The phrases a planner knows and the size of its layers."""

    phrases: tuple[str, ...]
    n_buckets: int = 4096
    width: int = 96

    def __post_init__(self) -> None:
        if self.n_buckets < 1 or self.width < 1:
            raise ValueError(
                f"n_buckets and width are at least 1, got {self.n_buckets} and {self.width}"
            )


class Planner(nn.Module):
    """A bag of phrases and letter n-grams, one hidden layer, and a choice for each slot."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.EmbeddingBag(
            len(config.phrases) + config.n_buckets, config.width, mode="sum"
        )
        self.hidden = nn.Linear(config.width, config.width)
        self.choices = nn.Linear(config.width, HEADER_VOCABULARY.size)
        self._phrase_ids = {phrase: index for index, phrase in enumerate(config.phrases)}
        nn.init.normal_(self.embedding.weight, std=0.1)

    def features(self, words: Sequence[str]) -> list[int]:
        """Returns the ids of the known phrases in words and of the buckets of their n-grams."""
        ids = [self._phrase_ids[p] for p in phrases(words) if p in self._phrase_ids]
        first = len(self.config.phrases)
        for word in words:
            if word not in STOP_WORDS and not word.isdigit():
                ids += [first + bucket for bucket in gram_buckets(word, self.config.n_buckets)]
        return ids

    def forward(self, features: Sequence[Sequence[int]]) -> list[Tensor]:
        """Returns each slot's scores, "unspecified" first, [B, 1 + values], for B bags of ids."""
        flat = torch.tensor([i for bag in features for i in bag], dtype=torch.long)
        lengths = torch.tensor([0] + [len(bag) for bag in features[:-1]])
        pooled = self.embedding(flat, lengths.cumsum(0))
        sizes = torch.tensor([max(len(bag), 1) for bag in features])[:, None]
        hidden = F.gelu(self.hidden(pooled / sizes.sqrt()))
        widths = [1 + len(values) for _, values in HEADER_VOCABULARY.slots]
        return list(self.choices(hidden).split(widths, dim=-1))

    @torch.inference_mode()
    def plan(self, prompt: str) -> Plan:
        """Returns the header of a prompt; words it never met are listed, not dropped in silence.

        Beats per minute are read as numbers, not learned.
        """
        words = split_words(prompt)
        features = self.features(words)
        header = list(EMPTY_HEADER)
        if features:
            choices = [int(score[0].argmax()) for score in self([features])]
            header = [first + choice for first, choice in zip(header, choices, strict=True)]
        bpm = find_bpm(prompt)
        if bpm is not None:
            frames = frames_of_bpm(bpm)
            told: dict[str, SlotValue] = {
                "frames_per_beat": frames,
                "tempo": TEMPO_OF_FRAMES[frames],
            }
            header = encode_header({**decode_header(header), **told})
        known = self._phrase_ids
        unknown = [
            word
            for word in dict.fromkeys(words)
            if word not in known
            and word not in STOP_WORDS
            and not (bpm is not None and word.partition(".")[0] == str(bpm))
        ]
        return Plan(tuple(header), tuple(unknown))


def save_planner(planner: Planner, folder: Path) -> None:
    """Writes planner.json and planner.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "planner.safetensors", planner.state_dict(), torch.float16)
    stored = asdict(planner.config) | {"header_size": HEADER_VOCABULARY.size}
    write_json(folder / "planner.json", stored)


def load_planner(folder: Path) -> Planner:
    """Returns the planner of a folder, in evaluation mode."""
    path = folder / "planner.json"
    stored = read_json(path)
    try:
        size = stored.pop("header_size")
        config = PlannerConfig(**(stored | {"phrases": tuple(stored["phrases"])}))
    except (TypeError, KeyError, AttributeError, ValueError) as exc:
        raise CheckpointError(f"{path} does not describe a planner: {exc}") from exc
    if size != HEADER_VOCABULARY.size:
        raise CheckpointError(
            f"{path} was made for headers of {size} ids, this program has {HEADER_VOCABULARY.size}"
        )
    planner = Planner(config)
    load_weights(planner, folder / "planner.safetensors")
    return planner.eval()
