"""Rounds whose trainer is a small program, to see every way in which a child can end."""

import hashlib
import json
import sys
import time
from pathlib import Path

import pytest
import soundfile
from django.conf import LazySettings
from django.utils import timezone

from attune.jobs.models import Job, JobKind, JobState
from attune.jobs.services import claim_job
from attune.rounds.models import Round, RoundSample, RoundState
from attune.rounds.run_files import sample_file
from attune.rounds.selectors import get_round_detail
from attune.rounds.services import cancel_round, create_round, record_round_metric
from tests.integration.scene import add_tiny_checkpoint, create_rated_study, start_test_round
from workers import training
from workers.claims import carry_out, carry_out_job, new_owner
from workers.lease import Lease
from workers.training import (
    LOG_FILE,
    PREFERENCES_FILE,
    run_folder,
    store_result,
    write_run_folder,
)

pytestmark = pytest.mark.django_db

PRELUDE = (
    "import json, os, pathlib, signal, sys, time\n"
    "folder = pathlib.Path(sys.argv[1])\n"
    "def log(step, **values):\n"
    "    with (folder / 'progress.jsonl').open('a') as file:\n"
    "        file.write(json.dumps({'step': step, 'n_steps': 3, **values}) + '\\n')\n"
)


@pytest.fixture
def new_round(settings: LazySettings) -> Round:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    return start_test_round(add_tiny_checkpoint(), {"n_epochs": 1})


