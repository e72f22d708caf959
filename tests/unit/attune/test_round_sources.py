"""What else a round learns from than its ratings: simulated ratings, prompts already learned."""

import pytest

from attune.catalog.models import Checkpoint, Population
from attune.catalog.services import add_checkpoint
from attune.ratings.choices import Choice
from attune.rounds.dataset import export_prompts
from attune.rounds.errors import BaseCheckpointError
from attune.rounds.evidence import RoundFilter
from attune.rounds.group_services import set_rater_group
from attune.rounds.models import Round, RoundMethod, RoundPrompt, RoundState, Split
from attune.rounds.preflight import Plan, find_plan_refusals
from attune.rounds.services import create_mix, create_round, publish_checkpoint, start_training
from tests.unit.attune.rated import RatedStudy, write_checkpoint

pytestmark = pytest.mark.django_db


def add_reward_model(
    world: RatedStudy, name: str, *, is_simulated: bool = False, is_retired: bool = False
) -> Checkpoint:
    folder = write_checkpoint(world.folder / name, name=name, kind="reward")
    model = add_checkpoint(folder=folder, is_simulated=is_simulated)
    model.is_retired = is_retired
    model.save()
    return model


def add_adapter(world: RatedStudy, name: str, *, is_simulated: bool = False) -> Checkpoint:
    folder = write_checkpoint(world.folder / name, name=name, kind="adapter", parent=world.base)
    return add_checkpoint(folder=folder, parent=world.base, is_simulated=is_simulated)


def publish(world: RatedStudy, round: Round) -> Checkpoint:
    start_training(round=round)
    folder = write_checkpoint(
        world.folder / round.name, name=round.name, kind="adapter", parent=world.base
    )
    made = publish_checkpoint(round=round, folder=folder, summary={})
    Round.objects.filter(pk=round.pk).update(state=RoundState.DONE)
    return made


# --- Simulated ratings never reach people


def test_a_mix_for_people_takes_no_adapter_that_learned_from_simulated_ratings(
    world: RatedStudy,
) -> None:
    heard = add_adapter(world, "heard")
    simulated = add_adapter(world, "rehearsed", is_simulated=True)
    with pytest.raises(BaseCheckpointError, match="rehearsed was trained on simulated ratings"):
        create_mix(study=world.study, parts=[(heard, 0.5), (simulated, 0.5)])


@pytest.mark.parametrize("role", ["reward_model", "judge_model"])
def test_a_round_for_people_hears_no_reward_model_of_simulated_ratings(
    world: RatedStudy, role: str
) -> None:
    world.rate_pairs([Choice.A] * 8)
    models = {
        name: add_reward_model(world, name, is_simulated=name == role)
        for name in ("reward_model", "judge_model")
    }
    with pytest.raises(BaseCheckpointError, match=f"{role} was trained on simulated ratings"):
        create_round(
            study=world.study,
            base_checkpoint=world.base,
            method="grpo",
            reward_model=models["reward_model"],
            judge_model=models["judge_model"],
        )


def test_a_retired_reward_model_is_refused_by_name(world: RatedStudy) -> None:
    model = add_reward_model(world, "worn-out", is_retired=True)
    plan = Plan(
        study=world.study, base_checkpoint=world.base, method=RoundMethod.EXPERT, reward_model=model
    )
    assert find_plan_refusals(plan) == ["checkpoint worn-out is retired"]


# --- Prompts already learned


def test_prompts_that_read_the_same_are_on_one_side_of_a_rewarded_round(
    world: RatedStudy,
) -> None:
    """Some of the twins have no rating, so that only one of each was ever split."""
    held_out = world.add_prompt(is_held_out=True)
    held_out.text = "A  calm song"
    held_out.save()
    world.rate(world.add_pair(prompt=held_out))
    world.rate_pairs([Choice.A] * 8)
    twin = world.add_prompt()
    twin.text = "a calm song"
    twin.save()
    world.add_clip(twin, world.base)
    models = {name: add_reward_model(world, name) for name in ("reward", "judge")}
    round = create_round(
        study=world.study,
        base_checkpoint=world.base,
        method="grpo",
        reward_model=models["reward"],
        judge_model=models["judge"],
    )
    splits = {row["prompt"]: row["split"] for row in export_prompts(round)}
    assert (splits["A  calm song"], splits["a calm song"]) == ("held_out", "held_out")


def test_a_mix_knows_prompts_that_a_part_made_clips_of_and_those_of_parts_of_parts(
    world: RatedStudy,
) -> None:
    """No rating stood behind these prompts when they were learned; now each has one."""
    prompts = [world.add_prompt(is_held_out=True) for _ in range(3)]
    rehearsed, read_alike, fresh = prompts
    first, second, third = (add_adapter(world, name) for name in ("first", "second", "third"))
    for part, prompt in ((first, rehearsed), (second, read_alike)):
        round = Round.objects.create(
            name=f"of-{part.name}",
            study=world.study,
            population=Population.PEOPLE,
            method="dpo",
            base_checkpoint=world.base,
            produced_checkpoint=part,
            state=RoundState.DONE,
        )
        RoundPrompt.objects.create(
            round=round, prompt=prompt, text=prompt.text, duration_s=2.0, split=Split.TRAIN
        )
    mixed = publish(world, create_mix(study=world.study, parts=[(first, 0.5), (second, 0.5)]))
    read_alike.text = read_alike.text.upper()
    read_alike.save()
    for prompt in prompts:
        world.rate(world.add_pair(prompt=prompt))
    round = create_mix(study=world.study, parts=[(mixed, 0.5), (third, 0.5)])
    held_out = round.preferences.filter(split=Split.HELD_OUT)
    assert [preference.pair.prompt for preference in held_out] == [fresh]
    assert (round.counts["held_out"], round.counts["train"]) == (1, 2)


# --- Raters behind their numbers


def test_the_order_of_a_group_does_not_tell_who_has_which_number(world: RatedStudy) -> None:
    """Raters count in the order in which they signed up; pseudonyms are drawn by chance."""
    world.rate_pairs([Choice.A] * 8)
    people = [world.rater(number) for number in range(7)]
    group = set_rater_group(name="all", pseudonyms=[rater.pseudonym for rater in people])
    round = create_round(
        study=world.study, base_checkpoint=world.base, filter=RoundFilter(rater_group=group)
    )
    assert round.filters["raters"] == sorted(str(rater.pseudonym) for rater in people)
