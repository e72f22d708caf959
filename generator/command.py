"""Subcommands `assemble` and `generate` of whole checkpoints."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from tempfile import TemporaryFile

import torch
from tqdm import tqdm

from generator.audio import CHANNELS, wav_writer, write_wav
from generator.checkpoints import load_core, parent_of, save_core, write_card
from generator.codec.model import load_codec, save_codec
from generator.errors import RequestError
from generator.files import read_json
from generator.lm.sampling import SamplingSettings
from generator.musicgen.hub import resolve
from generator.requests import LEAST_S, MOST_S, ClipRequest, check_duration
from generator.stories import (
    MOST_PIECE_S,
    PieceRequest,
    Section,
    generate_piece,
    parse_story,
)
from generator.synthesis import Generator, load_generator
from generator.text.planner import load_planner, save_planner

STARTER = Path(__file__).parent / "starter"
SETTINGS = ("guidance", "temperature", "top_k", "top_p")

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
    assemble.add_argument("--channels", type=int, choices=CHANNELS, default=1)
    assemble.set_defaults(run=run_assembly)

    generate = subparsers.add_parser("generate", help="make clips from prompts")
    generate.add_argument("prompts", nargs="*", help="one clip is made of each")
    generate.add_argument(
        "--story", help='prompts of one piece by their seconds: "0: slow piano; 20: add drums"'
    )
    generate.add_argument(
        "--checkpoint",
        default=STARTER,
        help="a checkpoint folder, a MusicGen folder, or hub:facebook/musicgen-small",
    )
    generate.add_argument("--adapter", type=Path, action="append", default=[])
    generate.add_argument("--out", type=Path, default=Path(), help="folder of the WAV files")
    generate.add_argument("--seconds", type=float, default=5.0, help="up to 600")
    generate.add_argument("--seed", type=int, default=0, help="of the first clip; then one more")
    generate.add_argument(
        "--melody", type=Path, help="a recording (WAV, FLAC, OGG or MP3) whose tune to follow"
    )
    for name in SETTINGS:
        kind = int if name == "top_k" else float
        flag = f"--{name.replace('_', '-')}"
        generate.add_argument(flag, type=kind, help="the checkpoint's own unless given")
    generate.set_defaults(run=run_generation)


def run_assembly(arguments: argparse.Namespace) -> None:
    """Writes core, codec and planner into one folder and, last, its card."""
    save_core(load_core(arguments.core), arguments.out)
    save_codec(load_codec(arguments.codec), arguments.out)
    save_planner(load_planner(arguments.planner), arguments.out)
    parent, parent_hash = parent_of(arguments.core)
    card = write_card(
        arguments.out,
        name=arguments.name,
        kind="full",
        licence=arguments.licence,
        recipe=read_json(arguments.recipe) if arguments.recipe else {},
        metrics=read_json(arguments.metrics) if arguments.metrics else {},
        channels=arguments.channels,
        parent=parent,
        parent_hash=parent_hash,
    )
    logger.info("%s is complete: %s", arguments.out, ", ".join(sorted(card.files)))


def requested(arguments: argparse.Namespace) -> list[ClipRequest | PieceRequest]:
    """Returns what the command line asks for: clips, or pieces where they are long or a story."""
    if (arguments.story is None) == (not arguments.prompts):
        raise RequestError("give a prompt or a story, one of the two")
    check_duration(arguments.seconds, LEAST_S, MOST_PIECE_S)
    if arguments.melody is not None and (arguments.story or arguments.seconds > MOST_S):
        raise RequestError(f"a melody is followed for at most {MOST_S:g} s, and not by a story")
    if arguments.story is not None:
        return [PieceRequest(parse_story(arguments.story), arguments.seconds, arguments.seed)]
    return [
        PieceRequest((Section(0.0, prompt),), arguments.seconds, arguments.seed + number)
        if arguments.seconds > MOST_S
        else ClipRequest(prompt, arguments.seconds, arguments.seed + number, arguments.melody)
        for number, prompt in enumerate(arguments.prompts)
    ]


def check_folder(folder: Path) -> None:
    """Raises RequestError unless files can be written into a folder."""
    if not folder.is_dir():
        raise RequestError(f"{folder} is not a folder")
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise RequestError(f"cannot write into {folder}: {exc.strerror}") from exc


def write_piece(
    generator: Generator, request: PieceRequest, settings: SamplingSettings, path: Path
) -> None:
    """Writes a long piece as it is made, window by window, and says what was understood."""
    codec = generator.codec.config
    with (
        tqdm(total=1.0, desc=path.name, bar_format="{l_bar}{bar}| {elapsed}<{remaining}") as bar,
        wav_writer(path, codec.sample_rate_hz, codec.n_channels) as append,
    ):
        for block in generate_piece(generator, request, settings, lambda s: bar.update(s - bar.n)):
            if block.waveform is not None:
                append(block.waveform)
    for section in request.sections:
        plan = generator.plan(section.prompt)
        understood = json.dumps(plan.slots)
        unknown = ", ".join(plan.unknown_words) or "none"
        logger.info("%s at %g s: %s, unknown words: %s", path, section.start_s, understood, unknown)


def run_generation(arguments: argparse.Namespace) -> None:
    """Writes one WAV file a prompt and says what was understood."""
    torch.set_num_threads(1)
    requests = requested(arguments)
    asked = {name: getattr(arguments, name) for name in SETTINGS}
    told = {name: value for name, value in asked.items() if value is not None}
    SamplingSettings(**told)  # refuses a bad value before anything is loaded
    check_folder(arguments.out)
    generator = load_generator(resolve(arguments.checkpoint), arguments.adapter)
    settings = generator.settings(told)
    for request in requests:
        path = arguments.out / f"clip-{request.seed}.wav"
        if isinstance(request, PieceRequest):
            write_piece(generator, request, settings, path)
    clips = [request for request in requests if isinstance(request, ClipRequest)]
    for request, clip in zip(clips, generator.generate(clips, settings), strict=True):
        path = arguments.out / f"clip-{request.seed}.wav"
        write_wav(path, clip.waveform, clip.sample_rate_hz)
        understood = json.dumps(generator.plan(request.prompt).slots)
        unknown = ", ".join(clip.unknown_words) or "none"
        logger.info("%s: %s, unknown words: %s", path, understood, unknown)
