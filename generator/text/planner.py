"""The planner: a linear classifier that turns a prompt into a header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from generator.corpus.attributes import ROOTS
from generator.errors import CheckpointError, RequestError
from generator.files import load_weights, read_json, write_json, write_tensors
from generator.text.beats import (
    TEMPO_OF_FRAMES,
    find_bpm,
    find_pitch_class,
    frames_of_bpm,
    without_figures,
)
from generator.text.header import (
    EMPTY_HEADER,
    HEADER_VOCABULARY,
    SlotValue,
    decode_header,
    encode_header,
)
from generator.text.lexicon import words_of
from generator.text.reading import DENIALS, marked_phrases, read_tokens
from generator.text.spelling import Speller, load_lookalikes
from generator.text.vocabulary import STOP_WORDS

ROOT_OF_CLASS = {root % 12: root for root in ROOTS}


@dataclass(frozen=True)
class Plan:
    """What the planner understood: ten header ids, and the words that told it nothing."""

    header: tuple[int, ...]
    unknown_words: tuple[str, ...]

    @property
    def slots(self) -> dict[str, SlotValue]:
        """The slots the prompt specifies, by name."""
        return decode_header(self.header)


@dataclass(frozen=True)
class PlannerConfig:
    """The phrases a planner knows."""

    phrases: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.phrases:
            raise RequestError("a planner knows at least one phrase, got none")


@dataclass(frozen=True)
class Reading:
    """The ids of the phrases found in a prompt, and the words that are in none."""

    features: tuple[int, ...]
    unknown_words: tuple[str, ...]


class Planner(nn.Module):
    """A bag of phrases, each of which speaks for or against every value of every slot."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.config = config
        size = HEADER_VOCABULARY.size
        self.evidence = nn.EmbeddingBag(len(config.phrases), size, mode="sum")
        self.bias = nn.Parameter(torch.zeros(size))
        self._phrase_ids = {phrase: index for index, phrase in enumerate(config.phrases)}
        words = words_of(config.phrases) | STOP_WORDS | DENIALS
        self._speller = Speller(words, load_lookalikes())
        nn.init.zeros_(self.evidence.weight)

    def read(self, prompt: str) -> Reading:
        """Returns the known phrases of a prompt, misspelt words mended, and its unknown words."""
        tokens = read_tokens(without_figures(prompt), self._speller.known_word)
        features: dict[int, None] = {}
        used: set[int] = set()
        for phrase, places in marked_phrases(tokens):
            if phrase in self._phrase_ids:
                features[self._phrase_ids[phrase]] = None
                used.update(places)
        unknown = [
            token.written
            for place, token in enumerate(tokens)
            if place not in used and token.known not in STOP_WORDS
        ]
        return Reading(tuple(features), tuple(dict.fromkeys(unknown)))

    def forward(self, features: Sequence[Sequence[int]]) -> list[Tensor]:
        """Returns each slot's scores, "unspecified" first, [B, 1 + values], for B bags of ids."""
        flat = torch.tensor([i for bag in features for i in bag], dtype=torch.long)
        lengths = torch.tensor([0] + [len(bag) for bag in features[:-1]])
        scores = self.evidence(flat, lengths.cumsum(0)) + self.bias
        return list(scores.split([1 + len(v) for _, v in HEADER_VOCABULARY.slots], dim=-1))

    @torch.inference_mode()
    def plan(self, prompt: str) -> Plan:
        """Returns the header of a prompt; words that told nothing are listed, not dropped.

        Beats per minute and keys are read as figures and letters, not learned.
        """
        reading = self.read(prompt)
        header = list(EMPTY_HEADER)
        if reading.features:
            choices = [int(score[0].argmax()) for score in self([reading.features])]
            header = [first + choice for first, choice in zip(header, choices, strict=True)]
        told: dict[str, SlotValue] = {}
        bpm = find_bpm(prompt)
        if bpm is not None:
            frames = frames_of_bpm(bpm)
            told |= {"frames_per_beat": frames, "tempo": TEMPO_OF_FRAMES[frames]}
        pitch_class = find_pitch_class(prompt)
        if pitch_class is not None and pitch_class in ROOT_OF_CLASS:
            told["root"] = ROOT_OF_CLASS[pitch_class]
        if told:
            header = encode_header({**decode_header(header), **told})
        return Plan(tuple(header), reading.unknown_words)


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
