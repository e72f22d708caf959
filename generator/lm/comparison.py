"""Trial of interleaving patterns: cores alike but for their pattern, trained on one budget.

Each core has a head and an embedding per codebook, sees the whole window, and reads the same
batches of clips in the same order. Every pattern defines a distribution over the same codes, so
that the negative log-likelihood per code can be compared between them.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from generator.errors import GeneratorError, RequestError
from generator.files import read_json, write_json
from generator.lm.batches import TokenisedClips, full_batch
from generator.lm.patterns import COMPARED, Pattern
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.lm.starter import StarterConfig, StarterCore
from generator.lm.training import Trainer, TrainingConfig, code_losses
from generator.text.header import BAR_IDS, BEAT_IDS

logger = logging.getLogger(__name__)

SETTINGS_FILE, CURVE_FILE, RESULT_FILE = "settings.json", "curve.json", "result.json"
N_CURVE_POINTS = 10
N_CURVE_CLIPS = 24
N_TIMED_CLIPS = 3

Clock = Callable[[], float]


@dataclass(frozen=True)
class ComparisonConfig:
    """One budget for all patterns, in CPU minutes or in training steps, and one size of core.

    A batch holds about batch_size * n_frames frames; the last n_held_out clips are not trained on.
    """

    minutes: float | None = 8.0
    max_steps: int | None = None
    n_codebooks: int = 4
    width: int = 128
    n_layers: int = 4
    n_heads: int = 4
    batch_size: int = 8
    n_frames: int = 125
    learning_rate: float = 4e-3
    n_held_out: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_codebooks < 2:
            raise RequestError(f"patterns differ from 2 codebooks on, got {self.n_codebooks}")
        self.training()

    def training(self) -> TrainingConfig:
        """Returns the configuration of each training: every codebook counts the same."""
        return TrainingConfig(
            minutes=self.minutes,
            max_steps=self.max_steps,
            batch_size=self.batch_size,
            n_frames=self.n_frames,
            learning_rate=self.learning_rate,
            codebook_weights=(1.0,) * self.n_codebooks,
            n_validation_clips=self.n_held_out,
            seed=self.seed,
        )

    def core(self, pattern: Pattern) -> StarterCore:
        """Returns a new core of a pattern, whose attention spans the whole window."""
        torch.manual_seed(self.seed)
        return StarterCore(
            StarterConfig(
                width=self.width,
                n_layers=self.n_layers,
                n_heads=self.n_heads,
                delays=pattern.delays,
                pattern=pattern.kind.value,
                codebook_size=pattern.codebook_size,
                attention_window=pattern.n_steps(self.n_frames),
                beat_ids=BEAT_IDS,
                bar_ids=BAR_IDS,
            )
        )


@dataclass(frozen=True)
class CurvePoint:
    """The held-out negative log-likelihood per code, in nats, at a moment of the training."""

    step: int
    cpu_s: float
    nll: float


@dataclass(frozen=True)
class PatternResult:
    """What one pattern came to.

    nll_by_clip: nats per code of each held-out clip, the same clips for every pattern.
    first_frame_steps: steps until the first frame has all its codes, in a window of the trial.
    """

    name: str
    n_parameters: int
    training_steps: int
    cpu_s: float
    nll_by_clip: tuple[float, ...]
    nll_by_codebook: tuple[float, ...]
    steps_per_second: float
    first_frame_steps: int
    times_real_time: float
    curve: tuple[CurvePoint, ...]

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> PatternResult:
        """Returns the result that was stored as JSON."""
        lists = ("nll_by_clip", "nll_by_codebook")
        curve = tuple(CurvePoint(**point) for point in fields["curve"])
        return cls(**fields | {name: tuple(fields[name]) for name in lists} | {"curve": curve})


def held_out_nll(
    core: StarterCore, clips: TokenisedClips, indices: Sequence[int], n_frames: int
) -> np.ndarray:
    """Returns the mean negative log-likelihood [clips, K] of each clip's first n_frames, in nats.

    A shorter clip is read to its end, so that no silence counts.
    """
    was_training = core.training
    core.eval()
    rows = []
    with torch.inference_mode():
        for index in indices:
            length = min(n_frames, int(clips.n_frames[index]))
            losses = code_losses(core, full_batch(clips, [index], length, with_text=True))
            rows.append(losses.double().mean(dim=(0, 2)).numpy())
    core.train(was_training)
    return np.stack(rows)


def times_real_time(core: StarterCore, n_frames: int, clock: Clock) -> float:
    """Returns how many seconds of codes a second samples, one clip with guidance at a time."""
    duration_s = n_frames / core.frame_rate_hz
    text, _ = core.empty_text(1)
    seconds = torch.tensor([[0.0, duration_s]])
    sample_codes(core, text, seconds, 2, SamplingSettings(), [0])  # the first call is slower
    taken = []
    for seed in range(N_TIMED_CLIPS):
        before = clock()
        sample_codes(core, text, seconds, n_frames, SamplingSettings(), [seed])
        taken.append(clock() - before)
    return duration_s / median(taken)


def train_pattern(
    *,
    name: str,
    clips: TokenisedClips,
    config: ComparisonConfig,
    folder: Path,
    codebook_size: int,
    clock: Clock = time.process_time,
) -> PatternResult:
    """Trains and measures a core of one pattern; a folder with a state goes on from there.

    Only training steps count against the budget; what is measured on the way does not.
    """
    pattern = COMPARED[name](config.n_codebooks, codebook_size)
    core = config.core(pattern)
    trainer = Trainer(core=core, clips=clips, config=config.training(), folder=folder, clock=clock)
    held_out = range(clips.n_clips - config.n_held_out, clips.n_clips)
    curve = _stored_curve(folder, trainer.step)
    core.train()
    with tqdm(
        total=1.0,
        initial=trainer.progress,
        desc=name,
        disable=None,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}",
    ) as bar:
        while trainer.progress < 1.0:
            before, progress = clock(), trainer.progress
            trainer.train_step()
            trainer.elapsed_s += clock() - before
            bar.update(trainer.progress - progress)
            if int(N_CURVE_POINTS * trainer.progress) > int(N_CURVE_POINTS * progress):
                nll = held_out_nll(core, clips, held_out[:N_CURVE_CLIPS], config.n_frames)
                point = CurvePoint(trainer.step, round(trainer.elapsed_s, 1), float(nll.mean()))
                curve.append(point)
                bar.set_postfix(nll=f"{point.nll:.3f}")
                logger.info("%s: step %d, %.0f CPU s, NLL %.3f", name, *asdict(point).values())
                trainer.save()
                write_json(folder / CURVE_FILE, [asdict(point) for point in curve])
    core.eval()
    nll_by_clip = held_out_nll(core, clips, held_out, config.n_frames)
    n_steps = pattern.n_steps(config.n_frames)
    whole = [pattern.complete_frames(n, config.n_frames) >= 1 for n in range(n_steps + 1)]
    return PatternResult(
        name=name,
        n_parameters=sum(parameter.numel() for parameter in core.parameters()),
        training_steps=trainer.step,
        cpu_s=round(trainer.elapsed_s, 1),
        nll_by_clip=tuple(float(value) for value in nll_by_clip.mean(axis=1)),
        nll_by_codebook=tuple(float(value) for value in nll_by_clip.mean(axis=0)),
        steps_per_second=n_steps / config.n_frames * core.frame_rate_hz,
        first_frame_steps=whole.index(True),
        times_real_time=times_real_time(core, config.n_frames, clock),
        curve=tuple(curve),
    )


def _stored_curve(folder: Path, step: int) -> list[CurvePoint]:
    """Returns the points of a training that goes on at a step."""
    if not (folder / CURVE_FILE).is_file():
        return []
    points = [CurvePoint(**fields) for fields in read_json(folder / CURVE_FILE)]
    return [point for point in points if point.step <= step]


def compare_patterns(
    *,
    clips: TokenisedClips,
    config: ComparisonConfig,
    folder: Path,
    codebook_size: int,
    names: Sequence[str] = tuple(COMPARED),
    on_result: Callable[[list[PatternResult]], None] | None = None,
    clock: Clock = time.process_time,
) -> list[PatternResult]:
    """Returns the results of patterns trained one after the other; those in the folder are kept.

    on_result is told all results so far after each of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = asdict(config) | {"n_clips": clips.n_clips, "codebook_size": codebook_size}
    _check_settings(folder / SETTINGS_FILE, settings)
    results: list[PatternResult] = []
    for name in names:
        path = folder / name / RESULT_FILE
        if path.is_file():
            result = PatternResult.from_json(read_json(path))
        else:
            result = train_pattern(
                name=name,
                clips=clips,
                config=config,
                folder=folder / name,
                codebook_size=codebook_size,
                clock=clock,
            )
            write_json(path, asdict(result))
        if not all(math.isfinite(value) for value in result.nll_by_clip):
            raise GeneratorError(f"the likelihood of {name} is not finite")
        results.append(result)
        if on_result is not None:
            on_result(results)
    return results


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Writes the settings of a new folder; a folder begun with others is refused."""
    if not path.is_file():
        write_json(path, settings)
        return
    stored = read_json(path)
    if stored != settings:
        names = sorted(n for n in stored | settings if stored.get(n) != settings.get(n))
        told = ", ".join(f"{n} {stored.get(n)}, now {settings.get(n)}" for n in names)
        raise GeneratorError(f"{path.parent} was begun with {told}")
