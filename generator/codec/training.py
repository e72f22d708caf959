"""Training of the codec on the corpus, for a number of minutes, resumable."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from generator.audio import to_float32
from generator.codec.features import semitone_bands
from generator.codec.losses import line_weights, roll_loss, semitone_loss, spectrum_loss
from generator.codec.model import Codec, save_codec
from generator.corpus.score import N_ROLL_ROWS, piano_roll
from generator.corpus.storage import Corpus
from generator.errors import RequestError
from generator.progress import TrainingBar
from generator.resuming import Position, resume_training, save_training

ROLL_WIDTH = 192

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CodecTrainingConfig:
    """How a codec is trained; the learning rate follows a cosine over `minutes`."""

    minutes: float = 25.0
    batch_size: int = 12
    window_frames: int = 32
    learning_rate: float = 1.5e-3
    final_rate_share: float = 0.03
    warmup_steps: int = 60
    unquantised_steps: int = 50
    semitone_weight: float = 1.0
    level_weight: float = 0.3
    linear_weight: float = 0.5
    roll_weight: float = 1.0
    commitment_weight: float = 0.15
    # How often each number of codebooks is kept; two are shipped, four are trained.
    depth_weights: tuple[float, ...] = (0.05, 0.45, 0.1, 0.4)
    checkpoint_every_s: float = 180.0
    log_every_s: float = 30.0
    seed: int = 0
    half_precision: bool = True

    def __post_init__(self) -> None:
        for name in ("minutes", "batch_size", "window_frames", "learning_rate"):
            if getattr(self, name) <= 0:
                raise RequestError(f"{name} must be positive, got {getattr(self, name)}")
        if not self.depth_weights or min(self.depth_weights) < 0 or not sum(self.depth_weights):
            raise RequestError(f"depth_weights must be shares, got {self.depth_weights}")

    def rate_at(self, step: int, elapsed_share: float) -> float:
        """Returns the learning rate at a step, after this share of the time."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(elapsed_share, 1.0)))
        floor = self.final_rate_share
        return self.learning_rate * warm * (floor + (1 - floor) * cosine)


