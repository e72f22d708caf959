"""A run from its folder to a published adapter: resumable, and stopped only where it is safe."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
from peft import PeftModel
from transformers import Trainer

from alignment.adapters import publish_adapter
from alignment.collation import PreferenceCollator
from alignment.config import TrainingConfig
from alignment.errors import RunFolderError, StopRequested
from alignment.face import FlatAudioLM
from alignment.memory import OutOfMemory, is_out_of_memory, memory_advice, peak_memory_mb
from alignment.methods import METHODS
from alignment.outcomes import Outcome
from alignment.passes import figures
from alignment.progress import (
    ProgressWriter,
    ReadFigures,
    earlier_wall_s,
    newest_checkpoint,
    step_of,
)
from alignment.ranks import Ranks
from alignment.rl.rollouts import Rollouts
from alignment.runs import (
    CHECKPOINTS_FOLDER,
    PARTIAL_FOLDER,
    PROGRESS_FILE,
    SUMMARY_FILE,
    LabelledClip,
    Preference,
    RunFolder,
    Split,
    check_lengths,
    load_codes,
    read_clips,
    read_preferences,
)
from alignment.samples import SampleWriter, sampled_prompts, usual_sampling
from alignment.scoring import Agreement, measure_agreement, parent_scores, score_preferences
from alignment.stopping import StopSwitch
from alignment.trackers import open_trackers
from generator.checkpoints import content_hash, merge_adapter, read_card, verify_folder
from generator.errors import CheckpointError
from generator.families import AnyCore, load_core
from generator.files import write_json
from generator.lm.core import text_lengths


class HeldOut:
    """Preferences that only measure, with what the policy's parent thinks of them."""

    def __init__(
        self, policy: PeftModel, preferences: Sequence[Preference], collator: PreferenceCollator
    ) -> None:
        self.policy = policy
        self.preferences = preferences
        self.collator = collator
        self.parent = parent_scores(policy, preferences, collator)

    def measure(self) -> Agreement:
        """Returns how the policy agrees with the preferences now."""
        scores = score_preferences(self.policy, self.preferences, self.collator)
        return measure_agreement(scores, self.parent)


def load_parent(run: RunFolder) -> tuple[AnyCore, str]:
    """Returns the core of the run's parent, adapters merged, and the parent's content hash."""
    try:
        for folder in run.chain:
            verify_folder(folder)
        found = content_hash(run.chain[-1])
        core = load_core(run.base)
        for adapter in run.adapters:
            core = merge_adapter(core, adapter)
    except CheckpointError as exc:
        raise RunFolderError(f"the parent cannot be loaded: {exc}") from exc
    if run.parent_hash is not None and run.parent_hash != found:
        raise RunFolderError(
            f"{run.chain[-1]} has content hash {found[:12]}..., "
            f"the run says {run.parent_hash[:12]}..."
        )
    return core, found


@dataclass(frozen=True)
class Material:
    """What a trainer is made of, once a run has been read and fits its parent."""

    run: RunFolder
    model: FlatAudioLM
    train: tuple[Preference, ...]
    """The rows to learn from, of outcomes that the run's settings ask for."""
    held_out: tuple[Preference, ...]
    """The rows that only measure; all of them prefer one clip."""
    clips: tuple[LabelledClip, ...]
    """Clips to learn from that have no partner."""
    n_unused: int
    """Rows of other outcomes."""
    mean_codes: float
    """How many codes the clips to learn from have."""
    parent_hash: str
    device: str

    @property
    def config(self) -> TrainingConfig:
        """The run's settings."""
        assert isinstance(self.run.config, TrainingConfig)
        return self.run.config

    @property
    def checkpoints(self) -> Path:
        """Where the trainer saves."""
        return self.run.path / CHECKPOINTS_FOLDER


BuildTrainer = Callable[[Material], Trainer]


def train_run(run: RunFolder, *, stop: StopSwitch, device: str = "cpu") -> dict[str, Any]:
    """Trains a run from where it was left, publishes its result and returns the summary.

    May be called again at any time: a run with a result returns its summary at once. Raises
    StopRequested when `stop` was thrown, what was learned by then is saved, and OutOfMemory
    with advice when the device has too little.
    """
    try:
        return METHODS[run.method].run(run, stop=stop, device=device)
    except (MemoryError, RuntimeError, OSError) as exc:
        if not is_out_of_memory(exc):
            raise
        raise OutOfMemory(memory_advice(run.config, device)) from exc


def prepare_run(run: RunFolder, device: str) -> Material:
    """Returns what a run is trained from; RunFolderError says what does not fit."""
    assert isinstance(run.config, TrainingConfig)
    preferences = read_preferences(run, needs_train=run.clips is None)
    core, parent_hash = load_parent(run)
    n_frames = check_lengths(
        preferences,
        n_codebooks=core.n_codebooks,
        codebook_size=core.codebook_size,
        text_lengths=text_lengths(core),
    )
    wanted = run.config.outcomes
    train, lengths, held_out = [], [], []
    for row, length in zip(preferences, n_frames, strict=True):
        if row.split is Split.TRAIN and row.outcome in wanted:
            train.append(row)
            lengths.append(length)
        elif row.split is Split.HELD_OUT and row.outcome is Outcome.CHOSEN:
            held_out.append(row)
    clips = read_clips(
        run,
        n_codebooks=core.n_codebooks,
        codebook_size=core.codebook_size,
        text_lengths=text_lengths(core),
    )
    lengths += [load_codes(clip.codes).shape[1] for clip in clips]
    if not train and not clips:
        raise RunFolderError(
            f"{run.preferences} has {len(preferences)} rows, none to train on whose outcome is "
            f"one of {sorted(wanted)}"
        )
    return Material(
        run=run,
        model=FlatAudioLM(core),
        train=tuple(train),
        held_out=tuple(held_out),
        clips=tuple(clips),
        n_unused=len(preferences) - len(train) - len(held_out),
        mean_codes=core.n_codebooks * sum(lengths) / len(lengths),
        parent_hash=parent_hash,
        device=device,
    )


