"""Families of checkpoints: what makes a generator of a folder, whoever laid it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, assert_never

import torch
from torch import Tensor

from generator.checkpoints import CARD_FILE, Family, read_card
from generator.checkpoints import load_core as load_starter_core
from generator.codec.model import Codec, load_codec
from generator.errors import CheckpointError
from generator.lm.sampling import SamplingSettings
from generator.lm.starter import StarterCore
from generator.melody import melody_ids
from generator.musicgen.chroma import melody_classes
from generator.musicgen.codec import EncodecCodec
from generator.musicgen.core import DecoderCore, MelodyCore
from generator.musicgen.folder import is_pretrained_folder
from generator.musicgen.loading import load_core as load_musicgen_core
from generator.musicgen.loading import load_pretrained
from generator.recordings import read_recording
from generator.stereo import N_CHANNELS, StereoCodec
from generator.text.completion import complete_header, plan_rng
from generator.text.header import SlotValue
from generator.text.planner import Planner, load_planner

AnyCore = StarterCore | DecoderCore
AnyCodec = Codec | StereoCodec | EncodecCodec
MelodyReader = Callable[[Path], Tensor]

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

    def header(self, plan: PromptPlan, seed: int, *, has_melody: bool = False) -> tuple[int, ...]:
        """Returns the text ids that a clip with this seed is conditioned on."""
        ...


class HeaderReader:
    """The starter's reader: a planner, and a plan by seed for what a prompt leaves open."""

    def __init__(self, planner: Planner) -> None:
        self.planner = planner

    def plan(self, prompt: str) -> PromptPlan:
        """Returns the header of a prompt and the words the planner does not know."""
        return self.planner.plan(prompt)

    def header(self, plan: PromptPlan, seed: int, *, has_melody: bool = False) -> tuple[int, ...]:
        """Returns the header with beat and key filled in; a melody brings its own."""
        if has_melody:
            return plan.header
        return complete_header(plan.header, plan_rng(seed))


@dataclass(frozen=True)
class Parts:
    """What a full checkpoint consists of once it is loaded, on the CPU in evaluation mode."""

    reader: PromptReader
    core: AnyCore
    codec: AnyCodec
    sampling: SamplingSettings
    """How clips are drawn where nothing else is asked for."""
    melody: MelodyReader | None = None
    """Hears the melody of a recording as the core reads it; None where it follows none."""


def starter_melody(core: StarterCore, codec: Codec) -> MelodyReader | None:
    """Returns what turns a recording into melody ids [M], one a frame."""
    if not core.config.hears_melody:
        return None
    rate_hz = codec.config.sample_rate_hz

    def read(path: Path) -> Tensor:
        samples = torch.from_numpy(read_recording(path, rate_hz))
        return torch.from_numpy(melody_ids(samples, rate_hz, core.frame_rate_hz)).long()

    return read


def musicgen_melody(core: DecoderCore, codec: EncodecCodec) -> MelodyReader | None:
    """Returns what turns a recording into pitch classes [M], if this MusicGen follows them."""
    if not isinstance(core, MelodyCore):
        return None
    rate_hz = codec.config.sample_rate_hz
    return lambda path: melody_classes(torch.from_numpy(read_recording(path, rate_hz)), rate_hz)


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
            core, mono = load_starter_core(folder), load_codec(folder)
            is_stereo = read_card(folder).channels == N_CHANNELS
            codec = StereoCodec(mono) if is_stereo else mono
            _check_fit(folder, core, codec)
            return Parts(
                HeaderReader(load_planner(folder)),
                core,
                codec,
                STARTER_SAMPLING,
                starter_melody(core, mono),
            )
        case Family.MUSICGEN:
            loaded = load_pretrained(folder)
            _check_fit(folder, loaded.core, loaded.codec)
            return Parts(
                loaded.reader,
                loaded.core,
                loaded.codec,
                MUSICGEN_SAMPLING,
                musicgen_melody(loaded.core, loaded.codec),
            )
        case _:
            assert_never(family)


def _check_fit(folder: Path, core: AnyCore, codec: AnyCodec) -> None:
    stated, offered = core.n_codebooks, codec.config.n_codebooks
    if stated % codec.config.n_channels:
        raise CheckpointError(
            f"the {codec.config.n_channels} channels of {folder} share the core's streams evenly, "
            f"got {stated} streams"
        )
    if stated > offered or core.codebook_size != codec.config.codebook_size:
        raise CheckpointError(
            f"the core speaks {stated} x {core.codebook_size} codes, the codec of {folder} "
            f"{offered} x {codec.config.codebook_size}"
        )
