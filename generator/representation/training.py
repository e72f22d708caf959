"""Pretraining of the encoder on codes: masked frames, resumable to the batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from generator.errors import GeneratorError, RequestError
from generator.progress import TrainingBar
from generator.representation.encoder import RepresentationEncoder, save_encoder
from generator.representation.masking import MaskedBatch, draw_spans, masked, masked_loss
from generator.resuming import Position, resume_training, save_training

logger = logging.getLogger(__name__)

VALIDATION_SEED = 1_000_003


@dataclass(frozen=True)
class PretrainingConfig:
    """How an encoder is trained; `max_steps` sets the schedule where `minutes` is None."""

    minutes: float | None = 12.0
    max_steps: int | None = None
    batch_size: int = 8
    n_frames: int = 150
    mask_share: float = 0.5
    span_frames: int = 8
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    warmup_steps: int = 60
    last_rate: float = 0.02
    n_validation_clips: int = 64
    log_seconds: float = 30.0
    save_seconds: float = 120.0
    bfloat16: bool = True
    compiled: bool = False
    """Compile the layers: a minute at first (it needs a C compiler), then fewer seconds a step."""
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.max_steps is None):
            raise RequestError(
                f"give minutes or max_steps, got {self.minutes} and {self.max_steps}"
            )
        for name in ("batch_size", "n_frames", "span_frames", "learning_rate"):
            if getattr(self, name) <= 0:
                raise RequestError(f"{name} is above 0, got {getattr(self, name)}")
        if not 0.0 < self.mask_share < 1.0:
            raise RequestError(f"mask_share is between 0 and 1, got {self.mask_share}")


@dataclass(frozen=True)
class CodedClips:
    """The codes of many clips end to end, [K, total T], and where each begins and how long it is.

    `n_frames` and `starts` are [clips].
    """

    codes: NDArray[np.int16]
    starts: NDArray[np.int64]
    n_frames: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.n_frames) or not len(self.starts):
            raise RequestError(
                f"expected as many starts as lengths, got {len(self.starts)} "
                f"and {len(self.n_frames)}"
            )

    def __len__(self) -> int:
        return len(self.starts)

    def window(self, index: int, first_frame: int, n_frames: int) -> NDArray[np.int64]:
        """Returns codes [K, n_frames] of a clip from a frame on, zeros after its end."""
        start = int(self.starts[index]) + first_frame
        n_left = min(n_frames, int(self.n_frames[index]) - first_frame)
        codes = np.zeros((len(self.codes), n_frames), dtype=np.int64)
        codes[:, :n_left] = self.codes[:, start : start + n_left]
        return codes


@dataclass(frozen=True)
class PretrainingReport:
    """How a pretraining ended: losses in nats a code at hidden frames, and the share guessed."""

    steps: int
    seconds: float
    train_loss: float | None
    """Of the last steps; None where the budget was used up before."""
    validation_loss: float
    validation_loss_per_codebook: tuple[float, ...]
    validation_accuracy: float


def draw_batch(
    clips: CodedClips,
    indices: Sequence[int],
    config: PretrainingConfig,
    rng: np.random.Generator,
) -> MaskedBatch:
    """Returns windows that begin anywhere in a clip, with hidden spans; short clips are padded."""
    lengths = np.minimum(clips.n_frames[list(indices)], config.n_frames)
    width = int(lengths.max())
    windows = []
    for index, n in zip(indices, lengths, strict=True):
        first = int(rng.integers(0, int(clips.n_frames[index]) - int(n) + 1))
        windows.append(clips.window(index, first, width))
    hidden = draw_spans(
        lengths, width, share=config.mask_share, span_frames=config.span_frames, rng=rng
    )
    return masked(torch.from_numpy(np.stack(windows)), hidden, lengths)


def build_optimisers(
    encoder: RepresentationEncoder, config: PretrainingConfig
) -> list[torch.optim.Optimizer]:
    """Returns Muon for the matrices of the layers and AdamW for everything else."""
    matrices = [m.weight for m in encoder.layers.modules() if isinstance(m, nn.Linear)]
    chosen = {id(matrix) for matrix in matrices}
    others = [p for p in encoder.parameters() if id(p) not in chosen]
    rate = config.learning_rate
    return [
        torch.optim.Muon(
            matrices,
            lr=rate,
            momentum=0.95,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.95), weight_decay=0.01),
    ]


class Pretrainer:
    """One pretraining, whose state lies in a folder and survives being killed.

    The batch of step n depends on the seed and on n only, so that a resumed run goes on with
    the very batch that would have followed. The last clips are for validation.
    """

    def __init__(
        self,
        *,
        encoder: RepresentationEncoder,
        clips: CodedClips,
        config: PretrainingConfig,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if len(clips) <= config.n_validation_clips:
            raise GeneratorError(
                f"{len(clips)} clips leave none to train on, "
                f"{config.n_validation_clips} are for validation"
            )
        if len(clips.codes) != encoder.config.n_codebooks:
            raise GeneratorError(
                f"the encoder reads {encoder.config.n_codebooks} codebooks, got {len(clips.codes)}"
            )
        if config.compiled:
            for layer in encoder.layers:
                layer.compile(dynamic=True)
        self.encoder = encoder
        self.clips = clips
        self.config = config
        self.folder = folder
        self.clock = clock
        self.optimisers = build_optimisers(encoder, config)
        self._n_training = len(clips) - config.n_validation_clips
        position = resume_training(folder, model=encoder, optimisers=self.optimisers)
        self.step, self.elapsed_s = position.step, position.elapsed_s
        if self.step:
            logger.info("resumed at step %d, %.0f s", self.step, self.elapsed_s)

    @property
    def progress(self) -> float:
        """The share of the budget that is used, 0 to 1."""
        if self.config.max_steps is not None:
            return min(1.0, self.step / self.config.max_steps)
        assert self.config.minutes is not None
        return min(1.0, self.elapsed_s / (60 * self.config.minutes))

    def train_step(self) -> float:
        """Takes one step; returns the batch's loss."""
        rng = np.random.default_rng([self.config.seed, self.step])
        indices = rng.integers(0, self._n_training, self.config.batch_size).tolist()
        batch = draw_batch(self.clips, indices, self.config, rng)
        warm = min(1.0, (self.step + 1) / max(1, self.config.warmup_steps))
        low = self.config.last_rate
        share = warm * (low + (1.0 - low) * (1.0 - self.progress))
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.config.learning_rate * share
            optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bfloat16):
            loss = masked_loss(self.encoder, batch)
        loss.mean.backward()
        norm = nn.utils.clip_grad_norm_(self.encoder.parameters(), 1.0)
        if not bool(torch.isfinite(norm)):
            raise GeneratorError(f"the gradient is not finite at step {self.step}")
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        return float(loss.mean.detach())

    @torch.inference_mode()
    def validate(self) -> tuple[list[float], float]:
        """Returns each codebook's loss and the share guessed on held-out clips.

        Windows and masks are the same every time.
        """
        rng = np.random.default_rng(VALIDATION_SEED)
        held_out = list(range(self._n_training, len(self.clips)))
        size = self.config.batch_size
        losses, shares, weights = [], [], []
        self.encoder.eval()
        for start in range(0, len(held_out), size):
            batch = draw_batch(self.clips, held_out[start : start + size], self.config, rng)
            loss = masked_loss(self.encoder, batch)
            losses.append(loss.mean_per_codebook.double().numpy())
            shares.append(float(loss.accuracy))
            weights.append(int(batch.hidden.sum()))
        self.encoder.train()
        per_codebook = np.average(losses, axis=0, weights=weights)
        return [float(value) for value in per_codebook], float(np.average(shares, weights=weights))

    def run(self) -> PretrainingReport:
        """Trains until the budget is used; shows a bar on a terminal, logs and saves."""
        self.encoder.train()
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
                bar.show(self.progress, step=self.step, loss=float(np.mean(recent)))
                if self.elapsed_s >= next_log:
                    next_log += self.config.log_seconds
                    self._report(float(np.mean(recent)))
                if self.elapsed_s >= next_save:
                    next_save += self.config.save_seconds
                    self.save()
        self.save()
        return self._report(float(np.mean(recent)) if recent else None)

    def _report(self, train_loss: float | None) -> PretrainingReport:
        per_codebook, accuracy = self.validate()
        report = PretrainingReport(
            steps=self.step,
            seconds=round(self.elapsed_s, 1),
            train_loss=None if train_loss is None else round(train_loss, 4),
            validation_loss=round(float(np.mean(per_codebook)), 4),
            validation_loss_per_codebook=tuple(round(value, 4) for value in per_codebook),
            validation_accuracy=round(accuracy, 4),
        )
        logger.info("%.0f%%: %s", 100 * self.progress, asdict(report))
        return report

    def save(self) -> None:
        """Writes the encoder and everything needed to go on."""
        save_encoder(self.encoder, self.folder)
        save_training(
            self.folder,
            model=self.encoder,
            optimisers=self.optimisers,
            position=Position(self.step, self.elapsed_s),
            config=asdict(self.config),
        )