class RollReader(nn.Module):
    """Reads the piano roll off quantised latents; only training has it."""

    def __init__(self, latent_width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(latent_width, ROLL_WIDTH, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(ROLL_WIDTH, N_ROLL_ROWS, 1),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Returns logits [B, 108, T] for latents [B, D, T]."""
        logits: Tensor = self.layers(latents)
        return logits


class CodecTrainer(nn.Module):
    """The codec and the two roll readers (all kept codebooks, and the first alone)."""

    bands: Tensor
    weights: Tensor

    def __init__(self, codec: Codec, config: CodecTrainingConfig) -> None:
        super().__init__()
        self.codec = codec
        self.config = config
        self.all_reader = RollReader(codec.config.latent_width)
        self.first_reader = RollReader(codec.config.latent_width)
        n_fft = codec.config.n_fft
        bands = semitone_bands(n_fft, codec.config.sample_rate_hz)
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("weights", line_weights(n_fft // 2 + 1), persistent=False)

    def forward(
        self, waveform: Tensor, roll: Tensor, n_codebooks: int
    ) -> tuple[Tensor, dict[str, float]]:
        """Returns (loss, its parts) for [B, N] and [B, 108, T]; 0 codebooks skip quantising."""
        config, codec = self.config, self.codec
        with torch.no_grad():
            magnitude = codec.spectrum(waveform)
            features = codec.features(waveform, magnitude)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.half_precision):
            latents = codec.encoder(features).float()
        if n_codebooks:
            quantised, first, commitment = codec.quantiser(latents, n_codebooks)
        else:
            quantised, first, commitment = latents, latents, latents.new_zeros(())
        with torch.autocast("cpu", torch.bfloat16, enabled=config.half_precision):
            log_predicted = codec.decoder(quantised).float()
            all_logits = self.all_reader(quantised).float()
            first_logits = self.first_reader(first).float()
        spectral = spectrum_loss(log_predicted, magnitude, self.weights)
        semitone = semitone_loss(log_predicted.clamp(max=6.0).exp(), magnitude, self.bands)
        rolls = roll_loss(all_logits, roll) + 0.5 * roll_loss(first_logits, roll)
        loss = (
            spectral.log_mean
            + config.linear_weight * spectral.linear_relative
            + config.semitone_weight * semitone.cosine_distance_mean
            + config.semitone_weight * config.level_weight * semitone.level_mean
            + config.roll_weight * rolls
            + config.commitment_weight * commitment
        )
        parts = {
            "log": spectral.log_mean.item(),
            "linear": spectral.linear_relative.item(),
            "cosine": semitone.cosine_distance_mean.item(),
            "level": semitone.level_mean.item(),
            "roll": rolls.item(),
            "commitment": commitment.item(),
        }
        return loss, parts


@dataclass(frozen=True)
class Windows:
    """Training windows: samples [N] and the piano roll [108, N // frame_samples]."""

    audio: NDArray[np.int16]
    roll: NDArray[np.uint8]
    frame_samples: int

    def draw(
        self, n_windows: int, n_frames: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Returns (waveforms [B, n_frames * frame_samples], rolls [B, 108, n_frames])."""
        starts = rng.integers(0, self.roll.shape[1] - n_frames + 1, n_windows)
        size = self.frame_samples
        audio = [self.audio[s * size : (s + n_frames) * size] for s in starts]
        rolls = [self.roll[:, s : s + n_frames] for s in starts]
        waveform = torch.from_numpy(to_float32(np.stack(audio)))
        return waveform, torch.from_numpy(np.stack(rolls).astype(np.float32))


def training_windows(corpus: Corpus, frame_samples: int) -> Windows:
    """Returns the corpus as one row of frames to draw windows from."""
    rolls = [piano_roll(clip.notes, clip.n_samples // frame_samples) for clip in corpus]
    return Windows(corpus.audio, np.concatenate(rolls, axis=1), frame_samples)


def train_codec(
    codec: Codec,
    windows: Windows,
    config: CodecTrainingConfig,
    folder: Path,
    clock: Callable[[], float] = time.monotonic,
) -> Position:
    """Trains a codec in place for the configured minutes and writes it into a folder.

    The windows and draws of a step depend on the seed and the step only, so that a resumed run
    goes on with those that would have followed.
    """
    torch.manual_seed(config.seed)
    trainer = CodecTrainer(codec, config).train()
    optimizer = torch.optim.AdamW(
        trainer.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=1e-3
    )
    quantiser = trainer.codec.quantiser
    position = resume_training(
        folder,
        model=trainer,
        optimisers=[optimizer],
        kind="codec",
        statistics=quantiser.statistics,
    )

    def save() -> Position:
        reached = Position(step, elapsed_s)
        save_training(
            folder,
            model=trainer,
            optimisers=[optimizer],
            position=reached,
            config=asdict(config),
            statistics=quantiser.statistics,
        )
        return reached

    step, begun = position.step, clock() - position.elapsed_s
    depths = np.arange(1, len(config.depth_weights) + 1)
    shares = np.array(config.depth_weights) / sum(config.depth_weights)
    budget_s = 60 * config.minutes
    logged = saved = elapsed_s = position.elapsed_s
    recent: list[dict[str, float]] = []
    with TrainingBar(elapsed_s / budget_s) as bar:
        while elapsed_s < budget_s:
            rng = np.random.default_rng((config.seed, step))
            torch.manual_seed(int(rng.integers(2**63)))
            for group in optimizer.param_groups:
                group["lr"] = config.rate_at(step, elapsed_s / budget_s)
            waveform, roll = windows.draw(config.batch_size, config.window_frames, rng)
            depth = 0 if step < config.unquantised_steps else int(rng.choice(depths, p=shares))
            loss, parts = trainer(waveform, roll, depth)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trainer.parameters(), 1.0)
            optimizer.step()
            recent.append(parts)
            step, elapsed_s = step + 1, clock() - begun
            bar.show(elapsed_s / budget_s, step=step, loss=loss.item())
            if elapsed_s - logged >= config.log_every_s:
                means = {k: round(float(np.mean([p[k] for p in recent])), 4) for k in parts}
                log.info("step %d after %.0f s: %s", step, elapsed_s, means)
                logged, recent = elapsed_s, []
            if elapsed_s - saved >= config.checkpoint_every_s:
                save()
                saved = elapsed_s
    position = save()
    save_codec(codec, folder)
    codec.eval()
    return position
