"""Rollouts: clips of the policy as it is now, drawn by the generator's own sampler.

The sampler runs on a twin of the policy's core into which the adapter is merged before every
rollout, so that it keeps its cache and its joined projections and the trainer's modules stay as
they are. Nothing shapes the distribution (no guidance, no cut, temperature 1), because the
trainer takes the probabilities of the policy itself for those the clips were drawn with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from alignment.errors import AlignmentError
from alignment.flat import FlatVocabulary
from alignment.rl.prompts import PromptRow
from generator.families import AnyCore
from generator.lm.core import stack_texts
from generator.lm.preparation import Preparation
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.synthesis import batches

ON_POLICY = SamplingSettings(guidance=1.0, temperature=1.0, top_k=0, top_p=1.0)
ADAPTER = "default"


@dataclass(frozen=True)
class Rollout:
    """A clip that the policy drew."""

    row: PromptRow
    seed: int
    codes: NDArray[np.int16]
    """[K, T]."""
    log_probs: Tensor
    """By step, [S, K], of the codes as the sampler drew them; 0 where the grid has a hole."""


class LogProbs:
    """Keeps the log-probabilities of the tokens that a sampler chooses."""

    def __init__(self, batch: int, n_steps: int, n_codebooks: int, device: torch.device) -> None:
        self.values = torch.zeros((batch, n_steps, n_codebooks), device=device)
        """[B, S, K]."""

    def __call__(self, step: int, asked: slice, logits: Tensor, tokens: Tensor) -> None:
        """Notes tokens [B, k] drawn from logits [B, k, V]."""
        chosen = logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        self.values[:, step, asked] = chosen


class Rollouts:
    """Samples clips from a twin of a core, whose weights follow those of a policy."""

    def __init__(self, core: AnyCore, *, interrupt: Callable[[], None] | None = None) -> None:
        """core: the parent, not adapted yet; interrupt: called at every step, may raise."""
        self.core = copy.deepcopy(core).eval()
        self.vocabulary = FlatVocabulary.of(core)
        self._interrupt = interrupt
        self._parent = {path: module.weight.detach() for path, module in _linears(self.core)}
        self._preparation: Preparation | None = None

    @property
    def device(self) -> torch.device:
        """Where clips are sampled."""
        return next(self.core.parameters()).device

    def follow(self, policy: PeftModel) -> None:
        """Takes over the policy's weights: the parent's, plus what its adapter adds."""
        base: Any = policy.get_base_model().core
        device = next(base.parameters()).device
        if self.device != device:
            self.core.to(device)
            self._parent = {path: weight.to(device) for path, weight in self._parent.items()}
        own = dict(_linears(self.core))
        for path, layer in base.named_modules():
            if not isinstance(layer, LoraLayer):
                continue
            if path not in own:
                raise AlignmentError(f"{path} is adapted, which is no linear map of the core")
            added: Tensor = layer.get_delta_weight(ADAPTER).detach()  # type: ignore[attr-defined]
            own[path].weight.data = self._parent[path] + added.to(self._parent[path])
        self._preparation = Preparation(self.core)

    def follow_parent(self) -> None:
        """Takes back the parent's weights."""
        for path, module in _linears(self.core):
            module.weight.data = self._parent[path]
        self._preparation = Preparation(self.core)

    def sample(
        self,
        rows: Sequence[PromptRow],
        seeds: Sequence[int],
        settings: SamplingSettings = ON_POLICY,
    ) -> list[Rollout]:
        """Returns a clip a row, in their order; each depends on its seed alone.

        Log-probabilities are those of the settings' distribution only where these are ON_POLICY.
        """
        rate_hz = self.core.frame_rate_hz
        kinds = [(row.n_frames(rate_hz), 0) for row in rows]
        made: dict[int, Rollout] = {}
        for indices in batches(kinds, rate_hz):
            batch = [rows[index] for index in indices]
            batch_seeds = [seeds[index] for index in indices]
            drawn = self._sample_batch(batch, batch_seeds, kinds[indices[0]][0], settings)
            made.update(zip(indices, drawn, strict=True))
        return [made[index] for index in range(len(rows))]

    def _sample_batch(
        self,
        rows: Sequence[PromptRow],
        seeds: Sequence[int],
        n_frames: int,
        settings: SamplingSettings,
    ) -> list[Rollout]:
        """Returns clips of n_frames frames."""
        texts = [torch.tensor([row.header], device=self.device) for row in rows]
        text, text_mask = stack_texts(*((ids, torch.ones_like(ids)) for ids in texts))
        total_s = n_frames / self.core.frame_rate_hz
        pattern = self.core.pattern
        chosen = LogProbs(len(rows), pattern.n_steps(n_frames), pattern.n_codebooks, self.device)
        codes = sample_codes(
            self.core,
            text,
            torch.tensor([[0.0, total_s]] * len(rows), device=self.device),
            n_frames,
            settings,
            list(seeds),
            text_mask=text_mask,
            preparation=self._preparation,
            on_step=self._on_step,
            on_tokens=chosen,
        )
        present = pattern.present(n_frames)
        log_probs = torch.where(present, chosen.values.cpu(), 0.0)  # [B, S, K]
        stored = codes.cpu().numpy().astype(np.int16)
        return [
            Rollout(row=row, seed=seed, codes=stored[place], log_probs=log_probs[place])
            for place, (row, seed) in enumerate(zip(rows, seeds, strict=True))
        ]

    def _on_step(self, _step: int, _n_steps: int) -> None:
        if self._interrupt is not None:
            self._interrupt()

    def prompt_ids(self, row: PromptRow) -> list[int]:
        """Returns a prompt's flat ids."""
        n_frames = row.n_frames(self.core.frame_rate_hz)
        seconds = torch.tensor([[0.0, n_frames / self.core.frame_rate_hz]])
        ids: list[int] = self.vocabulary.prompts(torch.tensor([row.header]), seconds)[0].tolist()
        return ids

    def completion_ids(self, rollout: Rollout) -> list[int]:
        """Returns a clip's flat ids, holes and EOS included."""
        codes = torch.from_numpy(rollout.codes.astype(np.int64))[None]
        ids: list[int] = self.vocabulary.completions(codes)[0].tolist()
        return ids

    def completion_log_probs(self, rollout: Rollout) -> list[float]:
        """Returns the sampler's log-probabilities of a completion; holes and EOS are certain."""
        values: list[float] = [*rollout.log_probs.flatten().tolist(), 0.0]
        return values

    def completion_mask(self, rollout: Rollout) -> list[int]:
        """Returns 1 for each id of a completion that was drawn, 0 for holes and EOS."""
        ids = torch.tensor(self.completion_ids(rollout))
        mask: list[int] = self.vocabulary.is_code(ids).long().tolist()
        return mask

    def clip_codes(self, completion: Sequence[int]) -> NDArray[np.int16]:
        """Returns the codes [K, T] of a completion."""
        codes = self.vocabulary.codes(torch.tensor([list(completion)]))[0]
        return codes.numpy().astype(np.int16)


def _linears(core: nn.Module) -> list[tuple[str, nn.Linear]]:
    """Returns the linear maps inside a core with their paths."""
    return [(path, module) for path, module in core.named_modules() if type(module) is nn.Linear]


def rollout_seed(run_seed: int, step: int, place: int) -> int:
    """Returns the seed of a clip: of a run, one of its steps and a place in it, always its own."""
    return int(np.random.SeedSequence([run_seed, step, place]).generate_state(1, np.uint64)[0] >> 1)
