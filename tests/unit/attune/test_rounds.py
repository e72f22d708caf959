"""Freezing a round, its states, its candidate, and the gate's way into rotation."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from attune.catalog.errors import RotationError
from attune.catalog.models import (
    Clip,
    Population,
    Prompt,
    RotationAction,
    RotationEntry,
    RotationEvent,
    RotationRole,
)
from attune.catalog.services import enter_rotation, retire_checkpoint, roll_back_checkpoint
from attune.jobs.models import Job, JobKind, JobQueue, JobState
from attune.ratings.choices import Choice
from attune.ratings.errors import RatingFrozenError
from attune.ratings.models import Rating
from attune.ratings.services import change_rating
from attune.rounds.dataset import dataset_bytes, dataset_sha256, export_preferences
from attune.rounds.errors import (
    BaseCheckpointError,
    ConfigError,
    DatasetError,
    NotEnoughPreferences,
    RoundError,
    RoundRunningError,
    RoundStateError,
)
from attune.rounds.gate import CHECKS
from attune.rounds.models import Evaluation, Round, RoundPreference, RoundState, Split, Verdict
from attune.rounds.preflight import preflight
from attune.rounds.selectors import (
    find_default_base,
    get_round_detail,
    has_entered_rotation,
    rounds,
)
from attune.rounds.services import (
    cancel_round,
    close_abandoned_rounds,
    create_round,
    fail_round,
    finish_gate,
    publish_checkpoint,
    queue_gate,
    record_evaluation,
    record_round_metric,
    start_training,
)
from tests.factories import make_melody
from tests.unit.attune.rated import PASSING_FIGURES, RatedStudy, rated_study, write_checkpoint

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _few_preferences_are_enough(settings: Any) -> None:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8


@pytest.fixture
def world(tmp_path: Path) -> RatedStudy:
    return rated_study(tmp_path)


@pytest.fixture
def rehearsal(tmp_path: Path) -> RatedStudy:
    return rated_study(tmp_path, population=Population.REHEARSAL, slug="rehearsal")


def start(world: RatedStudy, **fields: Any) -> Round:
    return create_round(study=world.study, base_checkpoint=world.base, **fields)


def trained_round(world: RatedStudy, *, name: str = "aligned") -> Round:
    """A round whose checkpoint is published and waits for its gate."""
    world.rate_pairs([Choice.A] * 10)
    round = start(world)
    start_training(round=round)
    folder = write_checkpoint(
        world.folder / name, name=name, kind="adapter", parent=round.base_checkpoint
    )
    publish_checkpoint(round=round, folder=folder, summary={"loss": 0.6})
    return round


def pass_gate(round: Round, **figures: float | None) -> bool:
    for check_name, figure in {**PASSING_FIGURES, **figures}.items():
        record_evaluation(round=round, check_name=check_name, figure=figure)
    return finish_gate(round=round)


# --- Before a round starts


def test_a_round_with_too_few_preferences_is_refused_with_the_number_missing(
    world: RatedStudy,
) -> None:
    world.rate_pairs([Choice.A] * 5 + [Choice.TIE] * 4 + [Choice.BOTH_BAD] * 3)
    with pytest.raises(NotEnoughPreferences, match="3 more are needed") as caught:
        start(world)
    assert (caught.value.n_usable, caught.value.n_needed, caught.value.n_missing) == (5, 8, 3)
    assert caught.value.counts["ties"] == 4
    assert not Round.objects.exists()
    assert not Rating.objects.filter(is_frozen=True).exists()


def test_one_missing_preference_is_said_in_the_singular(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 7)
    with pytest.raises(NotEnoughPreferences, match="1 more is needed"):
        start(world)


def test_a_retired_or_rolled_back_base_is_refused(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    other = world.add_checkpoint("other")
    with pytest.raises(BaseCheckpointError, match="other is not in the rotation for people"):
        create_round(study=world.study, base_checkpoint=other)
    enter_rotation(
        checkpoint=other, population="people", role="canary", share=0.1, reason="A trial."
    )
    roll_back_checkpoint(checkpoint=other, population="people", reason="Worse.")
    with pytest.raises(BaseCheckpointError, match="in it are base"):
        create_round(study=world.study, base_checkpoint=other)
    retire_checkpoint(checkpoint=other, population="people", reason="Worse.")
    other.refresh_from_db()
    with pytest.raises(BaseCheckpointError, match="other is retired"):
        create_round(study=world.study, base_checkpoint=other)


def test_a_second_round_on_the_same_base_and_study_waits_for_the_first(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    first = start(world)
    with pytest.raises(RoundRunningError, match=first.name):
        start(world)
    cancel_round(round=first, actor=None)
    assert start(world).name != first.name


def test_the_database_itself_keeps_one_running_round(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    first = start(world)
    with pytest.raises(IntegrityError), transaction.atomic():
        Round.objects.create(
            name="another",
            study=world.study,
            population=first.population,
            method="dpo",
            base_checkpoint=world.base,
        )


def test_wrong_settings_and_methods_are_refused_before_anything_is_frozen(
    world: RatedStudy,
) -> None:
    world.rate_pairs([Choice.A] * 8)
    with pytest.raises(ConfigError, match="unknown setting 'speed'"):
        start(world, config={"speed": 1})
    with pytest.raises(RoundError, match="unknown method 'ppo'; known are dpo"):
        start(world, method="ppo")
    with pytest.raises(RoundError, match="'base' is taken"):
        start(world, name="base")
    for name in ("", "../base", "a/b", ".hidden", "x" * 121):
        with pytest.raises(RoundError, match="a round's name has 1 to 120 letters"):
            start(world, name=name)
    assert not Rating.objects.filter(is_frozen=True).exists()


def test_preferences_on_held_out_prompts_alone_cannot_train(world: RatedStudy) -> None:
    for _ in range(8):
        world.rate(world.add_pair(prompt=world.add_prompt(is_held_out=True)))
    with pytest.raises(RoundError, match="all 8 preferences are on held-out prompts"):
        start(world)


def test_preflight_shows_the_numbers_and_every_reason(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 5)
    found = preflight(world.study, world.base)
    assert (found.n_usable, found.n_needed, found.n_missing) == (5, 8, 3)
    assert found.refusals == ("5 usable preferences, 8 needed: 3 more are needed",)
    assert not found.can_start
    world.rate_pairs([Choice.B] * 3)
    assert preflight(world.study, world.base).can_start
    round = start(world)
    assert round.name in preflight(world.study, world.base).refusals[0]


def test_the_default_base_is_the_one_with_most_usable_preferences(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 2)
    other = world.add_checkpoint("other")
    for _ in range(3):
        world.rate(world.add_pair(other, other))
    assert find_default_base(world.study) == world.base, "other is not in rotation"
    enter_rotation(
        checkpoint=other, population="people", role="canary", share=0.1, reason="A trial."
    )
    assert find_default_base(world.study) == other


# --- The freeze


def test_a_round_freezes_preferences_counts_config_and_a_job(world: RatedStudy) -> None:
    ratings = world.rate_pairs([Choice.A, Choice.B] * 6 + [Choice.TIE])
    off_policy = world.rate(world.add_pair(world.base, world.add_checkpoint("other")))
    round = start(world, config={"n_epochs": 2})
    assert round.state == RoundState.FROZEN
    assert round.name == "first-dpo-1"
    assert round.config == {"n_epochs": 2}
    assert round.population == "people"
    assert round.counts["usable"] == 12
    assert round.counts["ties"] == round.counts["judging"] == 1
    assert round.counts["train"] == round.preferences.filter(split=Split.TRAIN).count() < 12
    assert round.job is not None
    assert (round.job.kind, round.job.queue) == (JobKind.RUN_ROUND, JobQueue.DEVICE)
    assert round.job.arguments == {"round": round.pk}
    frozen = set(Rating.objects.filter(is_frozen=True).values_list("pk", flat=True))
    assert frozen == {rating.pk for rating in ratings}
    assert off_policy.pk not in frozen


def test_a_preference_names_the_clip_that_was_preferred(world: RatedStudy) -> None:
    pairs = [world.add_pair() for _ in range(8)]
    for pair in pairs[:4]:
        world.rate(pair, Choice.A, is_swapped=True)
    for pair in pairs[4:]:
        world.rate(pair, Choice.A)
    round = start(world)
    for pair in pairs:
        preference = RoundPreference.objects.get(round=round, pair=pair)
        chosen = pair.second_clip if pair in pairs[:4] else pair.first_clip
        assert preference.chosen_clip == chosen


def test_the_export_is_hashed_and_a_later_change_of_a_rating_leaves_it_alone(
    world: RatedStudy,
) -> None:
    ratings = world.rate_pairs([Choice.A] * 9)
    round = start(world)
    rows = export_preferences(round)
    before = dataset_bytes(rows)
    assert dataset_sha256(rows) == round.dataset_sha256
    # Straight to the table, past the service that would refuse a frozen rating.
    Rating.objects.filter(pk=ratings[0].pk).update(choice=Choice.B)
    Rating.objects.filter(pk=ratings[1].pk).update(choice=Choice.TIE)
    world.rate_pairs([Choice.B] * 5)
    assert dataset_bytes(export_preferences(round)) == before


def test_a_rater_can_change_a_rating_until_a_round_has_frozen_it(world: RatedStudy) -> None:
    ratings = world.rate_pairs([Choice.A] * 8)
    answer: dict[str, Any] = {
        "rater": world.rater(),
        "choice": Choice.B,
        "strength": None,
        "now": timezone.now(),
    }
    change_rating(rating_id=ratings[0].pk, **answer)
    round = start(world)
    chosen = RoundPreference.objects.get(round=round, pair=ratings[0].pair).chosen_clip
    assert chosen == ratings[0].pair.second_clip
    with pytest.raises(RatingFrozenError):
        change_rating(rating_id=ratings[1].pk, **answer)


def test_the_export_has_one_canonical_line_per_pair_in_pair_order(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 9)
    round = start(world)
    rows = export_preferences(round)
    assert [row["pair"] for row in rows] == sorted(row["pair"] for row in rows)
    line = dataset_bytes(rows).splitlines()[0]
    assert json.loads(line) == rows[0]
    assert set(rows[0]) == {
        *("pair", "prompt", "header", "duration_s", "chosen", "rejected"),
        *("chosen_sha256", "rejected_sha256", "weight", "split"),
        *("outcome", "counts", "raters"),
    }
    assert (rows[0]["weight"], rows[0]["duration_s"], rows[0]["header"]) == (1.0, 2.0, [1, 2, 3])
    assert {row["split"] for row in rows} == {"train", "held_out"}


def test_a_weight_of_two_thirds_is_the_same_text_after_the_database(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    pair = world.add_pair()
    for rater, choice in enumerate("AAAAAB"):
        world.rate(pair, choice, rater=rater)
    round = start(world)
    weights = {row["pair"]: row["weight"] for row in export_preferences(round)}
    assert weights[pair.pk] == 0.666667


def test_a_changed_clip_is_noticed_at_export(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    round = start(world)
    Clip.objects.update(codes_sha256="0" * 64)
    with pytest.raises(DatasetError, match=round.dataset_sha256):
        export_preferences(round)


def test_ratings_of_the_other_population_never_enter(rehearsal: RatedStudy) -> None:
    rehearsal.rate_pairs([Choice.A] * 8)
    Rating.objects.update(is_simulated=False)
    with pytest.raises(NotEnoughPreferences) as caught:
        start(rehearsal)
    assert caught.value.counts["other_population"] == 8


def test_a_pair_whose_clips_were_conditioned_differently_is_left_out(world: RatedStudy) -> None:
    ratings = world.rate_pairs([Choice.A] * 9)
    Clip.objects.filter(pk=ratings[0].pair.second_clip_id).update(header=[1, 2, 4])
    round = start(world)
    assert (round.counts["usable"], round.counts["unequal_header"]) == (8, 1)


def test_a_pair_that_follows_a_recording_is_left_out_and_counted(world: RatedStudy) -> None:
    ratings = world.rate_pairs([Choice.A] * 9)
    Prompt.objects.filter(pk=ratings[0].pair.prompt_id).update(melody=make_melody())
    n_followed = sum(rating.pair.prompt_id == ratings[0].pair.prompt_id for rating in ratings)
    found = preflight(world.study, world.base)
    assert n_followed >= 1
    assert (found.n_usable, found.counts["follows_melody"]) == (9 - n_followed, n_followed)


def test_a_withdrawn_rater_is_left_out_and_counted(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    world.rate(world.add_pair(), rater=1)
    rater = world.rater(1)
    rater.withdrawn_at = rater.created_at
    rater.save()
    round = start(world)
    assert (round.counts["usable"], round.counts["withdrawn_rater"]) == (8, 1)


# --- While it runs


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


# --- What comes out


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
def test_one_failed_check_keeps_the_candidate_out_with_its_reason(
    world: RatedStudy, check_name: str, figure: float | None
) -> None:
    round = trained_round(world)
    assert not pass_gate(round, **{check_name: figure})
    assert round.state == RoundState.DONE
    assert check_name in round.outcome
    assert "stays out" in round.outcome
    assert not has_entered_rotation(round)
    verdicts = dict(round.evaluations.values_list("check_name", "verdict"))
    assert verdicts.pop(check_name) == Verdict.FAILED
    assert set(verdicts.values()) == {Verdict.PASSED}


def test_a_check_that_nobody_made_fails(world: RatedStudy) -> None:
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
