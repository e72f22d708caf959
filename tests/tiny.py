"""A tiny full checkpoint of real classes, for tests that need a generator."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from generator.checkpoints import save_core, write_card
from generator.codec.model import Codec, CodecConfig, save_codec
from generator.files import file_sha256
from generator.lm.starter import StarterConfig, StarterCore
from generator.representation.encoder import EncoderConfig, RepresentationEncoder, save_encoder
from generator.text.header import BAR_IDS, BEAT_IDS
from generator.text.planner import Planner, PlannerConfig, save_planner
from generator.text.vocabulary import phrases, split_words

TINY_CORE = StarterConfig(
    width=32, n_layers=2, n_heads=2, beat_ids=BEAT_IDS, bar_ids=BAR_IDS, hears_melody=True
)
TINY_CODEC = CodecConfig(latent_width=16, width=16, frame_width=16, n_decoder_blocks=1)
TINY_PROMPTS = (
    "a slow ballad on piano in a minor key",
    "fast dance music with driving drums, synth lead",
    "calm lullaby played on a music box, mellow and sparse",
)


def randomise(module: nn.Module, std: float = 0.05) -> None:
    """Gives parameters that start at zero small random values, so that they matter."""
    for parameter in module.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=std)


def tiny_core(seed: int = 0, config: StarterConfig = TINY_CORE) -> StarterCore:
    """Returns a random core of width 32 in evaluation mode, every part of it in use."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        core = StarterCore(config)
        randomise(core)
        for weight in core.lm_heads.parameters():
            nn.init.normal_(weight, std=0.3)
    return core.eval()


def tiny_planner(seed: int = 0) -> Planner:
    """Returns a random planner that knows the words of TINY_PROMPTS."""
    known = sorted({p for prompt in TINY_PROMPTS for p in phrases(split_words(prompt))})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        planner = Planner(PlannerConfig(phrases=tuple(known)))
        nn.init.normal_(planner.evidence.weight, std=2.0)
        return planner.eval()


def tiny_codec(seed: int = 0) -> Codec:
    """Returns a random codec of small widths in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Codec(TINY_CODEC).eval()


def write_tiny_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Writes a tiny random full checkpoint with the real save functions; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_codec(tiny_codec(seed), folder)
    save_core(tiny_core(seed), folder)
    save_planner(tiny_planner(seed), folder)
    write_card(
        folder,
        name=f"tiny-{seed}",
        kind="full",
        licence="Apache-2.0",
        recipe={"seed": seed},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return folder


def write_tiny_encoder(folder: Path, checkpoint: Path) -> Path:
    """Writes a random encoder that reads the codes of a full checkpoint's codec to a new folder."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = RepresentationEncoder(EncoderConfig(width=32, n_layers=1, n_heads=2))
        randomise(encoder)
    save_encoder(encoder, folder)
    write_card(
        folder,
        name="tiny-encoder",
        kind="encoder",
        licence="Apache-2.0",
        recipe={"codec_sha256": file_sha256(checkpoint / "codec.safetensors")},
    )
    return folder
