"""What rounds of each method freeze, and what becomes of reward models and mixes."""

import hashlib
from typing import Any
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction

from attune.catalog.errors import CatalogError, ClipOrderError, RotationError
from attune.catalog.models import CheckpointKind, CheckpointMix, Clip
from attune.catalog.score_services import (
    ScoredClip,
    clip_scores,
    record_clip_scores,
    request_scores,
    unscored_clips,
)
from attune.catalog.services import ClipOrder, add_checkpoint, enter_rotation
from attune.jobs.models import JobKind, JobQueue
from attune.ratings.choices import Choice
from attune.ratings.models import Rating
from attune.rounds.dataset import (
    dataset_bytes,
    dataset_sha256,
    export_preferences,
    export_prompts,
    preference_rows,
)
from attune.rounds.errors import BaseCheckpointError, DatasetError, NotEnoughPreferences, RoundError
from attune.rounds.evidence import RoundFilter
from attune.rounds.group_services import set_rater_group
from attune.rounds.models import Outcome, Round, RoundMethod, RoundState, Split
from attune.rounds.services import (
    cancel_round,
    create_mix,
    create_round,
    publish_checkpoint,
    start_training,
)
from tests.unit.attune.rated import RatedStudy, write_checkpoint

pytestmark = pytest.mark.django_db


def start(world: RatedStudy, **fields: Any) -> Round:
    return create_round(study=world.study, base_checkpoint=world.base, **fields)


def add_reward_model(world: RatedStudy, name: str) -> Any:
    folder = write_checkpoint(world.folder / name, name=name, kind="reward")
    return add_checkpoint(folder=folder)


# --- What is frozen


@pytest.mark.parametrize(
    ("method", "config", "outcomes"),
    [
        ("dpo", {}, {"chosen": 8}),
        ("dpo", {"loss": "davidson"}, {"chosen": 8, "tie": 3}),
        ("kto", {}, {"chosen": 8, "both_bad": 2}),
        ("expert", {}, {"chosen": 8, "tie": 3, "both_bad": 2}),
        ("reward", {}, {"chosen": 8, "tie": 3}),
    ],
)
def test_ties_and_both_bad_are_rows_only_where_the_method_reads_them(
    world: RatedStudy, method: str, config: dict[str, Any], outcomes: dict[str, int]
) -> None:
    world.rate_pairs([Choice.A] * 8 + [Choice.TIE] * 3 + [Choice.BOTH_BAD] * 2)
    round = start(world, method=method, config=config)
    rows = export_preferences(round)
    found = dict.fromkeys(outcomes, 0)
    for row in rows:
        found[row["outcome"]] += 1
    assert found == outcomes
    assert round.counts["tie_pairs"] == 3
    assert round.counts["both_bad_pairs"] == 2


def test_a_row_tells_its_counts_from_the_chosen_clip_and_numbers_its_raters(
    world: RatedStudy,
) -> None:
    world.rate_pairs([Choice.A] * 8)
    pair = world.add_pair()
    for rater, choice in enumerate([Choice.A, Choice.B, Choice.B, Choice.TIE]):
        world.rate(pair, choice, rater=rater)
    (row,) = [row for row in export_preferences(start(world)) if row["pair"] == pair.pk]
    assert row["outcome"] == "chosen"
    assert row["counts"] == {"chosen": 2, "rejected": 1, "tie": 1, "both_bad": 0}
    assert row["raters"] == [1, 2, 3, 4]
    assert row["weight"] == 0.333333


