"""A run against a reward model, from its folder to a published adapter: resumable and stoppable."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from peft import PeftModel

from alignment.adapters import publish_adapter
from alignment.collation import PreferenceCollator
from alignment.errors import RunFolderError, StopRequested
from alignment.face import FlatAudioLM
from alignment.memory import peak_memory_mb
from alignment.outcomes import Outcome
from alignment.progress import (
    CHECKPOINT_PREFIX,
    ProgressWriter,
    earlier_wall_s,
    mark_whole,
    newest_checkpoint,
    step_of,
)
from alignment.ranks import Ranks
from alignment.rl.config import GrpoConfig, RlConfig, RlooConfig
from alignment.rl.held_out import (
    REPORT,
    HeldOutPrompts,
    compared,
    divergence_per_code,
    told,
)
from alignment.rl.judging import JUDGED_FOLDER, Judge
from alignment.rl.models import run_rewards
from alignment.rl.prompts import PromptRow, read_prompts, split_prompts
from alignment.rl.rewards import Reward
from alignment.rl.rollouts import Rollouts
from alignment.rl.trainers import RlTrainer, build_trainer, rl_figures
from alignment.runs import (
    CHECKPOINTS_FOLDER,
    PARTIAL_FOLDER,
    PROGRESS_FILE,
    Preference,
    RunFolder,
    Split,
    check_lengths,
    read_preferences,
)
from alignment.samples import SampleWriter, usual_sampling
from alignment.scoring import measure_agreement, parent_scores, score_preferences
from alignment.stopping import StopSwitch
from alignment.trackers import Tracker, open_trackers
from alignment.training import last_logged, load_parent, published_summary
from generator.checkpoints import CARD_FILE, content_hash, read_card
from generator.families import AnyCore
from generator.lm.core import text_lengths
from generator.measures import Estimate


def train_rl(
    run: RunFolder,
    *,
    stop: StopSwitch,
    device: str = "cpu",
    reward: Reward | None = None,
    judge: Reward | None = None,
) -> dict[str, Any]:
    """Trains a run from where it was left, publishes its best adapter and returns the summary.

    May be called again at any time, as `alignment.training.train_run` may. reward, judge: what
    stands in for the reward models that the run names, such as a measure of the waveform.
    """
    if run.result.is_dir():
        return published_summary(run)
    began_at = time.monotonic() - earlier_wall_s(run.path / PROGRESS_FILE)
    config = run.config
    assert isinstance(config, GrpoConfig | RlooConfig)
    core, parent_hash = load_parent(run)
    train, held_out_prompts = run_prompts(run, core)
    rated = held_out_rows(run, core)  # read now: what is wrong with it must not end a training
    rewards = run_rewards(run, config, reward, judge, device)
    stop.raise_if_requested()

    ranks = Ranks.of_environment()
    checkpoints = run.path / CHECKPOINTS_FOLDER
    checkpoints.mkdir(exist_ok=True)
    newest = newest_checkpoint(checkpoints)
    # Several processes stop together after a step; one alone may stop in the middle of its clips.
    alone = stop.raise_if_requested if ranks.n_ranks == 1 else None
    rollouts = Rollouts(core, interrupt=alone)
    model = FlatAudioLM(core)
    trainer = build_trainer(
        model,
        rollouts,
        train,
        rewards.reward,
        config,
        folder=checkpoints,
        device=device,
        n_ranks=ranks.n_ranks,
    )
    policy = trainer.model
    assert isinstance(policy, PeftModel)
    held_out = HeldOutPrompts(
        rollouts, held_out_prompts, reward=rewards.reward, judge=rewards.judge, seed=config.seed
    )
    progress = ProgressWriter(
        run.path / PROGRESS_FILE,
        stop=stop,
        read=rl_figures,
        device=device,
        began_at=began_at,
        ranks=ranks,
        trackers=_trackers(run, newest) if ranks.is_first else (),
        sample=SampleWriter(
            run.path,
            rollouts=rollouts,
            policy=policy,
            prompts=held_out_prompts[: config.sample_clips],
            settings=usual_sampling(run.base),
        ),
        sample_steps=config.sample_steps,
    )
    watch = Judge(
        held_out, policy, config, folder=run.path / JUDGED_FOLDER, progress=progress, ranks=ranks
    )
    # A checkpoint is marked as whole before the judge throws away what it makes needless.
    trainer.add_callback(progress)
    trainer.add_callback(watch)
    if ranks.is_first:
        watch.read(step_of(newest) if newest else 0)
    if not ranks.agree(watch.is_over):
        _train(trainer, newest, checkpoints)
        is_over = ranks.agree(watch.is_over)
        if trainer.state.global_step < trainer.state.max_steps and not is_over:
            raise StopRequested("the run was asked to stop")
    if not ranks.is_first:
        ranks.wait()
        return published_summary(run)

    best_step = watch.load_best()
    n_steps = watch.entries[-1].step
    summary = {
        "n_train": len(train),
        "n_held_out": len(held_out_prompts),
        "n_steps": n_steps,
        "best_step": best_step,
        "stopped_early": n_steps < config.n_steps,
        "judge_is_unseen": rewards.is_judge_unseen,
        **report(held_out, policy, config),
        "held_out": held_out_agreement(rated, model, policy),
        "training": last_logged(trainer, rl_figures),
        "n_ranks": ranks.n_ranks,
        "memory_mb": peak_memory_mb(device),
        "wall_s": round(time.monotonic() - began_at, 1),
    }
    publish_adapter(
        policy,
        run.result,
        partial=run.path / PARTIAL_FOLDER,
        name=run.name,
        parent=read_card(run.chain[-1]),
        parent_hash=parent_hash,
        recipe=recipe(run, config),
        metrics=summary,
    )
    stored = published_summary(run)
    ranks.wait()
    return stored


def run_prompts(run: RunFolder, core: AnyCore) -> tuple[list[PromptRow], list[PromptRow]]:
    """Returns the run's prompts to learn on and those that only measure."""
    if run.prompts is None:
        raise RunFolderError(f"method {run.method} needs prompts, run.json names no file of them")
    rows = read_prompts(
        run.prompts,
        text_lengths=text_lengths(core),
        text_vocabulary_size=core.text_vocabulary_size,
    )
    return split_prompts(run.prompts, rows)


