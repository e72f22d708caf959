"""`manage.py align`: refusals, progress and exit codes."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from attune.ratings.choices import Choice
from attune.rounds.management.commands import align
from attune.rounds.models import Round, RoundState
from attune.rounds.services import (
    cancel_round,
    fail_round,
    finish_gate,
    publish_checkpoint,
    record_evaluation,
    record_round_metric,
    start_training,
)
from tests.unit.attune.rated import PASSING_FIGURES, RatedStudy, rated_study, write_checkpoint

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(tmp_path: Path, settings: Any) -> RatedStudy:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    return rated_study(tmp_path)


def run(*words: str) -> str:
    stdout = io.StringIO()
    call_command("align", "--study", "first", *words, stdout=stdout)
    return stdout.getvalue()


class Worker:
    """Does one step of the newest round's work whenever the command pauses."""

    def __init__(self, *steps: Callable[[Round], object]) -> None:
        self.steps = list(steps)

    def __call__(self, _pause_s: float) -> None:
        assert self.steps, "the command waits for a round that has ended"
        self.steps.pop(0)(Round.objects.latest("pk"))


def train(round: Round) -> None:
    start_training(round=round)
    record_round_metric(round=round, step=1, n_steps=2, values={"loss": 0.75, "margin": 0.0})


def log_the_end(round: Round) -> None:
    values = {"loss": 0.5, "margin": 0.00125, "accuracy": 0.875, "eta_s": 0.0}
    record_round_metric(round=round, step=2, n_steps=2, values=values)
    record_round_metric(round=round, step=2, n_steps=2, values={"held_out_accuracy": 0.625})


def publish(folder: Path) -> Callable[[Round], object]:
    def publish_round(round: Round) -> None:
        written = write_checkpoint(
            folder / "aligned", name="aligned", kind="adapter", parent=round.base_checkpoint
        )
        publish_checkpoint(round=round, folder=written, summary={})

    return publish_round


def judge(**figures: float) -> Callable[[Round], object]:
    def judge_round(round: Round) -> None:
        for check_name, figure in {**PASSING_FIGURES, **figures}.items():
            record_evaluation(round=round, check_name=check_name, figure=figure)
        finish_gate(round=round)

    return judge_round


def test_too_few_preferences_are_refused_with_the_number_missing_and_code_1(
    world: RatedStudy,
) -> None:
    world.rate_pairs([Choice.A] * 3)
    with pytest.raises(CommandError, match="3 usable preferences, 8 needed: 5 more") as caught:
        run()
    assert caught.value.returncode == 1


def test_the_refusal_is_written_to_stderr_by_the_command_line(
    world: RatedStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    world.rate_pairs([Choice.A] * 3)
    with pytest.raises(SystemExit) as caught:
        align.Command().run_from_argv(["manage.py", "align", "--study", "first", "--skip-checks"])
    assert caught.value.code == 1
    printed = capsys.readouterr()
    assert "5 more are needed" in printed.err
    assert printed.out == ""


def test_without_wait_it_starts_the_round_and_returns(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    printed = run("--base", "base", "--set", "n_epochs=1", "--set", "learning_rate=0.001")
    round = Round.objects.get()
    assert round.state == RoundState.FROZEN
    assert round.config == {"n_epochs": 1, "learning_rate": 0.001}
    assert f"round {round.name}: {round.counts['train']} preferences to train on" in printed
    assert round.dataset_sha256[:12] in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--base", "gone"], "no checkpoint 'gone'; there are: base"),
        (["--set", "speed=1"], "unknown setting 'speed'"),
        (["--set", "speed"], "expected key=value"),
    ],
)
def test_what_is_wrong_is_named_with_what_there_is(
    world: RatedStudy, words: list[str], message: str
) -> None:
    world.rate_pairs([Choice.A] * 8)
    with pytest.raises(CommandError, match=message):
        run(*words)
    assert not Round.objects.exists()


def test_an_unknown_study_is_named_with_the_known_ones(world: RatedStudy) -> None:
    with pytest.raises(CommandError, match="no study 'second'; there are: first"):
        call_command("align", "--study", "second")


def test_waiting_prints_steps_checkpoint_checks_and_the_way_into_rotation(
    world: RatedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.rate_pairs([Choice.A] * 8)
    worker = Worker(train, log_the_end, publish(world.folder), judge())
    monkeypatch.setattr("time.sleep", worker)
    printed = run("--wait")
    lines = [line.strip() for line in printed.splitlines()]
    expected = [
        "waiting for a worker",
        "training",
        "step 1/2  loss 0.75  margin 0",
        "step 2/2  loss 0.5  margin 0.00125  accuracy 0.875  held-out-accuracy 0.625  "
        "about 0 s left",
        "trained; the gate is measuring",
        "round done",
        "checkpoint aligned",
    ]
    assert lines[1 : 1 + len(expected)] == expected
    assert sum(line.startswith("passed") for line in lines) == len(PASSING_FIGURES)
    assert lines[-1].startswith("aligned entered rotation as a canary")


def test_a_gate_that_fails_ends_with_code_5_and_its_reason(
    world: RatedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.rate_pairs([Choice.A] * 8)
    worker = Worker(train, publish(world.folder), judge(silence=0.5))
    monkeypatch.setattr("time.sleep", worker)
    with pytest.raises(CommandError, match="silence: share of silent clips") as caught:
        run("--wait")
    assert caught.value.returncode == 5


def test_a_failed_round_ends_with_code_3_and_a_cancelled_one_with_4(
    world: RatedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.rate_pairs([Choice.A] * 8)
    fail = Worker(train, lambda round: fail_round(round=round, error="out of memory"))
    monkeypatch.setattr("time.sleep", fail)
    with pytest.raises(CommandError, match="out of memory") as failed:
        run("--wait")
    cancel = Worker(train, lambda round: cancel_round(round=round, actor=None))
    monkeypatch.setattr("time.sleep", cancel)
    with pytest.raises(CommandError, match="Cancelled") as cancelled:
        run("--wait")
    assert (failed.value.returncode, cancelled.value.returncode) == (3, 4)


def test_ctrl_c_leaves_the_round_running_and_says_so(
    world: RatedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_round: Round) -> None:
        raise KeyboardInterrupt

    world.rate_pairs([Choice.A] * 8)
    monkeypatch.setattr("time.sleep", Worker(train, interrupt))
    with pytest.raises(CommandError, match="goes on") as caught:
        run("--wait")
    assert caught.value.returncode == 130
    assert Round.objects.get().state == RoundState.TRAINING
