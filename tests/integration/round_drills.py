"""Rounds on real worker processes: killed, cancelled, resumed, and of every method."""

import sys
import time
from pathlib import Path
from typing import Any

from tests.integration.drilling import (
    LONG_LEASE_S,
    PATIENCE_S,
    SHORT_LEASE_S,
    Worker,
    drill,
    prepare_site,
    wait_until,
    workers,
)

ROUND_CONFIG = {"n_epochs": 12, "batch_pairs": 4}
"""Some thirty short steps; the trainer saves every tenth."""
OF_ADAPTERS = {"n_epochs": 1, "sample_steps": 0, "lora_rank": 2}
OF_REWARDED = {
    **{"n_steps": 2, "batch_prompts": 2, "group_size": 2, "held_out_clips": 1, "best_of": 2},
    **{"judge_steps": 1, "sample_steps": 0, "lora_rank": 2},
}
MODELS = {"reward_model": "liking", "judge_model": "judge"}
METHOD_ROUNDS: tuple[tuple[str, str, dict[str, Any], dict[str, str]], ...] = (
    ("liking", "reward", {"n_members": 2, "features": ["codec"]}, {}),
    ("judge", "reward", {"n_members": 2, "features": ["encoder"], "seed": 1}, {}),
    ("dpo", "dpo", OF_ADAPTERS, {}),
    ("kto", "kto", OF_ADAPTERS, {}),
    ("expert", "expert", {**OF_ADAPTERS, "best_share": 0.5}, {"reward_model": "liking"}),
    ("grpo", "grpo", OF_REWARDED, MODELS),
    ("rloo", "rloo", OF_REWARDED, MODELS),
)
"""(name, method, settings, the rounds whose reward models it names) of a round of each kind."""
ADAPTER_WEIGHTS = "adapter_model.safetensors"
LONG_CONFIG = {"n_epochs": 20, "batch_pairs": 1}
"""So many steps that a cancellation comes before the last of them."""


