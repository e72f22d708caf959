"""transformers' MusicGen with random weights of any size, and its greedy codes, to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

CODEBOOK_SIZE = 2048
N_CODEBOOKS = 4
TEXT_WIDTH = 64
N_TEXT_IDS = 64
N_TEXT = 8
FRAME_RATE_HZ = 50


@dataclass(frozen=True)
class Size:
    """The size of a MusicGen decoder."""

    width: int
    n_layers: int
    n_heads: int

    @property
    def label(self) -> str:
        """The size in short: d256 L6."""
        return f"d{self.width} L{self.n_layers}"


class CodesMade(Exception):
    """Carries the codes that `generate` was about to decode."""

    def __init__(self, codes: Tensor) -> None:
        super().__init__("codes are made")
        self.codes = codes


def random_musicgen(size: Size, seed: int = 0, codebook_size: int = CODEBOOK_SIZE) -> Any:
    """Returns a random MusicgenForConditionalGeneration whose greedy codes vary.

    The text encoder is tiny and the codec is never run: both are the same for whoever samples.
    """
    from transformers import (
        EncodecConfig,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        T5Config,
    )

    text = T5Config(
        vocab_size=N_TEXT_IDS, d_model=TEXT_WIDTH, d_kv=16, d_ff=TEXT_WIDTH, num_layers=1,
        num_heads=4,
    )  # fmt: skip
    audio = EncodecConfig(
        sampling_rate=32000,
        upsampling_ratios=[8, 5, 4, 4],
        num_filters=4,
        hidden_size=16,
        codebook_dim=16,
        codebook_size=codebook_size,
        target_bandwidths=[2.2],
        num_lstm_layers=1,
        normalize=False,
    )
    decoder = MusicgenDecoderConfig(
        vocab_size=codebook_size,
        hidden_size=size.width,
        num_hidden_layers=size.n_layers,
        num_attention_heads=size.n_heads,
        ffn_dim=4 * size.width,
        num_codebooks=N_CODEBOOKS,
        pad_token_id=codebook_size,
        bos_token_id=codebook_size,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MusicgenForConditionalGeneration(
            MusicgenConfig(
                text_encoder=text.to_dict(),
                audio_encoder=audio.to_dict(),
                decoder=decoder.to_dict(),
            )
        )
        for name, parameter in model.named_parameters():
            if name.startswith("decoder.") and parameter.ndim == 2:
                std = 1.0 if "embed" in name else parameter.shape[1] ** -0.5
                nn.init.normal_(parameter, std=std)
    for name in ("decoder_start_token_id", "pad_token_id", "bos_token_id"):
        setattr(model.generation_config, name, codebook_size)
    return model.eval()


def random_texts(n_clips: int) -> tuple[Tensor, Tensor]:
    """Returns the ids [B, L] of texts and a mask of ones."""
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(2, N_TEXT_IDS, (n_clips, N_TEXT), generator=generator)
    return text, torch.ones_like(text)


def their_greedy_codes(
    model: Any, text: Tensor, mask: Tensor, n_frames: int, guidance: float
) -> Tensor:
    """Returns codes [B, K, T] of transformers' generate, stopped before it decodes them."""

    def stop(codes: Tensor, *_: Any, **__: Any) -> NoReturn:
        raise CodesMade(codes[0])

    decode = model.audio_encoder.decode
    model.audio_encoder.decode = stop
    try:
        model.generate(
            input_ids=text,
            attention_mask=mask,
            do_sample=False,
            guidance_scale=guidance,
            max_new_tokens=n_frames + N_CODEBOOKS - 1,
        )
    except CodesMade as made:
        return made.codes
    finally:
        model.audio_encoder.decode = decode
    raise AssertionError("generate returned without decoding")
