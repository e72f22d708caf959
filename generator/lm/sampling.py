"""Sampling codes from a core: guidance, truncation, and one random stream a clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from generator.errors import GeneratorError, RequestError
from generator.lm.adapters import RowAdapters
from generator.lm.core import Core, stack_texts
from generator.lm.patterns import Pattern, shift_right
from generator.lm.preparation import Preparation
from generator.melody import NOT_TOLD

StepCallback = Callable[[int, int], None]
TokensCallback = Callable[[int, slice, Tensor, Tensor], None]
"""Gets a step, the codebooks asked for, their logits [B, k, V] and the tokens [B, k] drawn."""

STEPS_PER_CHECK = 32
"""How often it is looked at whether logits are numbers; on a GPU every look waits for it."""


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn: guidance 1 is off, top_k 0 and top_p 1 cut nothing, top_k 1 is greedy.

    The defaults are those of the starter's card.
    """

    guidance: float = 3.0
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
    if settings.temperature != 1.0:
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


def check_finite(totals: Tensor, first: int, n_steps: int, seeds: Sequence[int]) -> None:
    """Raises GeneratorError where totals [S, B] of logits are no numbers; row 0 is step first."""
    wrong = (~totals.isfinite()).nonzero()
    if len(wrong):
        step, clip = (int(place) for place in wrong[0])
        raise GeneratorError(
            f"the logits of clip {clip + 1} of {len(seeds)}, seed {seeds[clip]}, are not finite "
            f"at step {first + step} of {n_steps}"
        )


class Chooser:
    """Draws the tokens of one step after another and keeps what shows that they are sound."""

    def __init__(self, settings: SamplingSettings, uniform: Tensor, seeds: Sequence[int]) -> None:
        """uniform: numbers [S, B, K]."""
        self._settings = settings
        self._uniform = uniform
        self._seeds = seeds
        self._totals = torch.zeros(uniform.shape[:2], device=uniform.device)
        self._n_checked = 0

    def tokens(self, logits: Tensor, step: int, asked: slice) -> Tensor:
        """Returns tokens [B, k] of logits [B, k, V] of the asked codebooks."""
        torch.sum(logits, dim=(1, 2), out=self._totals[step])
        if self._settings.top_k == 1:
            return logits.argmax(dim=-1)
        return draw(truncate(logits, self._settings), self._uniform[step, :, asked])

    def check(self, n_done: int) -> None:
        """Raises GeneratorError if a step before n_done had logits that are not numbers."""
        totals = self._totals[self._n_checked : n_done]
        check_finite(totals, self._n_checked, len(self._totals), self._seeds)
        self._n_checked = n_done


def usual_ranges(ranges: Sequence[slice], pattern: Pattern) -> list[slice]:
    """Returns the heads to compute at each step: the needed ones where many steps need the same.

    The few steps at both ends, where codebooks start and stop, take all heads.
    """
    counts = Counter((asked.start, asked.stop) for asked in ranges)
    least = len(ranges) / (2 * pattern.n_turns)
    whole = slice(0, pattern.n_codebooks)
    return [
        asked if asked.start == asked.stop or counts[asked.start, asked.stop] >= least else whole
        for asked in ranges
    ]


@dataclass(frozen=True)
class Plan:
    """What is known of a grid before its first step is sampled."""

    grid: Tensor
    """[B, S, K], filled in as steps are sampled."""
    wanted: Tensor
    """Bool [S, K], the places to sample."""
    ranges: Sequence[slice]
    """The codebooks whose heads each step computes."""
    is_whole: Sequence[bool]
    """Whether a step samples all codebooks."""
    first: int
    """The first step with a place to sample."""

    @classmethod
    def of(cls, pattern: Pattern, prefix: Tensor, n_frames: int) -> Plan:
        """Returns the plan of n_frames frames that begin with prefix [B, K, P]."""
        grid, known = begun_grid(pattern, prefix.long(), n_frames)
        wanted = pattern.present(n_frames).to(grid.device) & ~known
        return cls(
            grid=grid,
            wanted=wanted,
            ranges=usual_ranges(head_ranges(wanted), pattern),
            is_whole=wanted.all(dim=1).tolist(),
            first=int(wanted.any(dim=1).long().argmax()),
        )

    def write(self, step: int, tokens: Tensor) -> None:
        """Puts tokens [B, k] of a step's range into the grid, where they are wanted."""
        if self.is_whole[step]:
            self.grid[:, step] = tokens
            return
        asked = self.ranges[step]
        kept = self.grid[:, step, asked]
        self.grid[:, step, asked] = torch.where(self.wanted[step, asked], tokens, kept)


