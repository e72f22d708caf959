"""Subcommands `encode` and `decode`: files of any length to codes and back, block by block."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from generator.audio import wav_writer
from generator.codec.model import Codec, load_codec
from generator.codec.streaming import StreamDecoder, StreamEncoder
from generator.command import STARTER
from generator.errors import RequestError
from generator.files import written_whole
from generator.recordings import recording_blocks

BLOCK_FRAMES = 250

logger = logging.getLogger(__name__)


def encoded_blocks(codec: Codec, path: Path) -> Iterator[NDArray[np.int16]]:
    """Yields the codes [K, t] of a recording, mixed to mono at the codec's rate."""
    encoder = StreamEncoder(codec)
    for block in recording_blocks(path, codec.config.sample_rate_hz):
        codes = encoder.push(torch.from_numpy(block))
        if codes is not None:
            yield codes[0].numpy().astype(np.int16)
    try:
        codes = encoder.finish()
    except RequestError as exc:
        raise RequestError(f"{path} is too short: {exc}") from exc
    if codes is not None:
        yield codes[0].numpy().astype(np.int16)


def decoded_blocks(
    codec: Codec, codes: NDArray[np.integer], n_codebooks: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Yields the waveform [n] of codes [K, T], read with the first n_codebooks or with all.

    Codes that lie in a memory-mapped file are read as they are needed.
    """
    n_codebooks = len(codes) if n_codebooks is None else n_codebooks
    most = min(len(codes), codec.config.n_codebooks)
    if not 1 <= n_codebooks <= most:
        raise RequestError(f"codebooks are 1 to {most}, got {n_codebooks}")
    decoder = StreamDecoder(codec)
    for start in range(0, codes.shape[1], BLOCK_FRAMES):
        block = np.asarray(codes[:n_codebooks, start : start + BLOCK_FRAMES], np.int64)
        waveform = decoder.push(torch.from_numpy(block)[None])
        if waveform is not None:
            yield waveform[0].numpy()
    waveform = decoder.finish()
    if waveform is not None:
        yield waveform[0].numpy()


def open_codes(path: Path) -> NDArray[np.integer]:
    """Returns the codes [K, T] of a .npy file, left on the disk until they are read."""
    try:
        codes = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as exc:
        raise RequestError(f"{path} is missing") from exc
    except (OSError, ValueError, EOFError) as exc:
        raise RequestError(f"{path} is no .npy file of codes: {exc}") from exc
    if not isinstance(codes, np.ndarray) or not np.issubdtype(codes.dtype, np.integer):
        found = codes.dtype if isinstance(codes, np.ndarray) else "several arrays"
        raise RequestError(f"{path} holds {found}, expected whole numbers [K, T]")
    if codes.ndim != 2 or not codes.size:
        raise RequestError(f"expected codes [K, T] in {path}, got shape {codes.shape}")
    return codes


def run_encoding(parsed: argparse.Namespace) -> None:
    """Writes the codes of a recording."""
    torch.set_num_threads(1)
    codec = load_codec(parsed.checkpoint)
    with written_whole(parsed.out) as partial:
        codes = np.concatenate(list(encoded_blocks(codec, parsed.recording)), axis=1)
        with partial.open("wb") as file:
            np.save(file, codes)
    seconds = codes.shape[1] / codec.config.frame_rate_hz
    logger.info("%s: codes %s of %.1f s", parsed.out, list(codes.shape), seconds)


def run_decoding(parsed: argparse.Namespace) -> None:
    """Writes the sound of codes as WAV."""
    torch.set_num_threads(1)
    codec = load_codec(parsed.checkpoint)
    codes = open_codes(parsed.codes)
    with wav_writer(parsed.out, codec.config.sample_rate_hz) as append:
        for waveform in decoded_blocks(codec, codes, parsed.codebooks):
            append(waveform)
    seconds = codes.shape[1] / codec.config.frame_rate_hz
    n_used = parsed.codebooks or len(codes)
    logger.info("%s: %.1f s from %d of %d codebooks", parsed.out, seconds, n_used, len(codes))


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommands that code files."""
    encode = subparsers.add_parser("encode", help="write the codes of a recording")
    encode.add_argument("recording", type=Path, help="WAV, FLAC, OGG or MP3 of any length")
    encode.add_argument("--out", type=Path, required=True, help=".npy file of codes [K, T]")
    encode.add_argument("--checkpoint", type=Path, default=STARTER, help="folder with a codec")
    encode.set_defaults(run=run_encoding)
    decode = subparsers.add_parser("decode", help="write the sound of codes")
    decode.add_argument("codes", type=Path, help=".npy file of codes [K, T]")
    decode.add_argument("--out", type=Path, required=True, help="WAV file")
    decode.add_argument("--codebooks", type=int, help="how many of the codes' first codebooks")
    decode.add_argument("--checkpoint", type=Path, default=STARTER, help="folder with a codec")
    decode.set_defaults(run=run_decoding)
