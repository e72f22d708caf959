"""A round's candidate, and the gate's way into rotation."""

from pathlib import Path

import pytest

from attune.catalog.errors import RotationError
from attune.catalog.models import (
    Population,
    RotationAction,
    RotationEntry,
    RotationEvent,
    RotationRole,
)
from attune.catalog.services import enter_rotation
from attune.jobs.models import JobKind, JobState
from attune.ratings.choices import Choice
from attune.rounds.errors import (
    BaseCheckpointError,
    RoundStateError,
)
from attune.rounds.gate import CHECKS
from attune.rounds.models import Evaluation, RoundState, Verdict
from attune.rounds.selectors import (
    get_round_detail,
    has_entered_rotation,
    rounds,
)
from attune.rounds.services import (
    cancel_round,
    finish_gate,
    publish_checkpoint,
    queue_gate,
    record_evaluation,
    start_training,
)
from tests.unit.attune.rated import PASSING_FIGURES, RatedStudy, write_checkpoint
from tests.unit.attune.started import pass_gate, start, trained_round

pytestmark = pytest.mark.django_db


def test_cancelling_reaches_the_job_of_the_gate(world: RatedStudy) -> None:
    round = trained_round(world)
    job = queue_gate(round=round)
    round.refresh_from_db()
    assert round.job == job
    cancel_round(round=round, actor=None)
    job.refresh_from_db()
    assert (job.kind, job.state) == (JobKind.RUN_GATE, JobState.CANCELLED)
    assert round.produced_checkpoint is not None, "what exists is kept"
    assert not has_entered_rotation(round)


def test_a_published_checkpoint_is_a_candidate_outside_rotation(world: RatedStudy) -> None:
    round = trained_round(world)
    assert round.state == RoundState.EVALUATING
    checkpoint = round.produced_checkpoint
    assert checkpoint is not None
    assert (checkpoint.name, checkpoint.parent) == ("aligned", world.base)
    assert not checkpoint.is_simulated
    assert not RotationEntry.objects.filter(checkpoint=checkpoint).exists()
    again = publish_checkpoint(
        round=round, folder=world.folder / "aligned", summary={"loss": float("inf")}
    )
    assert again == checkpoint
    assert round.summary == {"loss": None}


def test_a_candidate_that_passes_every_check_enters_rotation_by_itself(world: RatedStudy) -> None:
    round = trained_round(world)
    assert pass_gate(round)
    entry = RotationEntry.objects.get(checkpoint=round.produced_checkpoint)
    assert (entry.role, entry.share, entry.population) == (RotationRole.CANARY, 0.1, "people")
    event = RotationEvent.objects.get(checkpoint=round.produced_checkpoint)
    assert (event.action, event.actor) == (RotationAction.ENTER, None)
    assert round.name in event.reason
    assert (round.state, round.finished_at is not None) == (RoundState.DONE, True)
    assert "entered rotation as a canary for 10% of new clips" in round.outcome
    assert get_round_detail(round).rotation_event == event
    assert finish_gate(round=round), "a second call changes nothing"
    assert RotationEvent.objects.filter(checkpoint=round.produced_checkpoint).count() == 1


@pytest.mark.parametrize(
    ("check_name", "figure"),
    [
        ("integrity", 0.75),
        ("finite", 0.9),
        ("silence", 0.1),
        ("clipping", 0.02),
        ("duration", 0.4),
        ("held_out_accuracy", 0.45),
        ("held_out_accuracy", None),
        ("chosen_nll", 0.5),
        ("distribution", 2.5),
        ("loudness_shift", 3.0),
        ("embedding_diversity", 0.6),
        ("diversity", 0.5),
        ("diversity", None),
        ("diversity", float("nan")),
    ],
)
def test_one_check_that_did_not_pass_keeps_the_candidate_out_with_its_reason(
    world: RatedStudy, check_name: str, figure: float | None
) -> None:
    round = trained_round(world)
    assert not pass_gate(round, **{check_name: figure})
    assert round.state == RoundState.DONE
    assert check_name in round.outcome
    assert "stays out" in round.outcome
    assert not has_entered_rotation(round)
    verdicts = dict(round.evaluations.values_list("check_name", "verdict"))
    expected = Verdict.NOT_MEASURED if figure is None else Verdict.FAILED
    assert verdicts.pop(check_name) == expected
    assert f"stays out of rotation. {expected.label.capitalize()}: " in round.outcome
    assert set(verdicts.values()) == {Verdict.PASSED}


