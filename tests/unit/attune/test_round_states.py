"""How rounds start, log, are cancelled and closed."""

import pytest

from attune.jobs.models import Job, JobState
from attune.ratings.choices import Choice
from attune.rounds.errors import (
    RoundStateError,
)
from attune.rounds.models import RoundState
from attune.rounds.selectors import (
    get_round_detail,
)
from attune.rounds.services import (
    cancel_round,
    close_abandoned_rounds,
    fail_round,
    publish_checkpoint,
    record_round_metric,
    start_training,
)
from tests.unit.attune.rated import RatedStudy, write_checkpoint
from tests.unit.attune.started import start

pytestmark = pytest.mark.django_db


def test_starting_twice_is_harmless_and_an_ended_round_does_not_start(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    round = start(world)
    assert start_training(round=round)
    started_at = round.started_at
    assert start_training(round=round)
    assert (round.state, round.started_at) == (RoundState.TRAINING, started_at)
    fail_round(round=round, error="no memory")
    assert not start_training(round=round)
    assert round.state == RoundState.FAILED


def test_a_step_logged_twice_is_one_metric_and_keeps_all_its_values(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    round = start(world)
    record_round_metric(round=round, step=1, n_steps=9, values={"loss": 0.7})
    record_round_metric(round=round, step=1, n_steps=9, values={"loss": 0.69, "margin": 0.0})
    record_round_metric(round=round, step=1, n_steps=9, values={"held_out_accuracy": 0.5})
    record_round_metric(round=round, step=2, n_steps=9, values={"loss": float("nan")})
    detail = get_round_detail(round)
    assert [metric.step for metric in detail.metrics] == [1, 2]
    assert detail.metrics[0].values == {"loss": 0.69, "margin": 0.0, "held_out_accuracy": 0.5}
    assert detail.series("loss") == [(1, 0.69)], "a loss that is no number is not drawn"
    assert detail.latest_metric == detail.metrics[1]


def test_a_cancelled_round_keeps_what_it_has_and_stops_its_job(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    round = start(world)
    record_round_metric(round=round, step=1, n_steps=9, values={"loss": 0.7})
    cancel_round(round=round, actor=world.rater().user)
    assert round.state == RoundState.CANCELLED
    assert world.rater().user.get_username() in round.outcome
    assert round.finished_at is not None
    assert (round.metrics.count(), round.preferences.count()) == (1, 8)
    assert Job.objects.get().state == JobState.CANCELLED
    with pytest.raises(RoundStateError, match="is cancelled already"):
        cancel_round(round=round, actor=None)
    folder = write_checkpoint(world.folder / "late", name="late", kind="adapter", parent=world.base)
    with pytest.raises(RoundStateError, match="is cancelled, not training"):
        publish_checkpoint(round=round, folder=folder, summary={})


def test_a_round_whose_job_ended_without_it_is_closed_with_the_jobs_error(
    world: RatedStudy,
) -> None:
    world.rate_pairs([Choice.A] * 8)
    round = start(world)
    assert close_abandoned_rounds() == 0
    Job.objects.update(state=JobState.FAILED, error="the worker was lost")
    assert close_abandoned_rounds() == 1
    round.refresh_from_db()
    assert (round.state, round.error) == (RoundState.FAILED, "the worker was lost")
    assert close_abandoned_rounds() == 0


def test_a_round_whose_job_was_cancelled_elsewhere_is_cancelled(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    round = start(world)
    Job.objects.update(state=JobState.CANCELLED)
    assert close_abandoned_rounds() == 1
    round.refresh_from_db()
    assert round.state == RoundState.CANCELLED
