"""Prompts to clips: a checkpoint loaded whole, and the batches it generates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from generator.checkpoints import (
    CARD_FILE,
    Family,
    chain_hash,
    content_hash,
    merge_adapter,
    read_card,
    verify_folder,
)
from generator.errors import CheckpointError, RequestError
from generator.families import AnyCodec, AnyCore, Parts, PromptPlan, family_of, load_parts
from generator.lm.core import stack_texts
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.requests import ClipRequest

BATCH_SECONDS = 160.0
"""Clips of at most this much audio are sampled together."""

ProgressCallback = Callable[[float], None]


@dataclass(frozen=True)
class GeneratedClip:
    """A clip with everything needed to train on it or to make it again."""

    codes: NDArray[np.int16]
    """As sampled, [K, T]."""
    waveform: NDArray[np.float32]
    """[N], N = T * samples per frame; stereo is [2, N]."""
    sample_rate_hz: int
    header: tuple[int, ...]
    """What the prompt tells, and the plan that its seed gave to what it leaves open."""
    unknown_words: tuple[str, ...]
    seed: int
    duration_s: float


class Generator:
    """A reader of prompts, a core and a codec that belong together."""

    def __init__(self, parts: Parts, *, content_hash: str) -> None:
        self.reader = parts.reader
        self.core: AnyCore = parts.core
        self.codec: AnyCodec = parts.codec
        self.sampling = parts.sampling
        self.content_hash = content_hash

    @property
    def device(self) -> torch.device:
        """Where the core computes."""
        return next(self.core.parameters()).device

    def plan(self, prompt: str) -> PromptPlan:
        """Returns what is understood of a prompt and the words that are not."""
        return self.reader.plan(prompt)

    def settings(self, asked: Mapping[str, Any]) -> SamplingSettings:
        """Returns the checkpoint's sampling settings with those asked for in their place."""
        try:
            return replace(self.sampling, **asked)
        except TypeError as exc:
            allowed = sorted(self.sampling.to_json())
            raise RequestError(f"sampling settings are {allowed}, got {sorted(asked)}") from exc

    @torch.inference_mode()
    def decode(self, codes: Tensor | NDArray[np.int16]) -> NDArray[np.float32]:
        """Returns waveforms [B, N] of codes [B, K, T]; stereo is [B, 2, N]."""
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
            self.reader.header(plan, request.seed)
            for plan, request in zip(plans, requests, strict=True)
        ]
        texts = [torch.tensor([header], device=self.device) for header in headers]
        text, text_mask = stack_texts(*((ids, torch.ones_like(ids)) for ids in texts))
        duration_s = n_frames / self.core.frame_rate_hz
        codes = sample_codes(
            self.core,
            text,
            torch.tensor([[0.0, duration_s]] * len(plans), device=self.device),
            n_frames,
            settings,
            [request.seed for request in requests],
            text_mask=text_mask,
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
    """Returns the generator of a full checkpoint, adapters merged into its core in order.

    A MusicGen folder without a card is loaded as it is, with adapters that have none; such a
    generator has no content hash.
    """
    chain = [folder, *adapters]
    is_carded = family_of(folder) != Family.MUSICGEN or (folder / CARD_FILE).is_file()
    carded = []
    for depth, place in enumerate(chain):
        if not is_carded and not (place / CARD_FILE).is_file():
            continue
        kind = "adapter" if depth else "full"
        card = verify_folder(place) if verify else read_card(place)
        if card.kind != kind:
            raise CheckpointError(f"expected a checkpoint of kind {kind}, {place} is {card.kind}")
        carded.append(place)
    for parent, adapter in pairwise(carded):
        expected, found = read_card(adapter).parent_hash, content_hash(parent)
        if expected is not None and expected != found:
            raise CheckpointError(
                f"{adapter} was trained on {expected[:12]}..., {parent} is {found[:12]}..."
            )
    parts = load_parts(folder)
    core = parts.core
    for adapter in adapters:
        core = merge_adapter(core, adapter)
    whole = replace(parts, core=core.to(device), codec=parts.codec.to(device).eval())
    return Generator(whole, content_hash=chain_hash(chain) if is_carded else "")
