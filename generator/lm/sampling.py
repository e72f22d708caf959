"""Sampling codes from a core: guidance, truncation, and one random stream a clip."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.errors import GeneratorError, RequestError
from generator.lm.attention import fused_projections
from generator.lm.core import Core, head_weights, stack_texts
from generator.lm.patterns import Pattern, shift_right

StepCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn: guidance 1 is off, top_k 0 and top_p 1 cut nothing, top_k 1 is greedy.

    The defaults are those of the starter's card.
    """

    guidance: float = 2.0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        checks = (
            ("guidance", self.guidance, 0.0, 20.0),
            ("temperature", self.temperature, 0.05, 5.0),
            ("top_p", self.top_p, 0.01, 1.0),
        )
        for name, value, least, most in checks:
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if not (is_number and least <= value <= most):
                raise RequestError(f"{name} is {least:g} to {most:g}, got {value!r}")
        if isinstance(self.top_k, bool) or not isinstance(self.top_k, int) or self.top_k < 0:
            raise RequestError(f"top_k is a whole number of at least 0, got {self.top_k!r}")

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as a mapping that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> SamplingSettings:
        """Returns the settings that `to_json` wrote."""
        try:
            return cls(**fields)
        except TypeError as exc:
            raise RequestError(f"these are no sampling settings: {dict(fields)}") from exc


