"""Families of checkpoints: what makes a generator of a folder, whoever laid it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, assert_never

from generator.checkpoints import CARD_FILE, Family, read_card
from generator.checkpoints import load_core as load_starter_core
from generator.codec.model import Codec, load_codec
from generator.errors import CheckpointError
from generator.lm.sampling import SamplingSettings
from generator.lm.starter import StarterCore
from generator.musicgen.codec import EncodecCodec
from generator.musicgen.core import DecoderCore
from generator.musicgen.folder import is_pretrained_folder
from generator.musicgen.loading import load_core as load_musicgen_core
from generator.musicgen.loading import load_pretrained
from generator.text.completion import complete_header, plan_rng
from generator.text.header import SlotValue
from generator.text.planner import Planner, load_planner

AnyCore = StarterCore | DecoderCore
AnyCodec = Codec | EncodecCodec

STARTER_SAMPLING = SamplingSettings()
MUSICGEN_SAMPLING = SamplingSettings(guidance=3.0, top_k=250)
"""Copet et al. 2023, section 4, arXiv:2306.05284."""


class PromptPlan(Protocol):
    """What was understood of a prompt."""

    @property
    def header(self) -> tuple[int, ...]:
        """The text ids of what the prompt tells."""
        ...

    @property
    def unknown_words(self) -> tuple[str, ...]:
        """The words that did not reach the model."""
        ...

    @property
    def slots(self) -> Mapping[str, SlotValue]:
        """The same for people to read."""
        ...


class PromptReader(Protocol):
    """Turns prompts into text ids."""

    def plan(self, prompt: str) -> PromptPlan:
        """Returns what is understood of a prompt."""
        ...

    def header(self, plan: PromptPlan, seed: int) -> tuple[int, ...]:
        """Returns the text ids that a clip with this seed is conditioned on."""
        ...


class HeaderReader:
    """The starter's reader: a planner, and a plan by seed for what a prompt leaves open."""

    def __init__(self, planner: Planner) -> None:
        self.planner = planner

    def plan(self, prompt: str) -> PromptPlan:
        """Returns the header of a prompt and the words the planner does not know."""
        return self.planner.plan(prompt)

    def header(self, plan: PromptPlan, seed: int) -> tuple[int, ...]:
        """Returns the header with beat and key filled in."""
        return complete_header(plan.header, plan_rng(seed))


@dataclass(frozen=True)
class Parts:
    """What a full checkpoint consists of once it is loaded, on the CPU in evaluation mode."""

    reader: PromptReader
    core: AnyCore
    codec: AnyCodec
    sampling: SamplingSettings
    """How clips are drawn where nothing else is asked for."""


def family_of(folder: Path) -> Family:
    """Returns whose layout a full checkpoint has; a folder without card may be MusicGen's."""
    if not (folder / CARD_FILE).is_file() and is_pretrained_folder(folder):
        return Family.MUSICGEN
    return Family(read_card(folder).family)


def load_core(folder: Path) -> AnyCore:
    """Returns the core of a full checkpoint."""
    family = family_of(folder)
    match family:
        case Family.STARTER:
            return load_starter_core(folder)
        case Family.MUSICGEN:
            return load_musicgen_core(folder)
        case _:
            assert_never(family)


def load_parts(folder: Path) -> Parts:
    """Returns reader, core and codec of a full checkpoint, found to fit each other."""
    family = family_of(folder)
    match family:
        case Family.STARTER:
            core, codec = load_starter_core(folder), load_codec(folder)
            _check_fit(folder, core, codec)
            return Parts(HeaderReader(load_planner(folder)), core, codec, STARTER_SAMPLING)
        case Family.MUSICGEN:
            loaded = load_pretrained(folder)
            _check_fit(folder, loaded.core, loaded.codec)
            return Parts(loaded.reader, loaded.core, loaded.codec, MUSICGEN_SAMPLING)
        case _:
            assert_never(family)


def _check_fit(folder: Path, core: AnyCore, codec: AnyCodec) -> None:
    stated, offered = core.n_codebooks, codec.config.n_codebooks
    if stated > offered or core.codebook_size != codec.config.codebook_size:
        raise CheckpointError(
            f"the core speaks {stated} x {core.codebook_size} codes, the codec of {folder} "
            f"{offered} x {codec.config.codebook_size}"
        )