def child_pid(round: Any) -> int | None:
    """The training child that the round's run folder names, if it still runs."""
    from workers.training import PID_FILE, run_folder

    try:
        pid = int((run_folder(round) / PID_FILE).read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else pid


def metric_steps(round: Any) -> list[int]:
    """The steps that have metrics, in order."""
    return list(round.metrics.order_by("step").values_list("step", flat=True))


def has_ended(round: Any) -> bool:
    """Whether the round is in one of its last states."""
    from attune.rounds.models import RUNNING_STATES

    round.refresh_from_db()
    return round.state not in RUNNING_STATES


@drill(SHORT_LEASE_S)
def a_worker_killed_in_mid_round_resumes_it_once() -> None:
    from attune.catalog.models import Checkpoint
    from attune.catalog.storage import checkpoint_folder
    from attune.jobs.models import Job, JobKind, JobState
    from attune.rounds.gate import CHECKS
    from attune.rounds.models import RoundState
    from generator.checkpoints import verify_folder
    from tests.integration.scene import start_test_round

    round = start_test_round(prepare_site(), ROUND_CONFIG)
    with workers("gpu") as (_, device):
        wait_until(lambda: len(metric_steps(round)) >= 12, PATIENCE_S, "12 training steps")
        pid = child_pid(round)
        assert pid is not None
        device.kill()
        wait_until(lambda: child_pid(round) is None, PATIENCE_S, "the orphaned training to end")
        round.refresh_from_db()
        assert round.state == RoundState.TRAINING
        replacement = Worker("gpu")
        try:
            wait_until(lambda: has_ended(round), PATIENCE_S, "the round to end")
            unfinished = Job.objects.exclude(state=JobState.DONE)
            wait_until(lambda: not unfinished.exists(), PATIENCE_S, "the jobs to end")
        finally:
            replacement.stop()
    assert round.state == RoundState.DONE, round.error
    steps = metric_steps(round)
    n_steps = round.metrics.latest("step").n_steps
    assert [step for step in steps if step > 0] == list(range(1, n_steps + 1)), steps
    assert Checkpoint.objects.count() == 2
    assert round.produced_checkpoint is not None
    verify_folder(checkpoint_folder(round.produced_checkpoint))
    training = Job.objects.get(kind=JobKind.RUN_ROUND)
    assert (training.state, training.attempts) == (JobState.DONE, 2)
    assert Job.objects.get(kind=JobKind.RUN_GATE).state == JobState.DONE
    assert round.evaluations.count() == len(CHECKS)


def checkpoint_of(round: Any) -> Any:
    """The checkpoint that a round publishes; its gate has drills of its own and is cancelled."""
    from attune.catalog.storage import checkpoint_folder
    from attune.rounds.models import RoundMethod, RoundState
    from attune.rounds.services import cancel_round
    from generator.checkpoints import verify_folder

    def is_published() -> bool:
        ended = has_ended(round)
        assert round.produced_checkpoint_id or not ended, (round.name, round.error)
        return round.produced_checkpoint_id is not None

    wait_until(is_published, PATIENCE_S, f"the checkpoint of {round.name}")
    if round.state == RoundState.EVALUATING:
        cancel_round(round=round, actor=None)
    else:
        assert (round.method, round.state) == (RoundMethod.REWARD, RoundState.DONE)
    verify_folder(checkpoint_folder(round.produced_checkpoint))
    assert round.summary["n_train"] > 0 or round.method == RoundMethod.MIX, round.summary
    return round.produced_checkpoint


@drill(LONG_LEASE_S)
def a_cancelled_round_stops_within_seconds_and_frees_the_worker() -> None:
    from attune.catalog.models import Checkpoint, Clip, ClipStatus
    from attune.jobs.models import Job, JobKind, JobState
    from attune.rounds.models import RoundState
    from attune.rounds.services import cancel_round
    from tests.integration.scene import request_test_clips, start_test_round

    checkpoint = prepare_site()
    round = start_test_round(checkpoint, ROUND_CONFIG)
    with workers("gpu") as (_, device):
        wait_until(lambda: len(metric_steps(round)) >= 2, PATIENCE_S, "2 training steps")
        asked_at = time.monotonic()
        cancel_round(round=round, actor=None)
        wait_until(lambda: child_pid(round) is None, PATIENCE_S, "the training to end")
        took_s = time.monotonic() - asked_at
        wait_until(
            lambda: Job.objects.get(kind=JobKind.RUN_ROUND).state == JobState.CANCELLED,
            5,
            "the job to be cancelled",
        )
        round.refresh_from_db()
        assert round.state == RoundState.CANCELLED
        assert round.produced_checkpoint is None
        assert Checkpoint.objects.count() == 1
        clips = request_test_clips(checkpoint, 1, duration_s=2.0)
        wait_until(
            lambda: Clip.objects.get(pk=clips[0].pk).status == ClipStatus.READY,
            PATIENCE_S,
            "a clip",
        )
        assert device.popen.poll() is None
    sys.stdout.write(f"the training ended {took_s:.1f} s after it was cancelled\n")


@drill(LONG_LEASE_S)
def a_cancelled_round_that_is_resumed_ends_like_one_that_was_not() -> None:
    from attune.catalog.storage import checkpoint_folder
    from attune.jobs.models import Job, JobState
    from attune.rounds.run_files import find_saved_step
    from attune.rounds.services import cancel_round, create_round, resume_round
    from generator.checkpoints import verify_folder
    from tests.integration.scene import create_rated_study

    base, study = prepare_site(), create_rated_study()

    def begin(name: str) -> Any:
        return create_round(study=study, base_checkpoint=base, config=LONG_CONFIG, name=name)

    with workers("gpu"):
        made = [checkpoint_of(straight := begin("straight"))]
        resumed = begin("resumed")
        wait_until(lambda: len(metric_steps(resumed)) >= 13, PATIENCE_S, "13 steps")
        asked_at = time.monotonic()
        cancel_round(round=resumed, actor=None)
        wait_until(lambda: child_pid(resumed) is None, PATIENCE_S, "the training to end")
        took_s = time.monotonic() - asked_at
        open_jobs = Job.objects.filter(state=JobState.RUNNING)
        wait_until(lambda: not open_jobs.exists(), PATIENCE_S, "the job to end")
        resumed.refresh_from_db()
        assert resumed.produced_checkpoint is None
        saved, n_steps = find_saved_step(resumed), resumed.metrics.latest("step").n_steps
        assert saved is not None and 10 <= saved < n_steps, (saved, n_steps)
        resume_round(round=resumed, actor=None)
        made.append(checkpoint_of(resumed))
    assert losses(resumed) == losses(straight)
    kinds = list(resumed.events.order_by("pk").values_list("kind", flat=True))
    assert kinds[:2] == ["cancelled", "resumed"]
    weights = [verify_folder(checkpoint_folder(one)).files[ADAPTER_WEIGHTS] for one in made]
    assert weights[0] == weights[1]
    sys.stdout.write(f"ended {took_s:.1f} s after it was cancelled, saved at step {saved}\n")


def losses(round: Any) -> dict[int, float]:
    """The loss of each step."""
    return {
        metric.step: metric.values["loss"]
        for metric in round.metrics.all()
        if "loss" in metric.values
    }


@drill(LONG_LEASE_S)
def every_method_goes_from_ratings_to_a_checkpoint_through_a_worker() -> None:
    from attune.catalog.models import Checkpoint
    from attune.rounds.models import RoundMethod
    from attune.rounds.services import create_mix, create_round
    from tests.integration.scene import create_rated_study

    base, study = prepare_site(), create_rated_study()

    made: dict[str, Checkpoint] = {}
    with workers("gpu"):
        for name, method, config, models in METHOD_ROUNDS:
            round = create_round(
                study=study,
                base_checkpoint=base,
                method=method,
                config=config,
                name=name,
                **{role: made[model] for role, model in models.items()},
            )
            made[name] = checkpoint_of(round)
            assert round.metrics.exists(), f"{name} told nothing of its training"
        parts = [(made["dpo"], 0.5), (made["kto"], 0.5)]
        made["mix"] = checkpoint_of(create_mix(study=study, parts=parts, name="mix"))
    kinds = {name: checkpoint.kind for name, checkpoint in made.items()}
    assert kinds == {
        name: "reward" if name in ("liking", "judge") else "adapter" for name in made
    }, kinds
    methods = {method for _, method, _, _ in METHOD_ROUNDS} | {"mix"}
    assert methods == set(RoundMethod.values), "a method has no round here"