def test_a_round_of_format_1_still_exports_the_bytes_it_was_hashed_with(
    world: RatedStudy,
) -> None:
    """As rows of the first format lie in the table: without outcomes, counts and raters."""
    world.rate_pairs([Choice.A] * 8)
    round = start(world)
    Round.objects.filter(pk=round.pk).update(dataset_format=1)
    round.preferences.update(n_chosen=0, raters=[])
    round.refresh_from_db()
    rows = preference_rows(round)
    assert set(rows[0]) == {
        *("pair", "prompt", "header", "duration_s", "chosen", "rejected"),
        *("chosen_sha256", "rejected_sha256", "weight", "split"),
    }
    expected = hashlib.sha256(dataset_bytes(rows)).hexdigest()
    Round.objects.filter(pk=round.pk).update(dataset_sha256=expected)
    round.refresh_from_db()
    assert dataset_sha256(export_preferences(round)) == expected


def test_a_group_of_raters_and_tags_of_prompts_are_all_that_a_round_learns_from(
    world: RatedStudy,
) -> None:
    for number in range(12):
        pair = world.add_pair()
        pair.prompt.tags = ["calm"] if number != 3 else ["loud"]
        pair.prompt.save()
        world.rate(pair, Choice.A, rater=number % 2 if number < 2 else 0)
    group = set_rater_group(name="night-owls", pseudonyms=[world.rater(0).pseudonym])
    round = start(world, filter=RoundFilter(rater_group=group, prompt_tags=("calm",)))
    assert round.counts["usable"] == 10
    assert (round.counts["other_rater"], round.counts["other_prompt"]) == (1, 1)
    assert round.filters == {
        "rater_group": "night-owls",
        "raters": [str(world.rater(0).pseudonym)],
        "prompt_tags": ["calm"],
    }
    group.raters.clear()
    round.refresh_from_db()
    assert len(export_preferences(round)) == 10
    cancel_round(round=round, actor=None)
    with pytest.raises(RoundError, match="night-owls has 0 raters"):
        start(world, filter=RoundFilter(rater_group=group), name="other")


