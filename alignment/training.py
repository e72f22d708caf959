"""A run from its folder to a published adapter: resumable, and stopped only where it is safe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from peft import PeftModel
from trl.trainer.dpo_trainer import DPOTrainer

from alignment.adapters import publish_adapter
from alignment.collation import PreferenceCollator
from alignment.config import DpoConfig
from alignment.dpo import Lengths, build_trainer
from alignment.errors import RunFolderError
from alignment.face import FlatAudioLM
from alignment.methods import METHODS
from alignment.progress import ProgressWriter, newest_checkpoint
from alignment.runs import (
    CHECKPOINTS_FOLDER,
    PARTIAL_FOLDER,
    PROGRESS_FILE,
    SUMMARY_FILE,
    Preference,
    RunFolder,
    Split,
    check_lengths,
    read_preferences,
)
from alignment.scoring import Agreement, measure_agreement, parent_scores, score_preferences
from alignment.stopping import StopSwitch
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


def train_run(run: RunFolder, *, stop: StopSwitch, device: str = "cpu") -> dict[str, Any]:
    """Trains a run from where it was left, publishes its result and returns the summary.

    May be called again at any time: a run with a result returns its summary at once. Raises
    StopRequested when `stop` was thrown; what was learned by then is saved.
    """
    return METHODS[run.method].run(run, stop=stop, device=device)


def train_dpo(run: RunFolder, *, stop: StopSwitch, device: str = "cpu") -> dict[str, Any]:
    """Trains a run by direct preference optimisation; see train_run."""
    assert isinstance(run.config, DpoConfig)
    if run.result.is_dir():
        return _published(run)
    began_at = time.monotonic()
    preferences = read_preferences(run)
    core, parent_hash = load_parent(run)
    n_frames = check_lengths(
        preferences,
        n_codebooks=core.n_codebooks,
        codebook_size=core.codebook_size,
        text_lengths=text_lengths(core),
    )
    train = [row for row in preferences if row.split is Split.TRAIN]
    held_out = [row for row in preferences if row.split is Split.HELD_OUT]
    lengths = Lengths.of(
        [n for n, row in zip(n_frames, preferences, strict=True) if row.split is Split.TRAIN],
        core.n_codebooks,
    )
    stop.raise_if_requested()

    checkpoints = run.path / CHECKPOINTS_FOLDER
    checkpoints.mkdir(exist_ok=True)
    model = FlatAudioLM(core)
    trainer = build_trainer(
        model, train, run.config, folder=checkpoints, lengths=lengths, device=device
    )
    policy = trainer.model
    assert isinstance(policy, PeftModel)
    judge = None
    if held_out:
        collator = PreferenceCollator(model.vocabulary, held_out, core.frame_rate_hz)
        judge = HeldOut(policy, held_out, collator)
    progress = ProgressWriter(
        run.path / PROGRESS_FILE,
        stop=stop,
        codes_per_clip=lengths.mean_codes,
        measure=judge.measure if judge else None,
    )
    trainer.add_callback(progress)
    stop.raise_if_requested()
    newest = newest_checkpoint(checkpoints)
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    if trainer.state.global_step < trainer.state.max_steps:
        stop.raise_if_requested()

    # A run that was killed after its last step comes here without another epoch's end.
    agreement = progress.agreement or (judge.measure() if judge else None)
    summary = {
        "n_train": len(train),
        "n_held_out": len(held_out),
        "held_out": _told(agreement) if agreement else None,
        "training": last_logged(trainer),
        "n_steps": trainer.state.max_steps,
        "wall_s": round(time.monotonic() - began_at, 1),
    }
    publish_adapter(
        policy,
        run.result,
        partial=run.path / PARTIAL_FOLDER,
        name=run.name,
        parent=read_card(run.chain[-1]),
        parent_hash=parent_hash,
        recipe={
            "method": run.method,
            "config": run.config.to_mapping(),
            "dataset_sha256": run.dataset_sha256,
        },
        metrics=summary,
    )
    return _published(run)


def last_logged(trainer: DPOTrainer) -> dict[str, float]:
    """Returns loss, accuracy and margin of the last logged step."""
    lines = [line for line in trainer.state.log_history if "rewards/margins" in line]
    if not lines:
        return {}
    last = lines[-1]
    names = {"loss": "loss", "rewards/accuracies": "accuracy", "rewards/margins": "margin_sum"}
    return {name: last[key] for key, name in names.items()}


def _told(agreement: Agreement) -> dict[str, float]:
    return {**asdict(agreement), "nll_increase": agreement.nll_increase}


def _published(run: RunFolder) -> dict[str, Any]:
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