def truncate(logits: Tensor, settings: SamplingSettings) -> Tensor:
    """Returns probabilities [..., V] of logits after temperature, top_k and top_p."""
    logits = logits / settings.temperature
    if 0 < settings.top_k < logits.shape[-1]:
        least = logits.topk(settings.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    probabilities = logits.softmax(dim=-1)
    if settings.top_p < 1.0:
        ordered, order = probabilities.sort(dim=-1, descending=True)
        cut = ordered.cumsum(dim=-1) - ordered >= settings.top_p
        ordered = ordered.masked_fill(cut, 0.0)
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
    return probabilities


def draw(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Returns the tokens [...] at which cumulated probabilities [..., V] pass uniform [...]."""
    cumulated = probabilities.cumsum(dim=-1)
    target = uniform[..., None] * cumulated[..., -1:]
    tokens = torch.searchsorted(cumulated, target, right=True)[..., 0]
    return tokens.clamp(max=probabilities.shape[-1] - 1)


def uniform_streams(seeds: Sequence[int], n_steps: int, n_codebooks: int) -> Tensor:
    """Returns uniform numbers [S, B, K], each clip's own stream, the same in any batch."""
    streams = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        streams.append(torch.rand((n_steps, n_codebooks), generator=generator))
    return torch.stack(streams, dim=1)


def guided_logits(logits: Tensor, guidance: float) -> Tensor:
    """Returns [B, ...] from conditional and empty-prompt logits stacked as [2 B, ...].

    Classifier-free guidance, Ho and Salimans 2022, eq. 6 with w = guidance - 1,
    arXiv:2207.12598, applied to logits.
    """
    conditional, empty = logits.chunk(2)
    return empty + guidance * (conditional - empty)


def begun_grid(pattern: Pattern, prefix: Tensor, n_frames: int) -> tuple[Tensor, Tensor]:
    """Returns the grid [B, S, K] of codes that begin with prefix [B, K, P], and its known places.

    The known places are bool [S, K]; all others hold holes.
    """
    batch, n_codebooks, n_known = prefix.shape
    codes = prefix.new_full((batch, n_codebooks, n_frames), pattern.hole)
    codes[:, :, :n_known] = prefix
    is_known = (torch.arange(n_frames, device=prefix.device) < n_known).long()
    known = pattern.build(is_known.expand(1, n_codebooks, n_frames))[0] == 1
    return pattern.build(codes), known


def head_ranges(wanted: Tensor) -> list[slice]:
    """Returns which codebooks' heads each step needs, of bool [S, K]; none where none is wanted."""
    ranges = []
    for row in wanted.tolist():
        asked = [codebook for codebook, is_wanted in enumerate(row) if is_wanted]
        ranges.append(slice(asked[0], asked[-1] + 1) if asked else slice(0, 0))
    return ranges


def check_prefix(core: Core, prefix: Tensor, batch: int, n_frames: int) -> None:
    """Raises RequestError unless the prefix holds codes of the core, shorter than the clip."""
    allowed = f"[{batch}, {core.n_codebooks}, 0 to {n_frames - 1}]"
    if (
        prefix.ndim != 3
        or prefix.shape[:2] != (batch, core.n_codebooks)
        or prefix.shape[2] >= n_frames
    ):
        raise RequestError(f"expected a prefix of shape {allowed}, got {tuple(prefix.shape)}")
    if prefix.is_floating_point():
        raise RequestError(f"expected a prefix of whole numbers, got {prefix.dtype}")
    if prefix.numel() and not 0 <= int(prefix.min()) <= int(prefix.max()) < core.codebook_size:
        raise RequestError(
            f"expected codes 0 to {core.codebook_size - 1} in the prefix, "
            f"got {int(prefix.min())} to {int(prefix.max())}"
        )


@torch.inference_mode()
def sample_codes(  # noqa: PLR0917 - the order in which a clip is described
    core: Core,
    text: Tensor,
    seconds: Tensor,
    n_frames: int,
    settings: SamplingSettings,
    seeds: Sequence[int],
    *,
    text_mask: Tensor | None = None,
    prefix: Tensor | None = None,
    on_step: StepCallback | None = None,
) -> Tensor:
    """Returns codes [B, K, T] drawn for text [B, L] and seconds [B, 2], one seed a clip.

    Equal tokens for equal seeds do not depend on the batch, but for the rounding of floats.
    prefix: codes [B, K, P] that the clips begin with; they are kept, and sampling goes on after.
    """
    if n_frames < 1:
        raise RequestError(f"n_frames is at least 1, got {n_frames}")
    if len(seeds) != text.shape[0]:
        raise RequestError(f"expected {text.shape[0]} seeds, one a clip, got {len(seeds)}")
    batch = text.shape[0]
    pattern = core.pattern
    n_steps = pattern.n_steps(n_frames)
    guided = settings.guidance != 1.0
    copies = 2 if guided else 1
    if text_mask is None:
        text_mask = torch.ones_like(text)
    if prefix is None:
        prefix = torch.zeros((batch, core.n_codebooks, 0), dtype=torch.long, device=text.device)
    check_prefix(core, prefix, batch, n_frames)
    if guided:
        text, text_mask = stack_texts((text, text_mask), core.empty_text(batch))
        seconds = torch.cat([seconds, seconds])

    grid, known = begun_grid(pattern, prefix.long(), n_frames)
    wanted = pattern.present(n_frames).to(text.device) & ~known  # [S, K]
    first = int(wanted.any(dim=1).long().argmax())
    uniform = uniform_streams(seeds, n_steps, core.n_codebooks).to(text.device)
    ranges = head_ranges(wanted)
    heads = head_weights(core).unflatten(0, (core.n_codebooks, -1))  # [K, V, D]
    condition = core.condition(text, text_mask, seconds, n_frames=n_frames)
    cache = core.new_cache(copies * batch, n_steps)
    rows = shift_right(grid, pattern.hole)
    row = rows[:, first : first + 1]  # [B, 1, K]
    with fused_projections(core):  # type: ignore[arg-type]
        if first:
            core.trunk(rows[:, :first].repeat(copies, 1, 1), condition, cache)
        for step in range(first, n_steps):
            hidden = core.trunk(row.repeat(copies, 1, 1), condition, cache)
            asked = ranges[step]
            if asked.start < asked.stop:
                logits = F.linear(hidden[:, 0], heads[asked].flatten(0, 1)).float()
                logits = logits.view(copies * batch, -1, core.codebook_size)
                if guided:
                    logits = guided_logits(logits, settings.guidance)
                if not math.isfinite(float(logits.sum())):
                    raise GeneratorError(f"logits are not finite at step {step} of {n_steps}")
                tokens = draw(truncate(logits, settings), uniform[step, :, asked])
                kept = grid[:, step, asked]
                grid[:, step, asked] = torch.where(wanted[step, asked], tokens, kept)
            row = grid[:, step : step + 1]
            if on_step is not None:
                on_step(step + 1, n_steps)
    return pattern.revert(grid)
