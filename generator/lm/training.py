"""Training of a core on codes: next-token loss, Muon and AdamW, resumable to the batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.checkpoints import save_core
from generator.errors import GeneratorError, RequestError
from generator.lm.batches import Batch, TokenisedClips, draw_batch, full_batch
from generator.lm.patterns import shift_right
from generator.lm.starter import StarterCore
from generator.progress import TrainingBar
from generator.resuming import Position, resume_training, save_training

logger = logging.getLogger(__name__)

N_LOGGED_CLIPS = 24


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how fast to train; `max_steps` sets the schedule where `minutes` is None.

    A batch holds about batch_size * n_frames frames, in windows of at most n_frames.
    """

    minutes: float | None = 50.0
    max_steps: int | None = None
    batch_size: int = 8
    n_frames: int = 250
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    codebook_weights: tuple[float, ...] = (1.2, 0.8)
    pretrain_share: float = 0.0
    """The first share of the budget in which no text is given."""
    n_validation_clips: int = 64
    warmup_steps: int = 60
    decay_share: float = 0.6
    last_rate: float = 0.02
    log_seconds: float = 60.0
    save_seconds: float = 180.0
    bfloat16: bool = True
    compiled: bool = False
    """Compile the blocks: a minute at first (it needs a C compiler), then a quarter less a step."""
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.max_steps is None):
            raise RequestError(
                f"give minutes or max_steps, got {self.minutes} and {self.max_steps}"
            )
        for name in ("batch_size", "n_frames", "n_validation_clips", "learning_rate"):
            if getattr(self, name) <= 0:
                raise RequestError(f"{name} is above 0, got {getattr(self, name)}")
        for name in ("pretrain_share", "decay_share", "last_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise RequestError(f"{name} is 0 to 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class TokenLoss:
    """Cross-entropy of a batch: weighted mean to train on, and plain means per codebook [K]."""

    weighted_mean: Tensor
    mean_per_codebook: Tensor


@dataclass(frozen=True)
class TrainingReport:
    """How a training ended: steps taken, and negative log-likelihoods per token in nats."""

    steps: int
    seconds: float
    train_nll: float
    validation_nll: float
    validation_nll_without_text: float


def code_losses(core: StarterCore, batch: Batch) -> Tensor:
    """Returns the cross-entropy [B, K, T] of each code of a batch, under the core's pattern.

    A head runs only at the steps that hold a code of its codebook.
    """
    grid = core.pattern.build(batch.codes)  # [B, S, K]
    n_frames = batch.codes.shape[2]
    melody = batch.melody if core.config.hears_melody else None
    condition = core.condition(
        batch.text, torch.ones_like(batch.text), batch.seconds, melody, n_frames=n_frames
    )
    hidden = core.trunk(shift_right(grid, core.pattern.hole), condition)  # [B, S, D]
    places = core.pattern.places(n_frames).to(hidden.device)  # [K, T]
    losses = []
    for codebook, (head, place) in enumerate(zip(core.lm_heads, places, strict=True)):
        codes = batch.codes[:, codebook]  # [B, T]
        logits = head(hidden[:, place]).float()  # [B, T, V]
        loss = F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none")
        losses.append(loss.view(codes.shape))
    return torch.stack(losses, dim=1)


def token_loss(core: StarterCore, batch: Batch, weights: Sequence[float]) -> TokenLoss:
    """Returns the cross-entropy of the codes of a batch, holes left out."""
    per_codebook = code_losses(core, batch).mean(dim=(0, 2))  # [K]
    share = torch.tensor(weights, device=per_codebook.device)
    return TokenLoss((per_codebook * share).sum() / share.sum(), per_codebook.detach())


def rate_share(config: TrainingConfig, step: int, progress: float) -> float:
    """Returns the learning rate's share: warm-up, level, then a straight line down to the end."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = min(1.0, (1.0 - progress) / max(config.decay_share, 1e-9))
    return warm * (config.last_rate + (1.0 - config.last_rate) * left)


def build_optimisers(core: StarterCore, config: TrainingConfig) -> list[torch.optim.Optimizer]:
    """Returns Muon for the matrices of the blocks and AdamW for everything else."""
    matrices = [
        module.weight
        for layer in core.layers
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear) and name != "modulation"
    ]
    chosen = {id(matrix) for matrix in matrices}
    others = [p for p in core.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(
            matrices,
            lr=config.learning_rate,
            momentum=0.95,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            others, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True
        ),
    ]


class Trainer:
    """One training run of a core, whose state lies in a folder and survives being killed.

    The batch of step n depends on the seed and on n only, so that a resumed run goes on with
    the very batch that would have followed.
    """

    def __init__(
        self,
        *,
        core: StarterCore,
        clips: TokenisedClips,
        config: TrainingConfig,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if clips.n_clips <= config.n_validation_clips:
            raise GeneratorError(
                f"{clips.n_clips} clips leave none to train on, "
                f"{config.n_validation_clips} are for validation"
            )
        self.core = core
        self.clips = clips
        self.config = config
        self.folder = folder
        self.clock = clock
        self.step = 0
        self.elapsed_s = 0.0
        self.optimisers = build_optimisers(core, config)
        if config.compiled:
            for layer in core.layers:
                layer.compile(dynamic=True)
        self._n_training = clips.n_clips - config.n_validation_clips
        start = resume_training(folder, model=core, optimisers=self.optimisers, kind="core")
        self.step, self.elapsed_s = start.step, start.elapsed_s
        if self.step:
            logger.info("resumed at step %d, %.0f s", self.step, self.elapsed_s)

    @property
    def progress(self) -> float:
        """The share of the budget that is used, 0 to 1."""
        if self.config.max_steps is not None:
            return min(1.0, self.step / self.config.max_steps)
        assert self.config.minutes is not None
        return min(1.0, self.elapsed_s / (60 * self.config.minutes))

    def next_batch(self) -> Batch:
        """Returns the batch of the current step."""
        rng = np.random.default_rng([self.config.seed, self.step])
        return draw_batch(
            self.clips,
            self._n_training,
            n_tokens=self.config.batch_size * self.config.n_frames,
            most_frames=self.config.n_frames,
            with_text=self.progress >= self.config.pretrain_share,
            rng=rng,
        )

    def train_step(self) -> float:
        """Takes one step; returns the batch's mean negative log-likelihood per token."""
        batch = self.next_batch()
        share = rate_share(self.config, self.step, self.progress)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.config.learning_rate * share
            optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bfloat16):
            loss = token_loss(self.core, batch, self.config.codebook_weights)
        loss.weighted_mean.backward()
        norm = nn.utils.clip_grad_norm_(self.core.parameters(), 1.0)
        if not bool(torch.isfinite(norm)):
            raise GeneratorError(f"the gradient is not finite at step {self.step}")
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        return float(loss.mean_per_codebook.mean())

    @torch.inference_mode()
    def validate(self, n_clips: int, *, with_text: bool) -> list[float]:
        """Returns each codebook's mean negative log-likelihood on n_clips held-out clips.

        Clips of like length share a window that none of them ends in, so that silence, which
        is easy to predict, does not count.
        """
        first = self._n_training
        held_out = np.arange(first, first + min(n_clips, self.config.n_validation_clips))
        held_out = held_out[np.argsort(self.clips.n_frames[held_out], kind="stable")]
        sums, n_tokens = np.zeros(self.core.n_codebooks), 0
        self.core.eval()
        for start in range(0, len(held_out), 8):
            indices = held_out[start : start + 8].tolist()
            n_frames = min(self.config.n_frames, int(self.clips.n_frames[indices[0]]))
            batch = full_batch(self.clips, indices, n_frames, with_text=with_text)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bfloat16):
                loss = token_loss(self.core, batch, self.config.codebook_weights)
            sums += loss.mean_per_codebook.double().numpy() * len(indices) * n_frames
            n_tokens += len(indices) * n_frames
        self.core.train()
        return [float(value) for value in sums / n_tokens]

    def run(self) -> TrainingReport:
        """Trains until the budget is used; saves and logs on the way and at the end."""
        self.core.train()
        recent: list[float] = []
        before = self.clock()
        next_log = self.elapsed_s + self.config.log_seconds
        next_save = self.elapsed_s + self.config.save_seconds
        with TrainingBar(self.progress) as bar:
            while self.progress < 1.0:
                recent = [*recent[-99:], self.train_step()]
                now = self.clock()
                self.elapsed_s += now - before
                before = now
                bar.show(self.progress, step=self.step, loss=recent[-1])
                if self.elapsed_s >= next_log:
                    next_log += self.config.log_seconds
                    self._report(float(np.mean(recent)), N_LOGGED_CLIPS)
                if self.elapsed_s >= next_save:
                    next_save += self.config.save_seconds
                    self.save()
        self.save()
        train_nll = float(np.mean(recent)) if recent else float("nan")
        return self._report(train_nll, self.config.n_validation_clips)

    def _report(self, train_nll: float, n_clips: int) -> TrainingReport:
        told = self.validate(n_clips, with_text=True)
        untold = self.validate(n_clips, with_text=False)
        report = TrainingReport(
            steps=self.step,
            seconds=round(self.elapsed_s, 1),
            train_nll=round(train_nll, 4),
            validation_nll=round(float(np.mean(told)), 4),
            validation_nll_without_text=round(float(np.mean(untold)), 4),
        )
        logger.info(
            "step %d, %.0f s, %.0f%%: train %.3f, validation %.3f (%s), without text %.3f (%s)",
            report.steps,
            report.seconds,
            100 * self.progress,
            report.train_nll,
            report.validation_nll,
            " ".join(f"{value:.3f}" for value in told),
            report.validation_nll_without_text,
            " ".join(f"{value:.3f}" for value in untold),
        )
        return report

    def save(self) -> None:
        """Writes the core, and then the state from which a run goes on."""
        save_core(self.core, self.folder)
        save_training(
            self.folder,
            model=self.core,
            optimisers=self.optimisers,
            position=Position(self.step, self.elapsed_s),
            config=asdict(self.config),
        )