def report(held_out: HeldOutPrompts, policy: PeftModel, config: RlConfig) -> dict[str, Any]:
    """Returns how the policy does on fresh clips, beside its parent and the parent's best clips.

    The clips are others than those by which the policy was chosen among its checkpoints.
    """
    rollouts = held_out.rollouts
    rollouts.follow_parent()
    before = held_out.measure(config.best_of, REPORT)
    rollouts.follow(policy)
    after = held_out.measure(config.best_of, REPORT)
    best_reward, best_judged = before.best()
    return {
        "reward": compared(before.rewards, after.rewards),
        "judge": compared(before.judgements, after.judgements),
        "best_of": {
            "n": config.best_of,
            "reward": told(Estimate.of(best_reward.tolist())),
            "judge": told(Estimate.of(best_judged.tolist())),
        },
        "kl": divergence_per_code(policy, rollouts, after.clips),
        "diversity": {
            "before": before.diversity,
            "after": after.diversity,
            "share": after.diversity / before.diversity if before.diversity else None,
        },
    }


def held_out_rows(run: RunFolder, core: AnyCore) -> list[Preference]:
    """Returns the run's held-out preferences, found to fit the core; none where it has none."""
    if not (run.preferences.is_file() and run.preferences.read_text().strip()):
        return []
    rows = [
        row
        for row in read_preferences(run, needs_train=False)
        if row.split is Split.HELD_OUT and row.outcome is Outcome.CHOSEN
    ]
    check_lengths(
        rows,
        n_codebooks=core.n_codebooks,
        codebook_size=core.codebook_size,
        text_lengths=text_lengths(core),
    )
    return rows


def held_out_agreement(
    rows: Sequence[Preference], model: FlatAudioLM, policy: PeftModel
) -> dict[str, float] | None:
    """Returns how the policy agrees with preferences, if there are any."""
    if not rows:
        return None
    collator = PreferenceCollator(model.vocabulary, rows, model.core.frame_rate_hz)
    scores = score_preferences(policy, rows, collator)
    agreement = measure_agreement(scores, parent_scores(policy, rows, collator))
    return {**asdict(agreement), "nll_increase": agreement.nll_increase}


def recipe(run: RunFolder, config: RlConfig) -> dict[str, Any]:
    """Returns what the adapter was made by."""
    assert run.prompts is not None
    made_by: dict[str, Any] = {
        "method": run.method,
        "config": config.to_mapping(),
        "prompts_sha256": sha256(run.prompts.read_bytes()).hexdigest(),
        "dataset_sha256": run.dataset_sha256,
    }
    for name, folder in (("reward_model", run.reward_model), ("judge_model", run.judge_model)):
        if folder is not None and (folder / CARD_FILE).is_file():
            made_by[name] = content_hash(folder)
    return made_by


def _train(trainer: RlTrainer, newest: Path | None, checkpoints: Path) -> None:
    """Trains to the end; a stop while clips are sampled keeps the steps before them."""
    try:
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    except StopRequested:
        step = trainer.state.global_step
        if step > 0 and not (checkpoints / f"{CHECKPOINT_PREFIX}{step}").exists():
            trainer._save_checkpoint(trainer.model, trial=None)
            mark_whole(checkpoints / f"{CHECKPOINT_PREFIX}{step}")
        raise


def _trackers(run: RunFolder, newest: Path | None) -> list[Tracker]:
    return open_trackers(
        run.path,
        name=run.name,
        config={"method": run.method, **run.config.to_mapping()},
        first_step=step_of(newest) if newest else 0,
    )