def test_a_check_that_nobody_made_lets_nothing_through(world: RatedStudy) -> None:
    round = trained_round(world)
    for check_name, figure in PASSING_FIGURES.items():
        if check_name != "silence":
            record_evaluation(round=round, check_name=check_name, figure=figure)
    assert not finish_gate(round=round)
    assert "share of silent clips was not measured" in round.outcome
    assert set(round.evaluations.values_list("check_name", flat=True)) == set(CHECKS)


def test_an_evaluation_repeated_replaces_the_first(world: RatedStudy) -> None:
    round = trained_round(world)
    record_evaluation(round=round, check_name="silence", figure=0.5)
    record_evaluation(round=round, check_name="silence", figure=0.0, details={"n_clips": 8})
    evaluation = Evaluation.objects.get()
    assert (evaluation.verdict, evaluation.details) == (Verdict.PASSED, {"n_clips": 8})


def test_the_studys_gate_moves_thresholds_and_share(world: RatedStudy) -> None:
    world.study.gate = {"diversity": 0.4, "canary_share": 0.25}
    world.study.save()
    round = trained_round(world)
    assert pass_gate(round, diversity=0.5)
    assert RotationEntry.objects.get(checkpoint=round.produced_checkpoint).share == 0.25


def test_the_gate_cannot_end_before_a_checkpoint_is_published(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    round = start(world)
    with pytest.raises(RoundStateError, match="is frozen, not evaluating"):
        finish_gate(round=round)


def test_a_rehearsals_checkpoint_is_simulated_and_enters_only_the_rehearsal(
    rehearsal: RatedStudy,
) -> None:
    round = trained_round(rehearsal)
    checkpoint = round.produced_checkpoint
    assert checkpoint is not None
    assert checkpoint.is_simulated
    assert pass_gate(round)
    entry = RotationEntry.objects.get(checkpoint=checkpoint)
    assert (entry.population, entry.share) == ("rehearsal", 0.5)
    with pytest.raises(RotationError, match="simulated"):
        enter_rotation(
            checkpoint=checkpoint, population="people", role="canary", share=0.1, reason="By hand."
        )


def test_nothing_simulated_is_ever_the_base_of_a_peoples_round(
    world: RatedStudy, tmp_path: Path
) -> None:
    world.rate_pairs([Choice.A] * 8)
    world.base.is_simulated = True
    world.base.save()
    with pytest.raises(BaseCheckpointError, match="simulated ratings"):
        start(world)


def test_a_refusal_of_the_rotation_ends_the_round_with_its_reason(world: RatedStudy) -> None:
    round = trained_round(world)
    assert round.produced_checkpoint is not None
    round.produced_checkpoint.is_simulated = True
    round.produced_checkpoint.save()
    assert not pass_gate(round)
    assert round.state == RoundState.DONE
    assert "passed the gate but stays out" in round.outcome
    assert not finish_gate(round=round)


def test_a_repeat_of_a_cancelled_round_publishes_the_same_weights_as_its_own(
    world: RatedStudy,
) -> None:
    first = trained_round(world)
    cancel_round(round=first, actor=None)
    second = start(world)
    start_training(round=second)
    folder = write_checkpoint(
        world.folder / "repeat", name="repeat", kind="adapter", parent=world.base, content="aligned"
    )
    publish_checkpoint(round=second, folder=folder, summary={})
    one, other = first.produced_checkpoint, second.produced_checkpoint
    assert one is not None
    assert other is not None
    assert one.content_hash == other.content_hash
    assert (one.name, other.name) == ("aligned", "repeat")
    assert pass_gate(second)
    assert not RotationEntry.objects.filter(checkpoint=one).exists()


def test_rounds_are_listed_newest_first(world: RatedStudy, rehearsal: RatedStudy) -> None:
    first = trained_round(world)
    pass_gate(first)
    second = start(world)
    assert list(rounds(population=Population.PEOPLE)) == [second, first]
    assert list(rounds(study=rehearsal.study)) == []
