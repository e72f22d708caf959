"""Runs a round: writes its run folder, trains in a child process, publishes the checkpoint."""

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog
from django.conf import settings

import alignment
from alignment.runs import PROGRESS_FILE, RESULT_FOLDER, RUN_FILE, SUMMARY_FILE
from attune.catalog.models import Checkpoint
from attune.catalog.storage import checkpoint_chain, checkpoint_folder, write_atomically
from attune.jobs.models import Job
from attune.rounds.choices import REWARDED_METHODS, RoundMethod
from attune.rounds.dataset import dataset_bytes, export_preferences, export_prompts
from attune.rounds.errors import RoundStateError
from attune.rounds.models import RUNNING_STATES, Round, RoundState
from attune.rounds.services import (
    publish_checkpoint,
    queue_gate,
    record_round_metric,
    start_training,
)
from workers.child import (
    ENDING_GRACE_S,
    OUT_OF_MEMORY_CODE,
    ChildProcess,
    end_left_over_child,
    exit_sentence,
    last_lines,
    start_child,
)
from workers.generators import WARM_GENERATORS, WarmGenerators, compute_device
from workers.lease import JobCancelled, Lease, LeaseLost
from workers.machine import device_name, usable_cores
from workers.outcomes import AttemptFailed, WorkFailed
from workers.progress import ProgressTail, drop_half_written_line
from workers.samples import SampleDecoder

POLL_INTERVAL_S = 0.5
CANCEL_GRACE_S = 1.0
"""With the poll, a cancelled training ends within two seconds; its last save stays."""
STOPPED_CODE = os.EX_TEMPFAIL
LOG_FILE = "training.log"
PID_FILE = "child.pid"
PREFERENCES_FILE = "preferences.jsonl"
PROMPTS_FILE = "prompts.jsonl"
ENCODER_LINK = "encoder"
MOST_THREADS = 4
NO_METRICS = {"step", "n_steps", "samples"}

logger = structlog.get_logger(__name__)


def run_round(
    job: Job, lease: Lease, warm: WarmGenerators = WARM_GENERATORS
) -> Callable[[], object] | None:
    """Trains the round's checkpoint and publishes it; returns what queues its gate, if it has one.

    Safe to run again: the run folder keeps what the trainer saved, so another attempt goes
    on from there; metrics are stored by step; a round publishes one checkpoint.
    """
    round = Round.objects.select_related("base_checkpoint").get(pk=job.arguments["round"])
    if round.state not in RUNNING_STATES:
        return None
    if round.state == RoundState.FROZEN:
        start_training(round=round, device=device_name())
    if round.produced_checkpoint_id is None:
        folder = write_run_folder(round)
        warm.drop()  # the device's memory belongs to the training now
        if not (folder / RESULT_FOLDER).is_dir():
            _train(round, folder, lease)
        lease.renew(at_once=True)
        _publish(round, folder, lease)
    if round.state != RoundState.EVALUATING:
        return None  # a reward model makes no clips that a gate could measure
    return partial(queue_gate, round=round, priority=job.priority)


def _publish(round: Round, folder: Path, lease: Lease) -> None:
    if Checkpoint.objects.filter(name=round.name).exists():
        raise WorkFailed(f"the name {round.name} was given to another checkpoint meanwhile")
    stored = store_result(folder / RESULT_FOLDER, name=round.name)
    try:
        publish_checkpoint(round=round, folder=stored, summary=read_summary(folder))
    except RoundStateError as exc:
        lease.renew(at_once=True)  # raises where the round was cancelled at this very moment
        raise WorkFailed(str(exc)) from exc


def run_folder(round: Round) -> Path:
    """Returns where the round's run lies."""
    return Path(settings.ATTUNE_ROUNDS) / str(round.pk)


def write_run_folder(round: Round) -> Path:
    """Writes what the trainer reads; what earlier attempts saved stays."""
    folder = run_folder(round)
    folder.mkdir(parents=True, exist_ok=True)
    base, adapters = checkpoint_chain(round.base_checkpoint)
    run = {
        "name": round.name,
        "method": str(round.method),
        "base": str(base),
        "adapters": [str(adapter) for adapter in adapters],
        "parent": round.base_checkpoint.name,
        "parent_hash": round.base_checkpoint.content_hash,
        "preferences": PREFERENCES_FILE,
        "codes_root": str(settings.ATTUNE_MEDIA),
        "config": trainer_config(round),
        "dataset_sha256": round.dataset_sha256,
    }
    if round.reward_model is not None:
        run["reward_model"] = str(checkpoint_folder(round.reward_model))
    if round.judge_model is not None:
        run["judge_model"] = str(checkpoint_folder(round.judge_model))
    if round.method == RoundMethod.REWARD:
        link_encoder(folder)
    if round.method in REWARDED_METHODS:
        run["prompts"] = PROMPTS_FILE
        write_atomically(folder / PROMPTS_FILE, dataset_bytes(export_prompts(round)))
    write_atomically(folder / PREFERENCES_FILE, dataset_bytes(export_preferences(round)))
    write_atomically(folder / RUN_FILE, json.dumps(run, indent=1, sort_keys=True).encode())
    drop_half_written_line(folder / PROGRESS_FILE)
    return folder


def link_encoder(folder: Path) -> None:
    """Gives a run folder the site's representation encoder by a name that is the same anywhere."""
    link = folder / ENCODER_LINK
    link.unlink(missing_ok=True)
    link.symlink_to(Path(settings.ATTUNE_ENCODER).resolve(), target_is_directory=True)


