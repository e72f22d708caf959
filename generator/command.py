"""Subcommands `assemble` and `generate` of whole checkpoints."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import replace
from pathlib import Path

import torch

from generator.audio import write_wav
from generator.checkpoints import load_core, save_core, write_card
from generator.codec.model import load_codec, save_codec
from generator.errors import RequestError
from generator.files import read_json
from generator.lm.sampling import SamplingSettings
from generator.requests import ClipRequest
from generator.synthesis import load_generator
from generator.text.planner import load_planner, save_planner

STARTER = Path(__file__).parent / "starter"

logger = logging.getLogger(__name__)


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommands that put a checkpoint together and make clips with one."""
    assemble = subparsers.add_parser("assemble", help="put a checkpoint folder together")
    assemble.add_argument("--core", type=Path, required=True)
    assemble.add_argument("--codec", type=Path, required=True)
    assemble.add_argument("--planner", type=Path, required=True)
    assemble.add_argument("--out", type=Path, required=True)
    assemble.add_argument("--name", required=True)
    assemble.add_argument("--licence", default="Apache-2.0")
    assemble.add_argument("--recipe", type=Path, help="JSON for the card: how it was made")
    assemble.add_argument("--metrics", type=Path, help="JSON for the card: what was measured")
    assemble.set_defaults(run=run_assembly)

    defaults = SamplingSettings()
    generate = subparsers.add_parser("generate", help="make clips from prompts")
    generate.add_argument("prompts", nargs="+")
    generate.add_argument("--checkpoint", type=Path, default=STARTER)
    generate.add_argument("--adapter", type=Path, action="append", default=[])
    generate.add_argument("--out", type=Path, default=Path(), help="folder of the WAV files")
    generate.add_argument("--seconds", type=float, default=5.0)
    generate.add_argument("--seed", type=int, default=0, help="of the first clip; then one more")
    generate.add_argument("--guidance", type=float, default=defaults.guidance)
    generate.add_argument("--temperature", type=float, default=defaults.temperature)
    generate.add_argument("--top-k", type=int, default=defaults.top_k)
    generate.add_argument("--top-p", type=float, default=defaults.top_p)
    generate.set_defaults(run=run_generation)


def run_assembly(arguments: argparse.Namespace) -> None:
    """Writes core, codec and planner into one folder and, last, its card."""
    save_core(load_core(arguments.core), arguments.out)
    save_codec(load_codec(arguments.codec), arguments.out)
    save_planner(load_planner(arguments.planner), arguments.out)
    card = write_card(
        arguments.out,
        name=arguments.name,
        kind="full",
        licence=arguments.licence,
        recipe=read_json(arguments.recipe) if arguments.recipe else {},
        metrics=read_json(arguments.metrics) if arguments.metrics else {},
    )
    logger.info("%s is complete: %s", arguments.out, ", ".join(sorted(card.files)))


def run_generation(arguments: argparse.Namespace) -> None:
    """Writes one WAV file a prompt and says what was understood."""
    torch.set_num_threads(1)
    requests = [
        ClipRequest(prompt, arguments.seconds, arguments.seed + number)
        for number, prompt in enumerate(arguments.prompts)
    ]
    settings = replace(
        SamplingSettings(),
        guidance=arguments.guidance,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
    )
    if not arguments.out.is_dir():
        raise RequestError(f"{arguments.out} is not a folder")
    generator = load_generator(arguments.checkpoint, arguments.adapter)
    for request, clip in zip(requests, generator.generate(requests, settings), strict=True):
        path = arguments.out / f"clip-{request.seed}.wav"
        write_wav(path, clip.waveform, clip.sample_rate_hz)
        understood = json.dumps(generator.plan(request.prompt).slots)
        unknown = ", ".join(clip.unknown_words) or "none"
        logger.info("%s: %s, unknown words: %s", path, understood, unknown)
