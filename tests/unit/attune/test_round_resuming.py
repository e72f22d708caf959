"""Rounds that were cancelled or failed, and what lets them go on."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from alignment.progress import CHECKPOINT_PREFIX
from alignment.progress import COMPLETE_FILE as TRAINERS_COMPLETE_FILE
from alignment.runs import CHECKPOINTS_FOLDER as TRAINERS_CHECKPOINTS
from alignment.runs import RESULT_FOLDER as TRAINERS_RESULT
from attune.catalog.models import Checkpoint
from attune.jobs.models import Job, JobKind, JobState
from attune.ratings.choices import Choice
from attune.rounds.errors import RoundStateError
from attune.rounds.models import Round, RoundEventKind, RoundState
from attune.rounds.resuming import ResumePoint, ResumeStage, get_resumption
from attune.rounds.run_files import (
    CHECKPOINTS_FOLDER,
    COMPLETE_FILE,
    RESULT_FOLDER,
    find_saved_step,
    round_folder,
)
from attune.rounds.services import (
    cancel_round,
    create_round,
    fail_round,
    publish_checkpoint,
    queue_gate,
    record_round_metric,
    resume_round,
    start_training,
)
from tests.unit.attune.rated import RatedStudy, rated_study, write_checkpoint
from workers.settlement import settle_cancelled_job, settle_failed_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def round(tmp_path: Path, settings: Any) -> Round:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    world = rated_study(tmp_path)
    world.rate_pairs([Choice.A] * 10)
    return begin(world)


def begin(world: RatedStudy) -> Round:
    found = create_round(study=world.study, base_checkpoint=world.base)
    start_training(round=found)
    return found


def save(round: Round, step: int, *, is_whole: bool = True) -> None:
    place = round_folder(round) / CHECKPOINTS_FOLDER / f"{CHECKPOINT_PREFIX}{step}"
    place.mkdir(parents=True)
    if is_whole:
        (place / COMPLETE_FILE).touch()


def end_job(round: Round, state: JobState = JobState.CANCELLED) -> None:
    Job.objects.filter(pk=round.job_id).update(state=state, owner="", lease_until=None)
    round.refresh_from_db()


def cancel(round: Round, actor: User | None = None) -> None:
    cancel_round(round=round, actor=actor)
    end_job(round)


def test_the_trainers_names_of_its_saves_are_the_sites() -> None:
    assert (COMPLETE_FILE, CHECKPOINTS_FOLDER, RESULT_FOLDER) == (
        TRAINERS_COMPLETE_FILE,
        TRAINERS_CHECKPOINTS,
        TRAINERS_RESULT,
    )


def test_a_cancelled_round_goes_on_after_its_last_whole_save(
    round: Round, django_user_model: type[User]
) -> None:
    record_round_metric(round=round, step=23, n_steps=90, values={"loss": 0.6})
    for step, is_whole in ((10, True), (20, True), (30, False)):
        save(round, step, is_whole=is_whole)
    ada = django_user_model.objects.create_user("ada")
    cancel(round, ada)
    former = round.job
    found = get_resumption(round)
    assert found.point == ResumePoint(ResumeStage.TRAINING, 20, 90)
    assert found.is_possible

    resume_round(round=round, actor=ada)
    assert (round.state, round.error, round.outcome) == (RoundState.FROZEN, "", "")
    assert round.finished_at is None
    assert round.job is not None and round.job != former
    assert (round.job.kind, round.job.state) == (JobKind.RUN_ROUND, JobState.QUEUED)
    assert round.job.arguments == {"round": round.pk}
    told = [(event.kind, event.actor) for event in round.events.order_by("pk")]
    assert told == [(RoundEventKind.CANCELLED, ada), (RoundEventKind.RESUMED, ada)]
    assert "goes on after step 20 of 90" in round.events.latest("pk").sentence


def test_a_round_that_saved_nothing_cannot_be_resumed_and_says_what_to_do(round: Round) -> None:
    save(round, 10, is_whole=False)
    cancel(round)
    with pytest.raises(RoundStateError, match=r"before its first save.*start one like it"):
        resume_round(round=round, actor=None)
    assert round.state == RoundState.CANCELLED
    assert Job.objects.filter(kind=JobKind.RUN_ROUND).count() == 1


def test_a_running_or_finished_round_is_not_resumed(round: Round) -> None:
    save(round, 10)
    with pytest.raises(RoundStateError, match="is training: nothing is to be resumed"):
        resume_round(round=round, actor=None)


def test_while_the_training_is_still_ending_its_folder_is_not_given_to_another(
    round: Round,
) -> None:
    Job.objects.filter(pk=round.job_id).update(
        state=JobState.RUNNING, owner="a worker", lease_until="2030-01-01T00:00Z"
    )
    save(round, 10)
    round.refresh_from_db()
    cancel_round(round=round, actor=None)
    round.refresh_from_db()
    with pytest.raises(RoundStateError, match="still ending: it can be resumed in a few seconds"):
        resume_round(round=round, actor=None)
    end_job(round)
    resume_round(round=round, actor=None)


def test_a_failed_round_keeps_its_error_on_record_when_it_goes_on(round: Round) -> None:
    save(round, 10)
    fail_round(round=round, error="memory ran out")
    end_job(round, JobState.FAILED)
    resume_round(round=round, actor=None)
    assert round.error == ""
    assert [event.sentence for event in round.events.order_by("pk")] == [
        "memory ran out",
        "Resumed: its training goes on after step 10.",
    ]


def test_a_finished_training_is_only_published(round: Round) -> None:
    (round_folder(round) / RESULT_FOLDER).mkdir(parents=True)
    cancel(round)
    assert get_resumption(round).point == ResumePoint(ResumeStage.PUBLICATION)


def test_a_round_cancelled_in_its_gate_goes_through_the_gate_again(
    round: Round, tmp_path: Path
) -> None:
    folder = write_checkpoint(
        tmp_path / "aligned", name="aligned", kind="adapter", parent=round.base_checkpoint
    )
    publish_checkpoint(round=round, folder=folder, summary={})
    queue_gate(round=round)
    cancel(round)
    resume_round(round=round, actor=None)
    assert round.state == RoundState.EVALUATING
    assert round.job is not None and round.job.kind == JobKind.RUN_GATE


def test_the_members_that_a_reward_model_has_are_counted(round: Round) -> None:
    saves = round_folder(round) / CHECKPOINTS_FOLDER
    saves.mkdir(parents=True)
    assert find_saved_step(round) is None
    for name in ("member-0.json", "member-1.json", "member-2.json.partial"):
        (saves / name).touch()
    assert find_saved_step(round) == 2


def test_another_round_in_its_place_and_a_retired_base_are_named(round: Round) -> None:
    save(round, 10)
    cancel(round)
    create_round(study=round.study, base_checkpoint=round.base_checkpoint, name="other")
    with pytest.raises(RoundStateError, match="round other on base"):
        resume_round(round=round, actor=None)
    cancel_round(round=Round.objects.get(name="other"), actor=None)
    Checkpoint.objects.filter(pk=round.base_checkpoint_id).update(is_retired=True)
    round = Round.objects.get(pk=round.pk)
    with pytest.raises(RoundStateError, match="checkpoint base is retired"):
        resume_round(round=round, actor=None)


def test_the_end_of_a_former_job_is_nothing_to_a_resumed_round(round: Round) -> None:
    save(round, 10)
    cancel(round)
    former = round.job
    assert former is not None
    resume_round(round=round, actor=None)
    settle_cancelled_job(job=former)
    settle_failed_job(job=former, error="late news")
    round.refresh_from_db()
    assert (round.state, round.error) == (RoundState.FROZEN, "")
