"""Prompts to clips: a checkpoint loaded whole, and the batches it generates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generator.checkpoints import (
    chain_hash,
    content_hash,
    load_core,
    merge_adapter,
    read_card,
    verify_folder,
)
from generator.codec.model import Codec, load_codec
from generator.errors import CheckpointError
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.lm.starter import StarterCore
from generator.requests import ClipRequest
from generator.text.completion import complete_header, plan_rng
from generator.text.planner import Plan, Planner, load_planner

BATCH_SECONDS = 160.0
"""Clips of at most this much audio are sampled together."""

ProgressCallback = Callable[[float], None]


@dataclass(frozen=True)
class GeneratedClip:
    """A clip with everything needed to train on it or to make it again."""

    codes: NDArray[np.int16]
    """As sampled, [K, T]."""
    waveform: NDArray[np.float32]
    """[N], N = T * samples per frame."""
    sample_rate_hz: int
    header: tuple[int, ...]
    """What the prompt tells, and the plan that its seed gave to what it leaves open."""
    unknown_words: tuple[str, ...]
    seed: int
    duration_s: float


class Generator:
    """A planner, a core and a codec that belong together."""

    def __init__(
        self, *, planner: Planner, core: StarterCore, codec: Codec, content_hash: str
    ) -> None:
        self.planner = planner
        self.core = core
        self.codec = codec
        self.content_hash = content_hash

    @property
    def device(self) -> torch.device:
        """Where the core computes."""
        return next(self.core.parameters()).device

    def plan(self, prompt: str) -> Plan:
        """Returns the header of a prompt and the words the planner does not know."""
        return self.planner.plan(prompt)

    @torch.inference_mode()
    def decode(self, codes: Tensor | NDArray[np.int16]) -> NDArray[np.float32]:
        """Returns waveforms [B, N] of codes [B, K, T]."""
        tokens = torch.as_tensor(codes).long().to(self.device)
        waveform: NDArray[np.float32] = self.codec.decode(tokens).float().cpu().numpy()
        return waveform

    def generate(
        self,
        requests: Sequence[ClipRequest],
        settings: SamplingSettings,
        on_progress: ProgressCallback | None = None,
    ) -> list[GeneratedClip]:
        """Returns one clip a request, in their order; on_progress gets the share done, 0 to 1."""
        clips: dict[int, GeneratedClip] = {}
        frame_counts = [self._n_frames(request) for request in requests]
        total = sum(frame_counts)
        done = 0
        for indices in batches(frame_counts, self.core.frame_rate_hz):
            n_frames = frame_counts[indices[0]]
            weight = n_frames * len(indices) / total

            def on_step(step: int, n_steps: int, before: float = done / total) -> None:
                if on_progress is not None:
                    on_progress(before + 0.8 * weight * step / n_steps)  # noqa: B023

            made = self._generate_batch(
                [requests[index] for index in indices], n_frames, settings, on_step
            )
            clips.update(zip(indices, made, strict=True))
            done += n_frames * len(indices)
            if on_progress is not None:
                on_progress(done / total)
        return [clips[index] for index in range(len(requests))]

    def _n_frames(self, request: ClipRequest) -> int:
        return max(1, round(request.duration_s * self.core.frame_rate_hz))

    def _generate_batch(
        self,
        requests: Sequence[ClipRequest],
        n_frames: int,
        settings: SamplingSettings,
        on_step: Callable[[int, int], None],
    ) -> list[GeneratedClip]:
        """Returns the clips of requests that have equal lengths."""
        plans = [self.plan(request.prompt) for request in requests]
        headers = [
            complete_header(plan.header, plan_rng(request.seed))
            for plan, request in zip(plans, requests, strict=True)
        ]
        duration_s = n_frames / self.core.frame_rate_hz
        codes = sample_codes(
            self.core,
            torch.tensor(headers, device=self.device),
            torch.tensor([[0.0, duration_s]] * len(plans), device=self.device),
            n_frames,
            settings,
            [request.seed for request in requests],
            on_step=on_step,
        )
        waveforms = self.decode(codes)
        stored = codes.cpu().numpy().astype(np.int16)
        return [
            GeneratedClip(
                codes=stored[row],
                waveform=waveforms[row],
                sample_rate_hz=self.codec.config.sample_rate_hz,
                header=headers[row],
                unknown_words=plan.unknown_words,
                seed=request.seed,
                duration_s=duration_s,
            )
            for row, (request, plan) in enumerate(zip(requests, plans, strict=True))
        ]


def batches(frame_counts: Sequence[int], frame_rate_hz: int) -> list[list[int]]:
    """Returns groups of indices with equal frame counts, each within BATCH_SECONDS."""
    groups: dict[int, list[int]] = {}
    for index, n_frames in enumerate(frame_counts):
        groups.setdefault(n_frames, []).append(index)
    result = []
    for n_frames, indices in groups.items():
        size = max(1, int(BATCH_SECONDS * frame_rate_hz / n_frames))
        result += [indices[start : start + size] for start in range(0, len(indices), size)]
    return result


def load_generator(
    folder: Path,
    adapters: Sequence[Path] = (),
    device: str = "cpu",
    verify: bool = True,
) -> Generator:
    """Returns the generator of a full checkpoint, adapters merged into its core in order."""
    chain = [folder, *adapters]
    for place, kind in zip(chain, ["full"] + ["adapter"] * len(adapters), strict=True):
        card = verify_folder(place) if verify else read_card(place)
        if card.kind != kind:
            raise CheckpointError(f"expected a checkpoint of kind {kind}, {place} is {card.kind}")
    for parent, adapter in zip(chain, adapters, strict=False):
        expected, found = read_card(adapter).parent_hash, content_hash(parent)
        if expected is not None and expected != found:
            raise CheckpointError(
                f"{adapter} was trained on {expected[:12]}..., {parent} is {found[:12]}..."
            )
    core = load_core(folder)
    for adapter in adapters:
        core = merge_adapter(core, adapter)
    codec = load_codec(folder)
    stated, offered = len(core.delays), codec.config.n_codebooks
    if stated > offered or core.codebook_size != codec.config.codebook_size:
        raise CheckpointError(
            f"the core speaks {stated} x {core.codebook_size} codes, the codec of {folder} "
            f"{offered} x {codec.config.codebook_size}"
        )
    return Generator(
        planner=load_planner(folder),
        core=core.to(device),
        codec=codec.to(device).eval(),
        content_hash=chain_hash(chain),
    )
