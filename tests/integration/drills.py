"""Drills on real worker processes. `python -m tests.integration.drills NAME` runs one.

Each runs in a process of its own with a fresh ATTUNE_HOME, so that Django there has the
workers' database and not the test run's. It ends with exit code 0, or an AssertionError.
"""

import hashlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import django

ROOT = Path(__file__).resolve().parents[2]
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
PATIENCE_S = 150.0
"""Longer than any of this takes; a busy machine must not fail a drill."""
SHORT_LEASE_S, LONG_LEASE_S = 3, 60


@dataclass(frozen=True)
class Drill:
    """What to do, and how long a lease lasts meanwhile."""

    run: Callable[[], None]
    lease_s: int


DRILLS: dict[str, Drill] = {}


def drill(lease_s: int) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Registers a drill under its function's name."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        DRILLS[function.__name__] = Drill(function, lease_s)
        return function

    return register


def wait_until(holds: Callable[[], Any], seconds: float, what: str) -> Any:
    """Returns the first true answer; AssertionError after the given time."""
    deadline = time.monotonic() + seconds
    while not (answer := holds()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return answer


def prepare_site() -> Any:
    """Migrates an empty database and returns the tiny checkpoint."""
    from django.core.management import call_command

    from tests.integration.scene import add_tiny_checkpoint

    call_command("migrate", verbosity=0)
    return add_tiny_checkpoint()


class Worker:
    """A real Celery worker in a process group of its own."""

    def __init__(self, queue: str, *, has_beat: bool = False) -> None:
        from django.conf import settings

        self.name = f"{queue}-{uuid.uuid4().hex[:6]}"
        self.log_file = Path(settings.ATTUNE_HOME) / f"{self.name}.log"
        beat = ["--beat", "--schedule", str(settings.ATTUNE_HOME / f"{self.name}.beat")]
        command = [
            *(sys.executable, "-m", "celery", "--app", "config", "worker"),
            *("--queues", queue, "--concurrency", "1", "--pool", "prefork"),
            *("--hostname", f"{self.name}@%h", "--without-gossip", "--without-mingle"),
            *("--loglevel", "INFO"),
            *(beat if has_beat else []),
        ]
        with self.log_file.open("ab") as log:
            self.popen = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def signal(self, number: signal.Signals) -> None:
        """Signals the worker and its pool, as an operator or the kernel would."""
        os.killpg(self.popen.pid, number)

    def kill(self) -> None:
        """Kills the worker and its pool at once."""
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> None:
        """Ends the worker if it still runs."""
        if self.popen.poll() is None:
            self.kill()

    def is_ready(self) -> bool:
        """Whether it has said that it listens."""
        return " ready." in self.log()

    def log(self) -> str:
        """What it has printed."""
        return self.log_file.read_text(errors="replace")


@contextmanager
def workers(*queues: str) -> Iterator[list[Worker]]:
    """Runs a default worker with beat, and one worker a named queue, for the block."""
    started = [Worker("default", has_beat=True), *(Worker(queue) for queue in queues)]
    try:
        yield started
    except BaseException:
        for worker in started:
            sys.stderr.write(f"\n--- {worker.name}\n{worker.log()[-6000:]}\n")
        raise
    finally:
        for worker in started:
            worker.stop()


def assert_clips_whole(n_clips: int) -> None:
    """Every clip is READY once and its files are those that were hashed."""
    from attune.catalog.models import Clip, ClipStatus
    from attune.catalog.storage import media_file

    clips = list(Clip.objects.all())
    assert len(clips) == n_clips
    assert {clip.status for clip in clips} == {ClipStatus.READY}, [clip.error for clip in clips]
    for clip in clips:
        for path, expected in (
            (clip.codes_path, clip.codes_sha256),
            (clip.audio_path, clip.audio_sha256),
        ):
            found = hashlib.sha256(media_file(path).read_bytes()).hexdigest()
            assert found == expected, f"{path} differs from what was recorded"
    drafts = [path for path in media_file("clips").rglob("*") if path.name.startswith(".")]
    assert not drafts, f"half-written files were left: {drafts}"


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


@drill(SHORT_LEASE_S)
def a_worker_killed_in_mid_clip_loses_and_doubles_nothing() -> None:
    from attune.catalog.models import Clip, ClipStatus
    from attune.jobs.models import Job, JobState
    from tests.integration.scene import request_test_clips

    n_clips = 12
    request_test_clips(prepare_site(), n_clips, duration_s=20.0)
    with workers("gpu") as (_, device):

        def is_mid_clip() -> bool:
            """Some clips are ready, others being made."""
            statuses = set(Clip.objects.values_list("status", flat=True))
            return {ClipStatus.READY, ClipStatus.GENERATING} <= statuses

        wait_until(is_mid_clip, PATIENCE_S, "a job in mid-clip")
        device.kill()
        before = ready_clips()
        assert 0 < len(before) < n_clips
        replacement = Worker("gpu")
        try:
            wait_until(
                lambda: not Job.objects.exclude(state=JobState.DONE).exists(),
                PATIENCE_S,
                "all jobs",
            )
        finally:
            replacement.stop()
    assert_clips_whole(n_clips)
    after = ready_clips()
    assert {pk: after[pk] for pk in before} == before, "a clip that was ready was made again"
    attempts = sorted(Job.objects.values_list("attempts", flat=True))
    assert attempts == [1] * (len(attempts) - 1) + [2], attempts


def ready_clips() -> dict[uuid.UUID, tuple[str, datetime | None]]:
    """What identifies each ready clip's making: its audio's hash and the time."""
    from attune.catalog.models import Clip, ClipStatus

    return {
        clip.pk: (clip.audio_sha256, clip.ready_at)
        for clip in Clip.objects.filter(status=ClipStatus.READY)
    }


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


def has_ended(round: Any) -> bool:
    """Whether the round is in one of its last states."""
    from attune.rounds.models import RUNNING_STATES

    round.refresh_from_db()
    return round.state not in RUNNING_STATES


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
    from attune.rounds.models import RoundState
    from attune.rounds.run_files import find_saved_step
    from attune.rounds.services import cancel_round, create_round, resume_round
    from generator.checkpoints import verify_folder
    from tests.integration.scene import create_rated_study

    base, study = prepare_site(), create_rated_study()

    def begin(name: str) -> Any:
        return create_round(study=study, base_checkpoint=base, config=LONG_CONFIG, name=name)

    def finish(round: Any) -> None:
        wait_until(lambda: has_ended(round), PATIENCE_S, "the round to end")
        assert round.state == RoundState.DONE, round.error

    with workers("gpu"):
        finish(straight := begin("straight"))
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
        finish(resumed)
    assert losses(resumed) == losses(straight)
    kinds = list(resumed.events.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["cancelled", "resumed"]
    weights = [
        verify_folder(checkpoint_folder(round.produced_checkpoint)).files[ADAPTER_WEIGHTS]
        for round in (straight, resumed)
    ]
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
    """The gate has drills of its own: rounds are cancelled when they come to it."""
    from attune.catalog.models import Checkpoint
    from attune.catalog.storage import checkpoint_folder
    from attune.rounds.models import RoundMethod, RoundState
    from attune.rounds.services import cancel_round, create_mix, create_round
    from generator.checkpoints import verify_folder
    from tests.integration.scene import create_rated_study

    base, study = prepare_site(), create_rated_study()

    def checkpoint_of(round: Any) -> Checkpoint:
        def is_published() -> bool:
            ended = has_ended(round)
            assert round.produced_checkpoint_id or not ended, (round.name, round.error)
            return round.produced_checkpoint_id is not None

        wait_until(is_published, PATIENCE_S, f"the checkpoint of {round.name}")
        if round.state == RoundState.EVALUATING:
            cancel_round(round=round, actor=None)
        else:
            assert (round.method, round.state) == (RoundMethod.REWARD, RoundState.DONE)
        made: Checkpoint = round.produced_checkpoint
        verify_folder(checkpoint_folder(made))
        assert round.summary["n_train"] > 0 or round.method == RoundMethod.MIX, round.summary
        return made

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


@drill(LONG_LEASE_S)
def several_workers_never_do_one_job_twice() -> None:
    from attune.jobs.models import Job, JobState
    from tests.integration.scene import request_test_clips

    n_clips = 40
    checkpoint = prepare_site()
    with workers("gpu", "gpu", "gpu") as started:
        for worker in started:
            wait_until(worker.is_ready, PATIENCE_S, "a worker to start")
        request_test_clips(checkpoint, n_clips, duration_s=5.0)
        wait_until(
            lambda: not Job.objects.exclude(state=JobState.DONE).exists(), PATIENCE_S, "all jobs"
        )
        logs = [worker.log() for worker in started[1:]]
    assert_clips_whole(n_clips)
    assert set(Job.objects.values_list("attempts", flat=True)) == {1}
    claims = [log.count("job_claimed") for log in logs]
    assert sum(claims) == Job.objects.count(), claims
    assert sum(n > 0 for n in claims) > 1, f"one worker did everything: {claims}"


@drill(LONG_LEASE_S)
def a_worker_asked_to_stop_puts_its_job_back_at_once() -> None:
    from attune.jobs.models import Job, JobState
    from tests.integration.scene import request_test_clips

    n_clips = 2
    request_test_clips(prepare_site(), n_clips, duration_s=30.0)
    with workers() as started:
        for is_whole_group in (False, True):
            device = Worker("gpu")
            started.append(device)
            in_mid_clip = Job.objects.filter(state=JobState.RUNNING, progress__share__gt=0.0)
            wait_until(in_mid_clip.exists, PATIENCE_S, "a job in mid-clip")
            # The parent tells its pool; a supervisor's signal reaches the pool by itself.
            (device.signal if is_whole_group else device.popen.send_signal)(signal.SIGTERM)
            device.popen.wait(timeout=PATIENCE_S)
            job = Job.objects.get()
            assert (job.state, job.attempts, job.owner) == (JobState.QUEUED, 0, "")
        started.append(Worker("gpu"))
        unfinished = Job.objects.exclude(state=JobState.DONE)
        wait_until(lambda: not unfinished.exists(), PATIENCE_S, "the job")
    assert_clips_whole(n_clips)
    assert Job.objects.get().attempts == 1


def main() -> None:
    """Runs the drill named on the command line."""
    django.setup()
    DRILLS[sys.argv[1]].run()


if __name__ == "__main__":
    main()