def test_unknown_tags_and_raters_are_named(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    with pytest.raises(RoundError, match="0 prompts have the tags sad; known are none"):
        start(world, filter=RoundFilter(prompt_tags=("sad",)))
    with pytest.raises(RoundError, match="1 of 1 raters are unknown: 0000"):
        set_rater_group(name="nobody", pseudonyms=[UUID(int=7)])


def test_prompts_that_read_the_same_are_on_one_side_of_the_split(world: RatedStudy) -> None:
    for number in range(12):
        for text in (f"A  calm song {number}", f"a calm song {number}"):
            prompt = world.add_prompt()
            prompt.text = text
            prompt.save()
            world.rate(world.add_pair(prompt=prompt))
    rows = export_preferences(start(world))
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(" ".join(row["prompt"].casefold().split()), set()).add(row["split"])
    assert {len(found) for found in sides.values()} == {1}
    assert {row["split"] for row in rows} == {"train", "held_out"}


# --- Methods that learn from a reward model


def test_a_rewarded_round_freezes_prompts_with_headers_and_names_both_models(
    world: RatedStudy,
) -> None:
    world.rate_pairs([Choice.A] * 8)
    world.add_prompt()  # nobody has made a clip of it: there is no header
    models = {name: add_reward_model(world, name) for name in ("reward", "judge")}
    round = start(world, method="grpo", reward_model=models["reward"], judge_model=models["judge"])
    rows = export_prompts(round)
    assert len(rows) == 8
    assert {row["split"] for row in rows} == {"train", "held_out"}
    assert rows[0]["header"] == [1, 2, 3]
    assert dataset_sha256(rows) == round.prompts_sha256
    held_out = {row["prompt"] for row in export_preferences(round) if row["split"] == "held_out"}
    assert held_out == {row["prompt"] for row in rows if row["split"] == "held_out"}
    round.prompts.filter(split=Split.TRAIN).update(duration_s=1.0)
    with pytest.raises(DatasetError, match="prompts of round"):
        export_prompts(round)


def test_a_rewarded_round_without_two_different_models_is_refused(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 8)
    model = add_reward_model(world, "reward")
    with pytest.raises(BaseCheckpointError, match="needs a judge model; 1 reward models"):
        start(world, method="grpo", reward_model=model)
    with pytest.raises(BaseCheckpointError, match="2 different ones are needed"):
        start(world, method="rloo", reward_model=model, judge_model=model)
    with pytest.raises(BaseCheckpointError, match="base is full, no judge model"):
        start(world, method="grpo", reward_model=model, judge_model=world.base)
    with pytest.raises(BaseCheckpointError, match="kto reads no reward model, got reward"):
        start(world, method="kto", reward_model=model)
    with pytest.raises(BaseCheckpointError, match="dpo reads no judge model, got reward"):
        start(world, judge_model=model)
    with pytest.raises(BaseCheckpointError, match="davidson learns from ties, and a reward model"):
        start(world, reward_model=model, config={"loss": "davidson"})
    assert not Rating.objects.filter(is_frozen=True).exists()


@pytest.mark.parametrize("method", ["dpo", "expert"])
def test_a_round_that_can_do_without_a_reward_model_may_name_one(
    method: str, world: RatedStudy
) -> None:
    world.rate_pairs([Choice.A] * 8)
    model = add_reward_model(world, "reward")
    assert start(world, method=method, reward_model=model).reward_model == model


def test_the_database_itself_asks_rewarded_rounds_for_their_models(world: RatedStudy) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Round.objects.create(
            name="bare",
            study=world.study,
            population="people",
            method=RoundMethod.GRPO,
            base_checkpoint=world.base,
        )


# --- Reward models


def trained_reward_model(world: RatedStudy) -> Round:
    world.rate_pairs([Choice.A] * 8)
    round = start(world, method="reward")
    start_training(round=round, device="a device")
    folder = write_checkpoint(world.folder / round.name, name=round.name, kind="reward")
    publish_checkpoint(round=round, folder=folder, summary={"accuracy": 0.7})
    return round


def test_a_reward_model_is_published_without_a_gate_and_never_enters_rotation(
    world: RatedStudy,
) -> None:
    round = trained_reward_model(world)
    model = round.produced_checkpoint
    assert (round.state, round.device) == (RoundState.DONE, "a device")
    assert round.finished_at is not None
    assert model is not None
    assert (model.kind, model.parent) == (CheckpointKind.REWARD, None)
    with pytest.raises(RotationError, match="is a reward model: it makes no clips"):
        enter_rotation(
            checkpoint=model, population="people", role="canary", share=0.1, reason="Try."
        )
    with pytest.raises(ClipOrderError, match="is a reward model: it makes no clips"):
        ClipOrder(prompt=world.add_prompt(), checkpoint=model, duration_s=2.0, seed=1)
    with pytest.raises(BaseCheckpointError, match="is a reward model: it makes no clips"):
        create_round(study=world.study, base_checkpoint=model)


def test_scores_are_stored_once_a_clip_and_the_best_come_first(world: RatedStudy) -> None:
    model = trained_reward_model(world).produced_checkpoint
    assert model is not None
    clips = list(Clip.objects.order_by("created_at", "pk")[:3])
    job = request_scores(reward_model=model, clips=[clip.pk for clip in clips])
    assert (job.kind, job.queue) == (JobKind.SCORE_CLIPS, JobQueue.DEVICE)
    assert unscored_clips(checkpoint=model, arguments=job.arguments) == clips
    means = [0.1, 0.9, 0.5]
    record_clip_scores(
        checkpoint=model,
        scores=[ScoredClip(clip, mean, 0.2) for clip, mean in zip(clips, means, strict=True)],
    )
    record_clip_scores(checkpoint=model, scores=[ScoredClip(clips[0], 1.5, 0.3)])
    assert [score.mean for score in clip_scores(model)] == [1.5, 0.9, 0.5]
    assert unscored_clips(checkpoint=model, arguments=job.arguments) == []
    assert len(unscored_clips(checkpoint=model, arguments={"checkpoint": model.pk})) == 13


def test_only_a_reward_model_scores_and_only_clips_that_exist(world: RatedStudy) -> None:
    with pytest.raises(CatalogError, match="'base' is full: only a reward model scores"):
        request_scores(reward_model=world.base)
    model = add_reward_model(world, "reward")
    with pytest.raises(CatalogError, match="1 of 1 are unknown"):
        request_scores(reward_model=model, clips=[world.rater().pseudonym])


# --- Mixes


def tuned(world: RatedStudy, *names: str) -> list[Any]:
    return [world.add_checkpoint(name, parent=world.base) for name in names]


def test_a_mix_is_a_round_that_goes_through_the_gate_and_names_its_parts(
    world: RatedStudy,
) -> None:
    first, second = tuned(world, "first-taste", "second-taste")
    world.rate_pairs([Choice.A] * 3)
    round = create_mix(study=world.study, parts=[(first, 0.25), (second, 0.75)])
    assert (round.method, round.base_checkpoint) == (RoundMethod.MIX, world.base)
    assert round.job is not None
    assert round.job.kind == JobKind.RUN_ROUND
    assert len(export_preferences(round)) == 3
    start_training(round=round)
    folder = write_checkpoint(
        world.folder / "mixed", name=round.name, kind="adapter", parent=world.base
    )
    checkpoint = publish_checkpoint(round=round, folder=folder, summary={})
    assert round.state == RoundState.EVALUATING
    parts = CheckpointMix.objects.filter(checkpoint=checkpoint).order_by("pk")
    assert [(part.part.name, part.weight) for part in parts] == [
        ("first-taste", 0.25),
        ("second-taste", 0.75),
    ]


def test_nothing_that_a_part_was_trained_on_is_held_out_from_a_mix(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 12)
    round = start(world)
    start_training(round=round)
    folder = write_checkpoint(
        world.folder / "tuned", name=round.name, kind="adapter", parent=world.base
    )
    part = publish_checkpoint(round=round, folder=folder, summary={})
    Round.objects.filter(pk=round.pk).update(state=RoundState.DONE)
    trained = set(round.preferences.filter(split=Split.TRAIN).values_list("pair_id", flat=True))
    (other,) = tuned(world, "other")
    world.rate_pairs([Choice.A] * 12)
    mixed = create_mix(study=world.study, parts=[(part, 0.5), (other, 0.5)])
    held_out = mixed.preferences.filter(split=Split.HELD_OUT)
    assert held_out.exists()
    assert not trained & set(held_out.values_list("pair_id", flat=True))


def test_what_cannot_be_mixed_is_refused_with_names(world: RatedStudy) -> None:
    first, second = tuned(world, "first-taste", "second-taste")
    with pytest.raises(BaseCheckpointError, match="at least 2 adapters, got 1"):
        create_mix(study=world.study, parts=[(first, 1.0)])
    with pytest.raises(BaseCheckpointError, match="one base, got 2"):
        create_mix(study=world.study, parts=[(first, 1.0), (world.base, 1.0)])
    with pytest.raises(BaseCheckpointError, match="names each adapter once"):
        create_mix(study=world.study, parts=[(first, 0.5), (first, 0.5)])
    with pytest.raises(BaseCheckpointError, match="second-taste is 3, expected -2 to 2"):
        create_mix(study=world.study, parts=[(first, 1.0), (second, 3.0)])
    with pytest.raises(RoundError, match="a mix is made of adapters"):
        start(world, method="mix")


def test_the_smallest_number_of_preferences_counts_the_rows_that_the_method_reads(
    world: RatedStudy,
) -> None:
    world.rate_pairs([Choice.A] * 6 + [Choice.TIE] * 2)
    with pytest.raises(NotEnoughPreferences):
        start(world)
    round = start(world, config={"loss": "rao_kupper"})
    assert round.preferences.filter(outcome=Outcome.TIE).count() == 2
