"""Freezing a round: what is refused, what is kept, and what nobody can change afterwards."""

import json
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from attune.catalog.models import (
    Clip,
    Prompt,
)
from attune.catalog.services import enter_rotation, retire_checkpoint, roll_back_checkpoint
from attune.jobs.models import JobKind, JobQueue
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
)
from attune.rounds.models import Round, RoundPreference, RoundState, Split
from attune.rounds.preflight import preflight
from attune.rounds.selectors import (
    find_default_base,
)
from attune.rounds.services import (
    cancel_round,
    create_round,
)
from tests.factories import make_melody
from tests.unit.attune.rated import RatedStudy
from tests.unit.attune.started import start

pytestmark = pytest.mark.django_db


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
