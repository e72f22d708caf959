"""Reads a pretrained MusicGen folder, as transformers' `save_pretrained` and the hub lay it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from generator.errors import CheckpointError
from generator.musicgen.codec import EncodecCodec
from generator.musicgen.core import DecoderCore, MelodyCore, MusicgenConfig, MusicgenCore
from generator.musicgen.folder import checkpoint_files, read_config
from generator.musicgen.reader import TextReader

MELODY_HOP_SAMPLES = 4096
SHOWN_KEYS = 4


@dataclass(frozen=True)
class Pretrained:
    """The parts of a MusicGen folder, in evaluation mode and float32."""

    core: DecoderCore
    codec: EncodecCodec
    reader: TextReader


def load_pretrained(folder: Path) -> Pretrained:
    """Returns core, codec and reader of a folder; CheckpointError says what is missing or wrong."""
    checkpoint_files(folder)
    model = _load_model(folder)
    reader = TextReader(_load_tokenizer(folder))
    config = model.config
    codec = EncodecCodec(model.audio_encoder, config.decoder.audio_channels)
    if config.decoder.pad_token_id != config.decoder.vocab_size:
        raise CheckpointError(
            f"{folder}: the decoder's pad_token_id is {config.decoder.pad_token_id}, expected its "
            f"vocab_size {config.decoder.vocab_size}"
        )
    try:
        core = build_core(model, text_length=reader.text_length)
    except ValueError as exc:
        raise CheckpointError(f"{folder} cannot be run: {exc}") from exc
    return Pretrained(core=core.eval(), codec=codec.eval(), reader=reader)


def load_core(folder: Path) -> DecoderCore:
    """Returns the core of a folder alone."""
    return load_pretrained(folder).core


def build_core(model: Any, text_length: int) -> DecoderCore:
    """Returns our core over the weights of a MusicgenForConditionalGeneration, or of a melody one.

    The weights are shared, not copied; the model's own decoder is not needed any more.
    """
    decoder, text = model.config.decoder, model.config.text_encoder
    config = MusicgenConfig(
        width=decoder.hidden_size,
        n_layers=decoder.num_hidden_layers,
        n_heads=decoder.num_attention_heads,
        feed_width=decoder.ffn_dim,
        n_codebooks=decoder.num_codebooks,
        codebook_size=decoder.vocab_size,
        frame_rate_hz=int(model.config.audio_encoder.frame_rate),
        text_vocabulary_size=text.vocab_size,
        n_channels=decoder.audio_channels,
        activation=decoder.activation_function,
        text_length=text_length,
        n_positions=decoder.max_position_embeddings,
    )
    core: DecoderCore
    with torch.device("meta"):
        if model.config.model_type == "musicgen_melody":
            core = MelodyCore(
                config,
                nn.Identity(),
                text.hidden_size,
                n_melody_steps=model.config.chroma_length,
                melody_rate_hz=model.config.audio_encoder.sampling_rate / MELODY_HOP_SAMPLES,
            )
        else:
            core = MusicgenCore(config, nn.Identity(), text.hidden_size)
    weights = dict(model.decoder.state_dict())
    for name in ("enc_to_dec_proj", "audio_enc_to_dec_proj"):
        projection = getattr(model, name, None)
        if projection is not None:
            weights |= {f"{name}.{key}": value for key, value in projection.state_dict().items()}
    core.load_state_dict(weights, assign=True)
    core.text_encoder = model.text_encoder.requires_grad_(False)
    return core.eval()


def _load_model(folder: Path) -> Any:
    from transformers import (
        MusicgenForConditionalGeneration,
        MusicgenMelodyForConditionalGeneration,
    )

    is_melody = read_config(folder)["model_type"] == "musicgen_melody"
    kind: Any = (
        MusicgenMelodyForConditionalGeneration if is_melody else MusicgenForConditionalGeneration
    )
    try:
        model, report = kind.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as exc:
        raise CheckpointError(f"{folder} does not load as {kind.__name__}: {exc}") from exc
    missing = sorted(report["missing_keys"])
    if missing:
        shown = ", ".join(missing[:SHOWN_KEYS]) + (", ..." if len(missing) > SHOWN_KEYS else "")
        raise CheckpointError(
            f"{folder} lacks {len(missing)} of the {len(model.state_dict())} weights that its "
            f"configuration asks for: {shown}"
        )
    return model.eval()


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as exc:
        raise CheckpointError(f"the tokenizer of {folder} does not load: {exc}") from exc
    if tokenizer.eos_token_id is None:
        raise CheckpointError(f"the tokenizer of {folder} has no end of text")
    return tokenizer