def trainer_config(round: Round) -> dict[str, object]:
    """Returns the settings as the trainer reads them.

    A reward model reads clips by the site's encoder; the adapters of a mix are named by folders.
    """
    if round.method == RoundMethod.REWARD:
        return {"encoder": ENCODER_LINK, **round.config}
    if round.method != RoundMethod.MIX:
        return dict(round.config)
    parts = [
        (Checkpoint.objects.get(name=p["checkpoint"]), p["weight"]) for p in round.config["parts"]
    ]
    return {
        "adapters": [str(checkpoint_folder(part)) for part, _ in parts],
        "weights": [weight for _, weight in parts],
    }


def training_command(round: Round, folder: Path) -> list[str]:
    """Returns the child's command, with a thread a core up to four.

    While a round trains, this worker generates nothing, so the cores are the child's.
    """
    return [
        *(sys.executable, "-m", "alignment", str(round.method), str(folder)),
        *("--device", compute_device()),
        *("--threads", str(min(usable_cores(), MOST_THREADS))),
    ]


def training_environment() -> dict[str, str]:
    """Returns the child's environment: this one, with only the code's root on its path."""
    root = Path(alignment.__path__[0]).resolve().parent
    return {**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}


def _train(round: Round, folder: Path, lease: Lease) -> None:
    """Runs the trainer to its end; raises when it ends otherwise or the lease says stop."""
    if end_left_over_child(folder / PID_FILE, named=str(folder)):
        logger.warning("left_over_training_ended", round=round.pk)
    child = start_child(
        training_command(round, folder),
        folder=folder,
        environment=training_environment(),
        log_file=folder / LOG_FILE,
        pid_file=folder / PID_FILE,
    )
    logger.info("training_started", round=round.pk, pid=child.pid, attempt=lease.job.attempts)
    grace_s = ENDING_GRACE_S
    base_folder, _ = checkpoint_chain(round.base_checkpoint)
    tail = ProgressTail(folder / PROGRESS_FILE)
    try:
        with SampleDecoder(round, folder, base_folder) as samples:
            code = _watch(round, child, tail, samples, lease)
    except LeaseLost:
        grace_s = 0.0  # another attempt may use the folder: nothing more may be saved here
        raise
    except JobCancelled:
        grace_s = CANCEL_GRACE_S
        raise
    finally:
        # Also reaps what a trainer that ended may have left in its group.
        child.end(grace_s)
    if code == 0 and (folder / RESULT_FOLDER).is_dir():
        logger.info("training_done", round=round.pk)
        return
    said = f"{exit_sentence(code)}\n{last_lines(folder / LOG_FILE)}".strip()
    if code < 0 or code in (STOPPED_CODE, OUT_OF_MEMORY_CODE):
        raise AttemptFailed(said)  # what was saved is there for the next attempt
    raise WorkFailed(said)


def _watch(
    round: Round, child: ChildProcess, tail: ProgressTail, samples: SampleDecoder, lease: Lease
) -> int:
    """Returns the child's exit code; meanwhile renews the lease, records metrics and samples."""
    progress: dict[str, object] = {"share": 0.0}
    while (code := child.poll()) is None:
        lease.renew(progress, at_once=True)
        progress = record_new_metrics(round, tail, samples) or progress
        samples.record_ready()
        time.sleep(POLL_INTERVAL_S)
    record_new_metrics(round, tail, samples)
    samples.record_ready(wait=True)
    return code


def record_new_metrics(
    round: Round, tail: ProgressTail, samples: SampleDecoder
) -> dict[str, object]:
    """Stores what the trainer logged since the last call; returns the newest as progress."""
    progress: dict[str, object] = {}
    for values in tail.read_new():
        step, n_steps = int(values["step"]), int(values.get("n_steps", 0))
        logged = {name: figure for name, figure in values.items() if name not in NO_METRICS}
        samples.take(step, values.get("samples") or ())
        record_round_metric(round=round, step=step, n_steps=n_steps, values=logged)
        progress = {
            "share": round_share(step, n_steps),
            "step": step,
            "n_steps": n_steps,
            "eta_s": values.get("eta_s"),
            "memory_mb": values.get("memory_mb"),
        }
    return progress


def round_share(step: int, n_steps: int) -> float:
    """Returns how much of the training is done, 0 to 1."""
    return round(min(1.0, step / n_steps), 3) if n_steps else 0.0


def read_summary(folder: Path) -> dict[str, object]:
    """Returns the trainer's final metrics; {} where it wrote none."""
    try:
        stored = json.loads((folder / SUMMARY_FILE).read_text())
    except FileNotFoundError:
        return {}
    return stored if isinstance(stored, dict) else {}


def store_result(result: Path, *, name: str) -> Path:
    """Copies a result into the checkpoint store, whole or not at all; returns its folder.

    A folder of that name left by an attempt that ended before it was published is replaced.
    """
    store = Path(settings.ATTUNE_CHECKPOINTS)
    store.mkdir(parents=True, exist_ok=True)
    partial = store / f".{name}.{uuid.uuid4().hex}.partial"
    target = store / name
    shutil.copytree(result, partial)
    try:
        if target.exists():
            outdated = store / f".{name}.{uuid.uuid4().hex}.outdated"
            target.rename(outdated)
            partial.rename(target)
            shutil.rmtree(outdated)
        else:
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
