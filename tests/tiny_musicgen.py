"""Tiny random MusicGen folders, made and saved by transformers' own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    EncodecConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    MusicgenMelodyConfig,
    MusicgenMelodyDecoderConfig,
    MusicgenMelodyForConditionalGeneration,
    T5Config,
    T5Tokenizer,
)

CODEBOOK_SIZE = 32
SAMPLE_RATE_HZ = 3200
FRAME_SAMPLES = 64
TEXT_LENGTH = 24
CHROMA_LENGTH = 9
LATENT_GAIN = 100.0
WORDS = ("a", "slow", "ballad", "on", "piano", "fast", "dance", "music", "calm", "lullaby", "take")


def tiny_tokenizer() -> T5Tokenizer:
    """Returns a T5 tokenizer of a few words, lower-case letters and digits."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789,"
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    vocabulary += [(f"▁{word}", -1.0) for word in WORDS if len(word) > 1]
    vocabulary += [(letter, -5.0) for letter in letters]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=TEXT_LENGTH)


def _decoder_sizes(is_stereo: bool) -> dict[str, Any]:
    return {
        "vocab_size": CODEBOOK_SIZE,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 48,
        "num_codebooks": 8 if is_stereo else 4,
        "audio_channels": 2 if is_stereo else 1,
        "pad_token_id": CODEBOOK_SIZE,
        "bos_token_id": CODEBOOK_SIZE,
        "max_position_embeddings": 64,
    }


def tiny_musicgen(*, is_stereo: bool = False, is_melody: bool = False, seed: int = 0) -> Any:
    """Returns a random model in which text, melody and every codebook matter."""
    n_text = len(tiny_tokenizer())
    text = T5Config(vocab_size=n_text, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    audio = EncodecConfig(
        target_bandwidths=[1.0],
        sampling_rate=SAMPLE_RATE_HZ,
        normalize=False,
        num_filters=4,
        upsampling_ratios=[4, 4, 4],
        codebook_size=CODEBOOK_SIZE,
        hidden_size=8,
        codebook_dim=8,
        num_lstm_layers=1,
        use_causal_conv=False,
    )
    model: Any
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_melody:
            model = MusicgenMelodyForConditionalGeneration(
                MusicgenMelodyConfig(
                    text_encoder=text.to_dict(),
                    audio_encoder=audio.to_dict(),
                    decoder=MusicgenMelodyDecoderConfig(**_decoder_sizes(is_stereo)).to_dict(),
                    chroma_length=CHROMA_LENGTH,
                )
            )
        else:
            model = MusicgenForConditionalGeneration(
                MusicgenConfig(
                    text_encoder=text.to_dict(),
                    audio_encoder=audio.to_dict(),
                    decoder=MusicgenDecoderConfig(**_decoder_sizes(is_stereo)).to_dict(),
                )
            )
        for name, parameter in model.named_parameters():
            if name.startswith(("decoder.", "enc_to_dec", "audio_enc_to_dec")):
                std = 1.0 if "embed" in name or "enc_to_dec" in name else 0.25
                nn.init.normal_(parameter, mean=float("norm.weight" in name), std=std)
        for codebook in range(model.decoder.num_codebooks):
            nn.init.normal_(model.decoder.lm_heads[codebook].weight, std=0.5)
        encoder = model.audio_encoder.encoder
        for name, parameter in encoder.named_parameters():
            if name.endswith("conv.bias"):
                nn.init.zeros_(parameter)  # so that codes follow the sound, not the biases
        with torch.no_grad():
            encoder.layers[-1].conv.parametrizations.weight.original0.mul_(LATENT_GAIN)
        for depth, layer in enumerate(model.audio_encoder.quantizer.layers):
            nn.init.normal_(layer.codebook.embed, std=0.5**depth)
    for name in ("decoder_start_token_id", "pad_token_id", "bos_token_id"):
        setattr(model.generation_config, name, CODEBOOK_SIZE)
    return model.eval()


def write_tiny_musicgen(
    folder: Path,
    *,
    is_stereo: bool = False,
    is_melody: bool = False,
    seed: int = 0,
    shard_size: str = "1GB",
) -> Path:
    """Writes a tiny random MusicGen as the hub lays it out; returns its folder."""
    model = tiny_musicgen(is_stereo=is_stereo, is_melody=is_melody, seed=seed)
    model.save_pretrained(folder, max_shard_size=shard_size)
    tiny_tokenizer().save_pretrained(folder)
    return folder