def train_adapter(
    run: RunFolder,
    build: BuildTrainer,
    *,
    stop: StopSwitch,
    device: str,
    read: ReadFigures = figures,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Trains the adapter of a run with the trainer that `build` makes; see train_run.

    read: the figures among what the trainer logs; extra: what the summary tells besides.
    """
    if run.result.is_dir():
        return published_summary(run)
    began_at = time.monotonic() - earlier_wall_s(run.path / PROGRESS_FILE)
    ranks = Ranks.of_environment()
    material = prepare_run(run, device)
    stop.raise_if_requested()
    sample_from = _rollouts_of(material) if ranks.is_first else None

    material.checkpoints.mkdir(exist_ok=True)
    datasets.disable_progress_bars()
    newest = newest_checkpoint(material.checkpoints)
    trainer = build(material)
    policy = trainer.model
    assert isinstance(policy, PeftModel)
    judge = None
    if material.held_out:
        rate_hz = material.model.core.frame_rate_hz
        collator = PreferenceCollator(material.model.vocabulary, material.held_out, rate_hz)
        judge = HeldOut(policy, material.held_out, collator)
    trackers = []
    if ranks.is_first:
        trackers = open_trackers(
            run.path,
            name=run.name,
            config={"method": run.method, **run.config.to_mapping()},
            first_step=step_of(newest) if newest else 0,
        )
    progress = ProgressWriter(
        run.path / PROGRESS_FILE,
        stop=stop,
        measure=judge.measure if judge else None,
        read=read,
        device=device,
        began_at=began_at,
        ranks=ranks,
        trackers=trackers,
        sample=_sampler_of(material, policy, sample_from),
        sample_steps=material.config.sample_steps,
    )
    trainer.add_callback(progress)
    stop.raise_if_requested()
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    if trainer.state.global_step < trainer.state.max_steps:
        raise StopRequested("the run was asked to stop")
    if not ranks.is_first:
        ranks.wait()
        return published_summary(run)

    # A run that was killed after its last step comes here without another epoch's end.
    agreement = progress.agreement or (judge.measure() if judge else None)
    summary = {
        "n_train": len(material.train),
        "n_held_out": len(material.held_out),
        "n_unused": material.n_unused,
        **({"n_clips": len(material.clips)} if material.clips else {}),
        "held_out": _told(agreement) if agreement else None,
        "training": last_logged(trainer, read),
        "n_steps": trainer.state.max_steps,
        "n_ranks": ranks.n_ranks,
        "memory_mb": peak_memory_mb(device),
        "wall_s": round(time.monotonic() - began_at, 1),
        **(extra or {}),
    }
    publish_adapter(
        policy,
        run.result,
        partial=run.path / PARTIAL_FOLDER,
        name=run.name,
        parent=read_card(run.chain[-1]),
        parent_hash=material.parent_hash,
        recipe={
            "method": run.method,
            "config": run.config.to_mapping(),
            "dataset_sha256": run.dataset_sha256,
        },
        metrics=summary,
    )
    stored = published_summary(run)
    ranks.wait()
    return stored


def _rollouts_of(material: Material) -> Rollouts | None:
    """Returns what samples clips during a run; made before the core is adapted."""
    return Rollouts(material.model.core) if material.config.sample_steps else None


def _sampler_of(
    material: Material, policy: PeftModel, rollouts: Rollouts | None
) -> SampleWriter | None:
    if rollouts is None:
        return None
    rate_hz = material.model.core.frame_rate_hz
    rows = (*material.held_out, *material.train)
    return SampleWriter(
        material.run.path,
        rollouts=rollouts,
        policy=policy,
        prompts=sampled_prompts(rows, material.config.sample_clips, rate_hz),
        settings=usual_sampling(material.run.base),
    )


def last_logged(trainer: Trainer, read: ReadFigures = figures) -> dict[str, float]:
    """Returns the loss and the figures of the last logged step."""
    lines = [line for line in trainer.state.log_history if "loss" in line]
    return {"loss": lines[-1]["loss"], **read(lines[-1])} if lines else {}


def _told(agreement: Agreement) -> dict[str, float]:
    return {**asdict(agreement), "nll_increase": agreement.nll_increase}


def published_summary(run: RunFolder) -> dict[str, Any]:
    """Returns the summary of a run whose result is complete, and writes it beside."""
    card = read_card(run.result)
    summary = {
        "name": card.name,
        "parent": card.parent,
        "content_hash": content_hash(run.result),
        **card.metrics,
    }
    write_json(run.path / SUMMARY_FILE, summary)
    return summary
