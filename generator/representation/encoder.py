"""The representation encoder: a bidirectional transformer over the codes of a clip's frames."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.errors import CheckpointError, RequestError
from generator.files import load_weights, read_json, write_json, write_tensors
from generator.lm.attention import rotary_table, rotate

N_POSITIONS = 2048
CONFIG_FILE = "encoder.json"
WEIGHTS_FILE = "encoder.safetensors"


@dataclass(frozen=True)
class EncoderConfig:
    """The size of an encoder and the codes it reads."""

    n_codebooks: int = 2
    codebook_size: int = 512
    width: int = 128
    n_layers: int = 3
    n_heads: int = 4
    frame_rate_hz: int = 25

    def __post_init__(self) -> None:
        for name in ("n_codebooks", "codebook_size", "n_layers", "n_heads", "frame_rate_hz"):
            if getattr(self, name) < 1:
                raise RequestError(f"{name} is at least 1, got {getattr(self, name)}")
        if self.width < 1 or self.width % (2 * self.n_heads):
            raise RequestError(
                f"width is a multiple of twice n_heads, got {self.width} and {self.n_heads}"
            )


@dataclass(frozen=True)
class Embedding:
    """What an encoder makes of clips: states of their frames, and vectors of whole clips."""

    frames: Tensor
    """[B, T, D], zero where a clip has ended."""
    clips: Tensor
    """[B, D], the mean over a clip's frames: few numbers, for distances."""
    layers: Tensor
    """[B, (L + 1) D], the same before the first of L layers and after each: more to read off."""


