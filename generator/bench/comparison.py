"""Our sampler against transformers' generate on the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from generator.bench.rival import (
    CODEBOOK_SIZE,
    N_TEXT,
    Size,
    random_musicgen,
    random_texts,
    their_greedy_codes,
)
from generator.bench.timing import Timing, time_in_turns
from generator.lm.core import Core, all_logits
from generator.lm.patterns import shift_right
from generator.lm.preparation import Preparation
from generator.lm.projections import WeightFormat
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.musicgen.loading import build_core


@dataclass(frozen=True)
class Case:
    """What is sampled: sizes, clips at once, frames, guidance, and our weight formats."""

    size: Size
    n_clips: int = 1
    n_frames: int = 60
    guidance: float = 1.0
    weight_formats: tuple[WeightFormat, ...] = (WeightFormat.FLOAT32,)
    n_runs: int = 9
    codebook_size: int = CODEBOOK_SIZE

    @property
    def label(self) -> str:
        """The case in short."""
        guidance = f", guidance {self.guidance:g}" if self.guidance != 1.0 else ""
        return f"{self.size.label}, batch {self.n_clips}{guidance}"


ALL_FORMATS = tuple(WeightFormat)
SMALL = Size(1024, 24, 16)
CASES: tuple[Case, ...] = (
    Case(Size(128, 2, 4)),
    Case(Size(256, 6, 4)),
    Case(Size(256, 6, 4), n_clips=8, n_frames=60),
    Case(SMALL, n_frames=5, n_runs=3, weight_formats=ALL_FORMATS),
    Case(SMALL, n_frames=5, guidance=3.0, n_runs=3, weight_formats=ALL_FORMATS),
)
TINY_CASES: tuple[Case, ...] = (
    Case(Size(32, 2, 4), n_frames=8, n_runs=1, weight_formats=ALL_FORMATS, codebook_size=64),
    Case(Size(32, 2, 4), n_clips=2, n_frames=8, guidance=3.0, n_runs=1, codebook_size=64),
)


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    case: Case
    weight_format: WeightFormat
    ours: Timing
    theirs: Timing
    share_equal: float
    """Of the greedy tokens, sampled freely: one that differs changes all after it."""
    share_agreeing: float
    """Of the tokens that are largest, after the same tokens."""
    logit_error: float
    """Root mean square difference of logits in shares of their own deviation."""

    @property
    def cpu_ratio(self) -> float:
        """How often ours fits into theirs by processor time."""
        return self.theirs.cpu_s / self.ours.cpu_s

    @property
    def wall_ratio(self) -> float:
        """How often ours fits into theirs by the clock."""
        return self.theirs.wall_s / self.ours.wall_s


def guided_logits_of(
    core: Core, preparation: Preparation, text: Tensor, mask: Tensor, codes: Tensor
) -> Tensor:
    """Returns logits [B, S, K, V] after the rows of codes [B, K, T], in one pass."""
    pattern = core.pattern
    rows = shift_right(pattern.build(codes), pattern.hole)
    seconds = torch.zeros(len(text), 2, device=text.device)
    with torch.inference_mode(), preparation.ready():
        condition = core.condition(text, mask, seconds, n_frames=codes.shape[2])
        return all_logits(core, core.trunk(rows, condition)).float()


def compare(case: Case, device: str = "cpu") -> list[Result]:
    """Returns a result for each weight format of a case; on a GPU for float32 on both sides."""
    model = random_musicgen(case.size, codebook_size=case.codebook_size).to(device)
    core = build_core(model, text_length=N_TEXT)
    text, mask = (part.to(device) for part in random_texts(case.n_clips))
    settings = SamplingSettings(guidance=case.guidance, top_k=1)
    seconds = torch.zeros(case.n_clips, 2, device=device)
    plain = Preparation(core)

    def ours(preparation: Preparation) -> Tensor:
        return sample_codes(
            core, text, seconds, case.n_frames, settings, list(range(case.n_clips)),
            text_mask=mask, preparation=preparation,
        )  # fmt: skip

    def theirs() -> Tensor:
        with torch.inference_mode():
            return their_greedy_codes(model, text, mask, case.n_frames, case.guidance)

    expected = theirs()
    exact = guided_logits_of(core, plain, text, mask, expected)
    formats = case.weight_formats if device == "cpu" else (WeightFormat.FLOAT32,)
    preparations = [Preparation(core, weight_format) for weight_format in formats]
    ways = [partial(ours, preparation) for preparation in preparations]
    *ours_timed, theirs_timed = time_in_turns([*ways, theirs], case.n_runs)
    results = []
    for preparation, timing in zip(preparations, ours_timed, strict=True):
        logits = guided_logits_of(core, preparation, text, mask, expected)
        results.append(
            Result(
                case=case,
                weight_format=preparation.weight_format,
                ours=timing,
                theirs=theirs_timed,
                share_equal=float((ours(preparation) == expected).float().mean()),
                share_agreeing=float((logits.argmax(-1) == exact.argmax(-1)).float().mean()),
                logit_error=float((logits - exact).square().mean().sqrt() / exact.std()),
            )
        )
    return results


def table(results: Sequence[Result]) -> str:
    """Returns the results as a table in Markdown."""
    lines = [
        "| size | weights | ours, CPU ms a step | transformers | times faster by CPU | by clock "
        "| greedy tokens equal | largest logit the same | logit error | runs |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        n_steps = r.case.n_frames + 3
        lines.append(
            f"| {r.case.label} | {r.weight_format} | {1e3 * r.ours.cpu_s / n_steps:.2f} "
            f"| {1e3 * r.theirs.cpu_s / n_steps:.2f} | {r.cpu_ratio:.2f} | {r.wall_ratio:.2f} "
            f"| {r.share_equal:.1%} | {r.share_agreeing:.1%} | {r.logit_error:.1e} "
            f"| {r.ours.n_runs} |"
        )
    return "\n".join(lines)
