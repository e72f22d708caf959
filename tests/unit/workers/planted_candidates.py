"""Candidates with one fault each, made of the tiny base by changing its weights."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from alignment.adapters import save_adapter
from alignment.config import LORA_TARGETS
from alignment.face import FlatAudioLM
from generator.checkpoints import (
    content_hash,
    load_core,
    merge_adapter,
    read_card,
    save_core,
    write_card,
)
from generator.codec.model import load_codec, save_codec
from generator.lm.starter import StarterCore

Change = Callable[[Path], None]


def write_candidate(base: Path, folder: Path, change: Change) -> Path:
    """Writes a copy of a full checkpoint, changed, with a card that tells the truth."""
    shutil.copytree(base, folder)
    change(folder)
    write_card(folder, name=folder.name, kind="full", licence="Apache-2.0")
    return folder


def write_adapter(
    base: Path, folder: Path, step: float, *, on: Path | None = None, seed: int = 3
) -> Path:
    """Writes an adapter checkpoint whose weights are random numbers times `step`.

    on: the adapter of the base that it adapts in turn.
    """
    core = load_core(base) if on is None else merge_adapter(load_core(base), on)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(LORA_TARGETS))
    policy = get_peft_model(FlatAudioLM(core), config)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    parent = base if on is None else on
    with torch.no_grad():
        for name, weight in policy.named_parameters():
            if "lora_" in name:
                weight.copy_(step * torch.randn(weight.shape, generator=generator))
    assert isinstance(policy, PeftModel)
    save_adapter(policy, folder)
    write_card(
        folder,
        name=folder.name,
        kind="adapter",
        licence="Apache-2.0",
        parent=read_card(parent).name,
        parent_hash=content_hash(parent),
    )
    return folder


def of_core(change: Callable[[StarterCore], None]) -> Change:
    """A change of the language model."""

    def apply(folder: Path) -> None:
        core = load_core(folder)
        with torch.no_grad():
            change(core)
        save_core(core, folder, torch.float32)

    return apply


@of_core
def collapsed(core: StarterCore) -> None:
    """Always the most likely code, whatever the prompt: one clip for everything."""
    for heads in core.lm_heads.parameters():
        heads.mul_(1000.0)
    core.text_embedding.weight.zero_()
    for embedding in core.metre.modules():
        if isinstance(embedding, nn.Embedding):
            embedding.weight.zero_()


@of_core
def deaf(core: StarterCore) -> None:
    """The same mixture of sounds, whatever the prompt."""
    core.text_embedding.weight.zero_()


@of_core
def hacked(core: StarterCore) -> None:
    """Half of the codes are never drawn again: an extreme sound that scored well."""
    for heads in core.lm_heads.parameters():
        heads[256:] = 0.0
        heads[:256] *= 40.0


def turned(folder: Path, change_db: float) -> None:
    """The same music, louder or softer."""
    codec = load_codec(folder)
    with torch.no_grad():
        codec.decoder.head.bias += change_db / 20 * math.log(10) / 2  # the decoder doubles it
    save_codec(codec, folder)


def louder(folder: Path) -> None:
    """The same music 6 dB up."""
    turned(folder, 6.0)


def silent(folder: Path) -> None:
    """The same music where nobody hears it."""
    turned(folder, -120.0)