def check_counts(batch: int, n_frames: int, n_seeds: int, n_adapters: int | None) -> None:
    """Raises RequestError unless there is a frame, and a seed and an adapter for each clip."""
    if n_frames < 1:
        raise RequestError(f"n_frames is at least 1, got {n_frames}")
    if n_seeds != batch:
        raise RequestError(f"expected {batch} seeds, one a clip, got {n_seeds}")
    if n_adapters not in (None, batch):
        raise RequestError(f"expected {batch} adapters, one a clip, got {n_adapters}")


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
    melody: Tensor | None = None,
    prefix: Tensor | None = None,
    preparation: Preparation | None = None,
    adapters: RowAdapters | None = None,
    on_step: StepCallback | None = None,
    on_tokens: TokensCallback | None = None,
) -> Tensor:
    """Returns codes [B, K, T] drawn for text [B, L] and seconds [B, 2], one seed a clip.

    Equal tokens for equal seeds do not depend on the batch, but for the rounding of floats.
    melody: ids [B, M] of generator.melody to follow; guidance pushes away from none.
    prefix: codes [B, K, P] that the clips begin with; they are kept, and sampling goes on after.
    preparation: of this core, where more is sampled from it; adapters: one a clip.
    on_tokens: also sees tokens of places that hold no code, which are thrown away.
    """
    batch = text.shape[0]
    check_counts(batch, n_frames, len(seeds), None if adapters is None else len(adapters))
    if prefix is None:
        prefix = torch.zeros((batch, core.n_codebooks, 0), dtype=torch.long, device=text.device)
    check_prefix(core, prefix, batch, n_frames)
    preparation = preparation or Preparation(core)
    if preparation.core is not core:
        raise RequestError("this preparation was made of another core")
    if text_mask is None:
        text_mask = torch.ones_like(text)
    copies = 1
    if settings.guidance != 1.0:
        copies = 2
        text, text_mask = stack_texts((text, text_mask), core.empty_text(batch))
        seconds = torch.cat([seconds, seconds])
        if melody is not None:
            melody = torch.cat([melody, torch.full_like(melody, NOT_TOLD)])
    plan = Plan.of(core.pattern, prefix, n_frames)
    n_steps = plan.grid.shape[1]
    uniform = uniform_streams(seeds, n_steps, core.n_codebooks).to(text.device)
    chooser = Chooser(settings, uniform, seeds)
    begun = shift_right(plan.grid, core.pattern.hole)
    with preparation.ready(adapters and adapters.repeated(copies)):
        condition = core.condition(text, text_mask, seconds, melody, n_frames=n_frames)
        sampling = preparation.sampling(condition, copies * batch, n_steps)
        if plan.first:
            sampling.read(begun[:, : plan.first].repeat(copies, 1, 1))
        row = begun[:, plan.first]  # [B, K]
        for step in range(plan.first, n_steps):
            asked = plan.ranges[step]
            logits = sampling.logits(row if copies == 1 else row.repeat(copies, 1), asked)
            if asked.start < asked.stop:
                if copies > 1:
                    logits = guided_logits(logits, settings.guidance)
                tokens = chooser.tokens(logits, step, asked)
                plan.write(step, tokens)
                if on_tokens is not None:
                    on_tokens(step, asked, logits, tokens)
            row = plan.grid[:, step]
            if (step + 1) % STEPS_PER_CHECK == 0 or step + 1 == n_steps:
                chooser.check(step + 1)
            if on_step is not None:
                on_step(step + 1, n_steps)
    return core.pattern.revert(plan.grid)
