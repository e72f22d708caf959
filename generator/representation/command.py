"""Subcommands `pretrain-encoder` and `probe-encoder`."""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from generator.checkpoints import CODEC_FILES, write_card
from generator.corpus.storage import CODES_FILE
from generator.errors import RequestError
from generator.files import file_sha256, write_json
from generator.representation.clips import clip_codes, embed_clips, load_clips
from generator.representation.encoder import EncoderConfig, RepresentationEncoder, load_encoder
from generator.representation.probe import PROBED, Split, code_histograms, probe
from generator.representation.training import Pretrainer, PretrainingConfig

logger = logging.getLogger(__name__)


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommands of the representation encoder."""
    train = subparsers.add_parser(
        "pretrain-encoder", help="train the representation encoder on codes alone"
    )
    train.add_argument("--tokens", type=Path, nargs="+", required=True, help="tokenised corpora")
    train.add_argument("--codec", type=Path, help="folder of the codec they were coded by")
    train.add_argument("--out", type=Path, required=True, help="folder to train in")
    train.add_argument("--minutes", type=float, default=PretrainingConfig.minutes)
    train.add_argument("--steps", type=int, help="train this many steps, whatever the time")
    train.add_argument("--codebooks", type=int, default=EncoderConfig.n_codebooks)
    train.add_argument("--width", type=int, default=EncoderConfig.width)
    train.add_argument("--layers", type=int, default=EncoderConfig.n_layers)
    train.add_argument("--span-frames", type=int, default=PretrainingConfig.span_frames)
    train.add_argument("--frames", type=int, default=PretrainingConfig.n_frames)
    train.add_argument("--batch-size", type=int, default=PretrainingConfig.batch_size)
    train.add_argument("--save-seconds", type=float, default=PretrainingConfig.save_seconds)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--compile", action="store_true", help="compile the layers; needs a C compiler"
    )
    train.add_argument("--name", default="encoder")
    train.add_argument("--licence", default="Apache-2.0")
    train.set_defaults(run=run_pretraining)

    measure = subparsers.add_parser(
        "probe-encoder", help="compare linear probes of embeddings and of raw codes"
    )
    measure.add_argument("--tokens", type=Path, nargs="+", required=True)
    measure.add_argument("--encoder", type=Path, required=True, help="folder of the encoder")
    measure.add_argument("--clips", type=int, default=1000, help="at most so many, the last ones")
    measure.add_argument("--output", type=Path, help="JSON file for the figures")
    measure.set_defaults(run=run_probe)


def run_pretraining(arguments: argparse.Namespace) -> None:
    """Trains an encoder, or goes on with the run in the folder, and writes its card."""
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    config = PretrainingConfig(
        minutes=None if arguments.steps else arguments.minutes,
        max_steps=arguments.steps,
        batch_size=arguments.batch_size,
        n_frames=arguments.frames,
        span_frames=arguments.span_frames,
        save_seconds=arguments.save_seconds,
        compiled=arguments.compile,
        seed=arguments.seed,
    )
    clips, _ = load_clips(arguments.tokens, arguments.codebooks)
    encoder = RepresentationEncoder(
        EncoderConfig(
            n_codebooks=arguments.codebooks, width=arguments.width, n_layers=arguments.layers
        )
    )
    report = Pretrainer(encoder=encoder, clips=clips, config=config, folder=arguments.out).run()
    write_card(
        arguments.out,
        name=arguments.name,
        kind="encoder",
        licence=arguments.licence,
        recipe={
            "stage": "pretrain-encoder",
            "config": asdict(config),
            "corpora": {str(f.name): file_sha256(f / CODES_FILE) for f in arguments.tokens},
            "n_clips": len(clips),
            "codec_sha256": arguments.codec and file_sha256(arguments.codec / CODEC_FILES[1]),
        },
        metrics=asdict(report),
    )


def run_probe(arguments: argparse.Namespace) -> None:
    """Logs how well attributes are read off embeddings, and off counts of the raw codes."""
    torch.set_num_threads(1)
    encoder = load_encoder(arguments.encoder)
    clips, rows = load_clips(arguments.tokens, encoder.config.n_codebooks)
    if arguments.clips < 1:
        raise RequestError(f"clips is at least 1, got {arguments.clips}")
    codes = clip_codes(clips)[-arguments.clips :]
    rows = rows[-arguments.clips :]
    split = Split.of(len(rows))
    vectors = {
        "embedding": embed_clips(encoder, codes, every_layer=True),
        "raw_codes": code_histograms(codes, encoder.config.codebook_size),
    }
    report: dict[str, Any] = {}
    for slot in PROBED:
        labels = [str(getattr(row.attributes, slot)) for row in rows]
        shares = {name: probe(values, labels, split) for name, values in vectors.items()}
        report[slot] = {name: share.to_json() for name, share in shares.items()}
        logger.info(
            "%s: embedding %.3f, raw codes %.3f, n %d",
            slot,
            shares["embedding"].share,
            shares["raw_codes"].share,
            shares["embedding"].n,
        )
    if arguments.output is not None:
        write_json(arguments.output, report)
