"""Subcommands `train-codec` and `tokenise`."""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from generator.audio import to_float32
from generator.codec.model import Codec, CodecConfig, load_codec
from generator.codec.training import CodecTrainingConfig, train_codec, training_windows
from generator.corpus.rendering import SAMPLE_RATE_HZ
from generator.corpus.storage import Corpus, load_corpus, write_tokens
from generator.melody import melody_ids

# The corpus is coded in pieces of this length; a clip's codes hardly depend on its neighbours.
FRAMES_PER_PIECE = 1000

log = logging.getLogger(__name__)


def run_training(parsed: argparse.Namespace) -> None:
    """Trains a codec, or goes on with the run in the folder."""
    torch.set_num_threads(1)
    torch.manual_seed(parsed.seed)
    codec = Codec(CodecConfig())
    windows = training_windows(load_corpus(parsed.corpus), codec.config.frame_samples)
    config = CodecTrainingConfig(
        minutes=parsed.minutes,
        batch_size=parsed.batch_size,
        learning_rate=parsed.learning_rate,
        seed=parsed.seed,
    )
    n_parameters = sum(parameter.numel() for parameter in codec.parameters())
    log.info("training a codec of %d parameters: %s", n_parameters, config)
    progress = train_codec(codec, windows, config, parsed.folder)
    log.info("codec written: %d steps in %.0f s", progress.step, progress.elapsed_s)


def tokenise_corpus(codec: Codec, audio: NDArray[np.int16]) -> NDArray[np.int16]:
    """Returns the codes [K, total_T] of all samples of a corpus."""
    size = FRAMES_PER_PIECE * codec.config.frame_samples
    pieces = []
    for start in range(0, len(audio), size):
        piece = torch.from_numpy(to_float32(audio[start : start + size]))
        pieces.append(codec.encode(piece[None])[0].numpy().astype(np.int16))
    return np.concatenate(pieces, axis=1)


def corpus_melody(corpus: Corpus, frame_rate_hz: int) -> NDArray[np.int8]:
    """Returns the melody ids [total_T] of all clips of a corpus."""
    return np.concatenate(
        [
            melody_ids(torch.from_numpy(corpus.waveform(clip)), SAMPLE_RATE_HZ, frame_rate_hz)
            for clip in corpus
        ]
    )


def run_tokenising(parsed: argparse.Namespace) -> None:
    """Writes the codes of a corpus beside where each clip's lie."""
    torch.set_num_threads(1)
    corpus = load_corpus(parsed.corpus)
    codec = load_codec(parsed.codec)
    codes = tokenise_corpus(codec, corpus.audio)
    melody = corpus_melody(corpus, codec.config.frame_rate_hz)
    write_tokens(parsed.folder, codes, corpus.clips, melody)
    used = [len(np.unique(row)) for row in codes]
    log.info("codes written: %s, entries used per codebook %s", codes.shape, used)


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommands of the codec."""
    train = subparsers.add_parser("train-codec", help="train the codec on a corpus")
    train.add_argument("folder", type=Path)
    train.add_argument("--corpus", type=Path, required=True)
    train.add_argument("--minutes", type=float, default=CodecTrainingConfig.minutes)
    train.add_argument("--batch-size", type=int, default=CodecTrainingConfig.batch_size)
    train.add_argument("--learning-rate", type=float, default=CodecTrainingConfig.learning_rate)
    train.add_argument("--seed", type=int, default=0)
    train.set_defaults(run=run_training)
    tokenise = subparsers.add_parser("tokenise", help="write the codes of a corpus")
    tokenise.add_argument("folder", type=Path)
    tokenise.add_argument("--corpus", type=Path, required=True)
    tokenise.add_argument("--codec", type=Path, required=True)
    tokenise.set_defaults(run=run_tokenising)