def train_with(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Replaces the trainer by a program that finds the run folder as its first argument."""

    def command(round: Round, folder: Path) -> list[str]:
        return [sys.executable, "-c", PRELUDE + program, str(folder)]

    monkeypatch.setattr(training, "training_command", command)


def claim(round: Round) -> tuple[Job, Lease]:
    job = claim_job(queue="gpu", owner="a worker", lease_s=30, now=timezone.now())
    assert job is not None and job.kind == JobKind.RUN_ROUND
    return job, Lease(job=job, owner="a worker", lease_s=30, is_stopping=lambda: False)


def test_a_trainer_that_exits_with_an_error_fails_the_round_with_its_last_words(
    new_round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with(monkeypatch, "log(1, loss=0.7)\nsys.exit('error: no such codes')\n")
    carry_out("gpu", new_owner())
    new_round.refresh_from_db()
    assert new_round.state == RoundState.FAILED
    assert "exited with code 1" in new_round.error
    assert "error: no such codes" in new_round.error
    job = Job.objects.get(kind=JobKind.RUN_ROUND)
    assert (job.state, job.error) == (JobState.FAILED, new_round.error)


def test_a_trainer_killed_for_memory_costs_an_attempt_and_not_the_round(
    new_round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with(monkeypatch, "log(1, loss=0.7)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    carry_out("gpu", new_owner())
    new_round.refresh_from_db()
    job = Job.objects.get(kind=JobKind.RUN_ROUND)
    assert (job.state, job.attempts) == (JobState.QUEUED, 1)
    assert "memory ran out" in job.error
    assert new_round.state == RoundState.TRAINING
    assert list(new_round.metrics.values_list("step", flat=True)) == [1]

    Job.objects.filter(pk=job.pk).update(attempts=2, not_before=None)
    carry_out("gpu", new_owner())
    new_round.refresh_from_db()
    assert new_round.state == RoundState.FAILED
    assert "memory ran out" in new_round.error


def test_a_trainer_without_a_result_fails_the_round(
    new_round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with(monkeypatch, "log(3, loss=0.1)\n")
    carry_out("gpu", new_owner())
    new_round.refresh_from_db()
    assert new_round.state == RoundState.FAILED
    assert "without a result" in new_round.error


def test_a_cancelled_round_lets_its_trainer_save_and_ends(
    new_round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with(
        monkeypatch,
        "def save(*_):\n"
        "    (folder / 'saved').touch()\n"
        "    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "log(1, loss=0.7)\n"
        "time.sleep(60)\n",
    )
    job, lease = claim(new_round)

    def record_then_cancel(**fields: object) -> None:
        record_round_metric(**fields)  # type: ignore[arg-type]
        cancel_round(round=new_round, actor=None)

    monkeypatch.setattr(training, "record_round_metric", record_then_cancel)
    started = time.monotonic()
    carry_out_job(job, lease)
    assert time.monotonic() - started < 20
    assert (run_folder(new_round) / "saved").exists()
    new_round.refresh_from_db()
    job.refresh_from_db()
    assert (new_round.state, job.state) == (RoundState.CANCELLED, JobState.CANCELLED)


def test_who_lost_the_lease_kills_the_trainer_without_letting_it_save(
    new_round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with(
        monkeypatch,
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "log(1, loss=0.7)\n"
        "time.sleep(60)\n"
        "(folder / 'saved').touch()\n",
    )
    job, lease = claim(new_round)

    def record_then_lose(**fields: object) -> None:
        record_round_metric(**fields)  # type: ignore[arg-type]
        Job.objects.filter(pk=job.pk).update(owner="another worker")

    monkeypatch.setattr(training, "record_round_metric", record_then_lose)
    started = time.monotonic()
    carry_out_job(job, lease)
    assert time.monotonic() - started < 10
    assert not (run_folder(new_round) / "saved").exists()
    new_round.refresh_from_db()
    assert new_round.state == RoundState.TRAINING


def test_the_run_folder_holds_the_very_bytes_that_were_hashed(
    new_round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with(monkeypatch, "print('hello'); sys.exit(1)\n")
    carry_out("gpu", new_owner())
    folder = run_folder(new_round)
    content = (folder / PREFERENCES_FILE).read_bytes()
    assert hashlib.sha256(content).hexdigest() == new_round.dataset_sha256
    run = json.loads((folder / "run.json").read_text())
    assert run["parent_hash"] == new_round.base_checkpoint.content_hash
    assert run["config"] == {"n_epochs": 1}
    assert (folder / LOG_FILE).read_text().strip() == "hello"


def test_a_reward_model_reads_clips_by_the_sites_encoder(settings: LazySettings) -> None:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    base = add_tiny_checkpoint()
    round = create_round(
        study=create_rated_study(), base_checkpoint=base, method="reward", config={"n_members": 2}
    )
    for _ in range(2):  # another attempt finds the link of the first
        folder = write_run_folder(round)
    run = json.loads((folder / "run.json").read_text())
    assert run["config"] == {"n_members": 2, "encoder": "encoder"}
    assert (folder / "encoder").resolve() == Path(settings.ATTUNE_ENCODER).resolve()
    assert round.config == {"n_members": 2}


def test_a_stored_result_replaces_a_left_over_of_its_name(tmp_path: Path) -> None:
    result = tmp_path / "result"
    result.mkdir()
    (result / "card.json").write_text("first")
    stored = store_result(result, name="round-1")
    (result / "card.json").write_text("second")
    assert store_result(result, name="round-1") == stored
    assert (stored / "card.json").read_text() == "second"
    assert [path.name for path in stored.parent.iterdir()] == ["round-1"]


def test_a_trainer_that_saved_and_stopped_unasked_goes_on_later(
    new_round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with(monkeypatch, "sys.exit(75)\n")
    carry_out("gpu", new_owner())
    job = Job.objects.get(kind=JobKind.RUN_ROUND)
    assert (job.state, job.attempts) == (JobState.QUEUED, 1)


def test_a_trainer_out_of_memory_fails_the_attempt_with_its_advice_and_not_the_worker(
    new_round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with(
        monkeypatch,
        "print('error: out of memory: set batch_pairs to 8 (it is 16)', file=sys.stderr)\n"
        "sys.exit(76)\n",
    )
    carry_out("gpu", new_owner())
    job = Job.objects.get(kind=JobKind.RUN_ROUND)
    assert (job.state, job.attempts) == (JobState.QUEUED, 1)
    assert "set batch_pairs to 8" in job.error
    assert "gradient_checkpointing" in job.error
    Job.objects.filter(pk=job.pk).update(attempts=2, not_before=None)
    carry_out("gpu", new_owner())
    new_round.refresh_from_db()
    assert new_round.state == RoundState.FAILED
    assert "set batch_pairs to 8" in new_round.error


def test_samples_are_decoded_beside_the_training_and_recorded_with_memory(
    new_round: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with(
        monkeypatch,
        "import numpy\n"
        "(folder / 'samples').mkdir(exist_ok=True)\n"
        "name = 'samples/step-1-0.npy'\n"
        "numpy.save(folder / name, numpy.zeros((4, 25), 'int16'))\n"
        "broken = 'samples/step-1-1.npy'\n"
        "(folder / broken).touch()\n"  # as a machine leaves it that lost its power
        "line = {'step': 1, 'prompt': 'a waltz', 'seed': 7, 'codes': name}\n"
        "(folder / 'samples.jsonl').write_text(json.dumps(line) + '\\n')\n"
        "log(1, loss=0.7, memory_mb=321.0, samples=[name, '../../outside.npy', broken])\n"
        "sys.exit(1)\n",
    )
    carry_out("gpu", new_owner())
    assert "exited with code 1" in Job.objects.get(kind=JobKind.RUN_ROUND).error
    sample = RoundSample.objects.get()
    assert (sample.step, sample.number, sample.prompt, sample.seed) == (1, 0, "a waltz", 7)
    assert sample.duration_s == 1.0
    file = sample_file(sample)
    assert file is not None
    assert soundfile.info(file).frames == 16_000
    detail = get_round_detail(new_round)
    assert detail.peak_memory_mb == 321.0
    assert detail.samples == [sample]
    assert "samples" not in detail.metrics[0].values
    new_round.refresh_from_db()
    assert new_round.device.startswith("CPU with ")
    # Another attempt finds the sound that is there.
    written_at = file.stat().st_mtime_ns
    folder = run_folder(new_round)
    with training.SampleDecoder(new_round, folder, folder / "no codec") as again:
        again.take(1, ["samples/step-1-0.npy"])
        assert again.record_ready(wait=True) == 1
    assert file.stat().st_mtime_ns == written_at
