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
from generator.lm.adapters import NO_ADAPTER, Adapter, RowAdapters, read_adapter
from generator.lm.core import stack_texts
from generator.lm.preparation import Preparation
from generator.lm.projections import WeightFormat, cast_parameters, usual_format
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

    def __init__(
        self,
        parts: Parts,
        *,
        content_hash: str,
        weights: WeightFormat = WeightFormat.FLOAT32,
    ) -> None:
        self.reader = parts.reader
        self.core: AnyCore = parts.core
        self.codec: AnyCodec = parts.codec
        self.sampling = parts.sampling
        self._read_melody = parts.melody
        self.content_hash = content_hash
        self.preparation = Preparation(self.core, weights)

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

    def adapter(self, folders: Sequence[Path], verify: bool = True) -> Adapter:
        """Returns what adapter checkpoints add to this one, each trained on the one before it.

        CheckpointError where an adapter has to be merged to be used.
        """
        total, parent = NO_ADAPTER, self.content_hash
        for folder in folders:
            card = verify_folder(folder) if verify else read_card(folder)
            if card.kind != "adapter":
                raise CheckpointError(
                    f"expected a checkpoint of kind adapter, {folder} is {card.kind}"
                )
            if card.parent_hash not in (None, parent):
                raise CheckpointError(
                    f"{folder} was trained on {card.parent_hash[:12]}..., not on {parent[:12]}..."
                )
            total = total.followed_by(read_adapter(self.core, folder))
            parent = content_hash(folder)
        return total

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
        adapters: Sequence[Adapter] | None = None,
    ) -> list[GeneratedClip]:
        """Returns one clip a request, in their order; on_progress gets the share done, 0 to 1.

        adapters: one a request, of `adapter` or NO_ADAPTER, so that one batch holds clips of this
        checkpoint and of others that adapt it.
        """
        if adapters is not None and len(adapters) != len(requests):
            raise RequestError(
                f"expected {len(requests)} adapters, one a request, got {len(adapters)}"
            )
        clips: dict[int, GeneratedClip] = {}
        frame_counts = [self._n_frames(request) for request in requests]
        melodies = self._melodies(requests)
        total = sum(frame_counts)
        done = 0
        kinds = [
            (n_frames, 0 if request.melody is None else len(melodies[request.melody]))
            for n_frames, request in zip(frame_counts, requests, strict=True)
        ]
        for indices in batches(kinds, self.core.frame_rate_hz):
            n_frames = frame_counts[indices[0]]
            weight = n_frames * len(indices) / total

            def on_step(step: int, n_steps: int, before: float = done / total) -> None:
                if on_progress is not None:
                    on_progress(before + 0.8 * weight * step / n_steps)  # noqa: B023

            made = self._generate_batch(
                [requests[index] for index in indices],
                n_frames,
                settings,
                melodies,
                on_step=on_step,
                adapters=adapters and [adapters[index] for index in indices],
            )
            clips.update(zip(indices, made, strict=True))
            done += n_frames * len(indices)
            if on_progress is not None:
                on_progress(done / total)
        return [clips[index] for index in range(len(requests))]

    def _melodies(self, requests: Sequence[ClipRequest]) -> dict[Path, Tensor]:
        """Returns the ids [M] of every recording that is to be followed, each read once."""
        paths = {request.melody for request in requests if request.melody is not None}
        if paths and self._read_melody is None:
            raise RequestError("this checkpoint was not trained to follow a melody")
        return {path: self._read_melody(path) for path in paths if self._read_melody is not None}

    def _n_frames(self, request: ClipRequest) -> int:
        return max(1, round(request.duration_s * self.core.frame_rate_hz))

    def _generate_batch(
        self,
        requests: Sequence[ClipRequest],
        n_frames: int,
        settings: SamplingSettings,
        melodies: Mapping[Path, Tensor],
        *,
        on_step: Callable[[int, int], None],
        adapters: Sequence[Adapter] | None,
    ) -> list[GeneratedClip]:
        """Returns the clips of requests that have equal lengths and melodies of equal lengths."""
        plans = [self.plan(request.prompt) for request in requests]
        headers = [
            self.reader.header(plan, request.seed, has_melody=request.melody is not None)
            for plan, request in zip(plans, requests, strict=True)
        ]
        texts = [torch.tensor([header], device=self.device) for header in headers]
        text, text_mask = stack_texts(*((ids, torch.ones_like(ids)) for ids in texts))
        told = [melodies[r.melody] for r in requests if r.melody is not None]  # [M] each
        duration_s = n_frames / self.core.frame_rate_hz
        codes = sample_codes(
            self.core,
            text,
            torch.tensor([[0.0, duration_s]] * len(plans), device=self.device),
            n_frames,
            settings,
            [request.seed for request in requests],
            text_mask=text_mask,
            melody=torch.stack(told).to(self.device) if told else None,
            preparation=self.preparation,
            adapters=row_adapters(adapters),
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


def batches(kinds: Sequence[tuple[int, int]], frame_rate_hz: int) -> list[list[int]]:
    """Returns groups of indices of equal kinds, each within BATCH_SECONDS.

    A kind is a clip's number of frames and the length of its melody, 0 for none.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, kind in enumerate(kinds):
        groups.setdefault(kind, []).append(index)
    result = []
    for (n_frames, _), indices in groups.items():
        size = max(1, int(BATCH_SECONDS * frame_rate_hz / n_frames))
        result += [indices[start : start + size] for start in range(0, len(indices), size)]
    return result


def row_adapters(adapters: Sequence[Adapter] | None) -> RowAdapters | None:
    """Returns the adapters of a batch; None where no clip has one."""
    if adapters is None or not any(adapter.deltas for adapter in adapters):
        return None
    return RowAdapters(adapters)


def load_generator(
    folder: Path,
    adapters: Sequence[Path] = (),
    device: str = "cpu",
    verify: bool = True,
    weights: WeightFormat | None = None,
) -> Generator:
    """Returns the generator of a full checkpoint, adapters merged into its core in order.

    weights: how the core's matrices are held; where none is asked for, `usual_format`.

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
    core = core.to(device)
    weights = weights or usual_format(core)
    core = cast_parameters(core, weights)
    whole = replace(parts, core=core, codec=parts.codec.to(device).eval())
    return Generator(whole, content_hash=chain_hash(chain) if is_carded else "", weights=weights)