class EncoderLayer(nn.Module):
    """One block: attention to frames before and after, and a feed-forward part."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm = nn.RMSNorm(width, eps=1e-6)
        self.qkv_proj = nn.Linear(width, 3 * width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)
        self.feed_norm = nn.RMSNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width, bias=False)
        self.fc2 = nn.Linear(4 * width, width, bias=False)
        for weight in (self.qkv_proj.weight, self.fc1.weight):
            nn.init.normal_(weight, std=0.7 / math.sqrt(width))
        for weight in (self.out_proj.weight, self.fc2.weight):
            nn.init.zeros_(weight)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], present: Tensor | None) -> Tensor:
        """Returns x [B, T, D] after this block; present: bool [B, 1, 1, T], None where all are."""
        batch, n_frames, width = x.shape
        projected = self.qkv_proj(self.attention_norm(x))
        projected = projected.view(batch, n_frames, 3, self.n_heads, width // self.n_heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each [B, H, T, head_width]
        query = rotate(F.rms_norm(query, query.shape[-1:]), *rotary).to(value.dtype)
        key = rotate(F.rms_norm(key, key.shape[-1:]), *rotary).to(value.dtype)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=present)
        x = x + self.out_proj(attended.transpose(1, 2).reshape(x.shape))
        return x + self.fc2(F.gelu(self.fc1(self.feed_norm(x)), approximate="tanh"))


class RepresentationEncoder(nn.Module):
    """Reads all codebooks of a frame at once and predicts the codes of frames it cannot see.

    Masked prediction of discrete codes as in BERT (Devlin et al. 2019, arXiv:1810.04805) and
    w2v-BERT (Chung et al. 2021, arXiv:2108.06209); here the codes are the codec's own, and there
    is no contrastive part. The heads share their weights with the embeddings.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        width, size = config.width, config.codebook_size
        # One more row than there are codes: the code of a frame that is hidden.
        self.code_embeddings = nn.ModuleList(
            nn.Embedding(size + 1, width) for _ in range(config.n_codebooks)
        )
        self.layers = nn.ModuleList(
            EncoderLayer(width, config.n_heads) for _ in range(config.n_layers)
        )
        self.last_norm = nn.RMSNorm(width, eps=1e-6)
        self.head_proj = nn.Linear(width, config.n_codebooks * width, bias=False)
        cosine, sine = rotary_table(N_POSITIONS, width // config.n_heads)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        for embedding in self.code_embeddings:
            assert isinstance(embedding, nn.Embedding)
            nn.init.normal_(embedding.weight, std=0.5)
        nn.init.normal_(self.head_proj.weight, std=1.0 / width)

    @property
    def hidden_code(self) -> int:
        """The code that stands for a frame that is hidden."""
        return self.config.codebook_size

    def states(self, codes: Tensor, present: Tensor | None = None) -> list[Tensor]:
        """Returns the states [B, T, D] before the first layer and after each.

        codes: [B, K, T], `hidden_code` allowed; present: bool [B, T], None where all are.
        """
        n_frames = codes.shape[-1]
        x = torch.stack([e(codes[:, k]) for k, e in enumerate(self.code_embeddings)]).sum(0)
        rotary = (self.cosine[:n_frames], self.sine[:n_frames])
        mask = None if present is None else present[:, None, None]
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1], rotary, mask))
        return states

    def forward(self, codes: Tensor, present: Tensor | None = None) -> Tensor:
        """Returns logits [B, T, K, V] of codes [B, K, T]."""
        hidden = self.last_norm(self.states(codes, present)[-1])
        queries = self.head_proj(hidden).unflatten(-1, (self.config.n_codebooks, -1))
        weights = torch.stack([e.weight[:-1] for e in self.code_embeddings])  # type: ignore[index]
        return torch.einsum("btkd,kvd->btkv", queries, weights.to(queries.dtype))

    @torch.inference_mode()
    def embed(self, codes: Tensor, n_frames: Tensor | None = None) -> Embedding:
        """Returns the embedding of codes [B, K, T]; n_frames: each clip's length [B], else T.

        A state is the mean over the layers, each normalised, so that sounds (early layers)
        and their order (late ones) both stand in it.
        """
        self._check(codes)
        lengths = torch.full(codes.shape[:1], codes.shape[-1]) if n_frames is None else n_frames
        present = torch.arange(codes.shape[-1])[None] < lengths[:, None]  # [B, T]
        present = present.to(codes.device)
        states = torch.stack(self.states(codes.long(), present), dim=2)  # [B, T, L + 1, D]
        normalised = F.rms_norm(states, states.shape[-1:]) * present[..., None, None]
        layers = normalised.sum(1) / present.sum(1)[:, None, None]  # [B, L + 1, D]
        return Embedding(normalised.mean(2), layers.mean(1), layers.flatten(1))

    def _check(self, codes: Tensor) -> None:
        expected = self.config.n_codebooks
        if codes.ndim != 3 or codes.shape[1] != expected:
            raise RequestError(
                f"expected codes of shape [B, {expected}, T], got {tuple(codes.shape)}"
            )
        if not 0 < codes.shape[-1] <= N_POSITIONS:
            raise RequestError(f"a clip has 1 to {N_POSITIONS} frames, got {codes.shape[-1]}")
        if int(codes.min()) < 0 or int(codes.max()) >= self.config.codebook_size:
            raise RequestError(
                f"codes are 0 to {self.config.codebook_size - 1}, "
                f"got {int(codes.min())} to {int(codes.max())}"
            )


def save_encoder(encoder: RepresentationEncoder, folder: Path) -> None:
    """Writes encoder.json and encoder.safetensors in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS_FILE, encoder.state_dict(), torch.float16)
    write_json(folder / CONFIG_FILE, asdict(encoder.config))


def load_encoder(folder: Path) -> RepresentationEncoder:
    """Returns the encoder of a folder, in evaluation mode and float32."""
    path = folder / CONFIG_FILE
    stored = read_json(path)
    try:
        encoder = RepresentationEncoder(EncoderConfig(**stored))
    except (TypeError, ValueError) as exc:
        raise CheckpointError(f"{path} does not describe an encoder: {exc}") from exc
    load_weights(encoder, folder / WEIGHTS_FILE)
    return encoder.eval()
