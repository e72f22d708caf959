"""Subcommands `pretrain` and `finetune` of the language model."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch

from generator.checkpoints import load_core, parent_of, write_card
from generator.codec.model import Codec, load_codec
from generator.corpus.storage import CODES_FILE, load_melody, load_tokens
from generator.files import file_sha256
from generator.lm.batches import joined, tokenised_clips
from generator.lm.starter import StarterConfig, StarterCore
from generator.lm.training import Trainer, TrainingConfig
from generator.text.header import BAR_IDS, BEAT_IDS

SILENCE_FRAMES = 50


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommands that train the language model."""
    for name, text in (
        ("pretrain", "train the language model on codes without text"),
        ("finetune", "train the language model on codes and headers"),
    ):
        command = subparsers.add_parser(name, help=text)
        command.add_argument(
            "--tokens",
            type=Path,
            nargs="+",
            required=True,
            help="tokenised corpora; the last clips of the last one are for validation",
        )
        command.add_argument("--codec", type=Path, required=True, help="folder of the codec")
        command.add_argument("--out", type=Path, required=True, help="folder to train in")
        command.add_argument("--init", type=Path, help="folder of a core to start from")
        command.add_argument("--minutes", type=float, default=50.0)
        command.add_argument("--steps", type=int, help="train this many steps, whatever the time")
        command.add_argument("--save-seconds", type=float, default=TrainingConfig.save_seconds)
        command.add_argument("--name", default=name, help="for the card")
        command.add_argument("--licence", default="Apache-2.0")
        command.add_argument("--learning-rate", type=float, default=4e-3)
        command.add_argument("--width", type=int, default=256)
        command.add_argument("--layers", type=int, default=5)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument(
            "--compile", action="store_true", help="compile the blocks; needs a C compiler"
        )
        if name == "finetune":
            command.add_argument("--pretrain-share", type=float, default=0.0)
            command.set_defaults(run=run)
        else:
            command.set_defaults(run=run, pretrain_share=1.0)


def silence_codes(codec: Codec) -> list[int]:
    """Returns the codes [K] of the last frame of a little silence."""
    samples = SILENCE_FRAMES * codec.config.sample_rate_hz // codec.config.frame_rate_hz
    with torch.inference_mode():
        codes = codec.encode(torch.zeros(1, samples))  # [1, K, T]
    return [int(code) for code in codes[0, :, SILENCE_FRAMES // 2]]


def run(arguments: argparse.Namespace) -> None:
    """Trains a core, or goes on with the run in the folder, and writes its card."""
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    if arguments.init is not None:
        core = load_core(arguments.init)
    else:
        core = StarterCore(
            StarterConfig(
                width=arguments.width,
                n_layers=arguments.layers,
                beat_ids=BEAT_IDS,
                bar_ids=BAR_IDS,
                hears_melody=True,
            )
        )
    silence = silence_codes(load_codec(arguments.codec))
    clips = joined(
        [
            tokenised_clips(*load_tokens(folder), silence, core.n_codebooks, load_melody(folder))
            for folder in arguments.tokens
        ]
    )
    config = TrainingConfig(
        minutes=None if arguments.steps else arguments.minutes,
        max_steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        pretrain_share=arguments.pretrain_share,
        compiled=arguments.compile,
        save_seconds=arguments.save_seconds,
        seed=arguments.seed,
    )
    parent, parent_hash = parent_of(arguments.init)
    report = Trainer(core=core, clips=clips, config=config, folder=arguments.out).run()
    write_card(
        arguments.out,
        name=arguments.name,
        kind="core",
        licence=arguments.licence,
        recipe={
            "stage": arguments.command,
            "config": asdict(config),
            "corpora": {f.name: file_sha256(f / CODES_FILE) for f in arguments.tokens},
            "n_clips": clips.n_clips,
        },
        metrics=asdict(report),
        parent=parent,
        parent_hash=parent_hash,
    )
