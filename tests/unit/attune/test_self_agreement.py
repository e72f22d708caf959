"""What a reward model's accuracy is held against: how often raters agree with themselves."""

from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from attune.ratings.choices import Choice, PairPurpose
from attune.ratings.models import Assignment, Pair, Rating
from attune.rounds.choices import RoundMethod
from attune.rounds.self_agreement import self_agreement
from attune.rounds.services import create_round
from tests.unit.attune.rated import RatedStudy, rated_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(tmp_path: Path, settings: Any) -> RatedStudy:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    found = rated_study(tmp_path)
    found.rate_pairs([Choice.A] * 10)
    return found


def rate_twice(world: RatedStudy, first: Choice, again: Choice, *, rater: int = 0) -> Pair:
    """One pair to one rater, the second time with its sides swapped."""
    pair = world.add_pair()
    world.rate(pair, first, rater=rater)
    rating = world.rate(world.add_pair(), again, rater=rater, is_swapped=True)
    Assignment.objects.filter(pk=rating.assignment_id).update(pair=pair, is_repeat=True)
    Rating.objects.filter(pk=rating.pk).update(pair=pair)
    return pair


def test_a_repeat_agrees_when_it_names_the_same_clip_on_the_other_side(world: RatedStudy) -> None:
    assert self_agreement(world.study).of == 0
    rate_twice(world, Choice.A, Choice.B)
    rate_twice(world, Choice.B, Choice.B)
    rate_twice(world, Choice.TIE, Choice.TIE)
    rate_twice(world, Choice.TIE, Choice.BOTH_BAD, rater=1)
    found = self_agreement(world.study)
    assert (found.n, found.of) == (2, 4)


def test_gold_pairs_and_raters_who_left_say_nothing_of_it(world: RatedStudy) -> None:
    rate_twice(world, Choice.A, Choice.B)
    gold = rate_twice(world, Choice.A, Choice.B)
    Pair.objects.filter(pk=gold.pk).update(purpose=PairPurpose.GOLD)
    rate_twice(world, Choice.A, Choice.B, rater=2)
    leaver = world.rater(2)
    leaver.withdrawn_at = timezone.now()
    leaver.save()
    found = self_agreement(world.study)
    assert (found.n, found.of) == (1, 1)


def test_a_reward_model_is_told_unless_an_engineer_told_it(world: RatedStudy) -> None:
    def config_of(name: str, method: RoundMethod, **config: object) -> dict[str, object]:
        round = create_round(
            study=world.study, base_checkpoint=world.base, method=method, config=config, name=name
        )
        type(round).objects.filter(pk=round.pk).update(state="cancelled")
        return dict(round.config)

    assert config_of("none", RoundMethod.REWARD) == {}
    rate_twice(world, Choice.A, Choice.B)
    rate_twice(world, Choice.A, Choice.B)
    rate_twice(world, Choice.A, Choice.A)
    told = config_of("told", RoundMethod.REWARD)
    assert told == {"self_agreement": 0.666667, "self_agreement_n": 3}
    by_hand = {"self_agreement": 0.9, "self_agreement_n": 40}
    assert config_of("by-hand", RoundMethod.REWARD, **by_hand) == by_hand
    assert config_of("dpo", RoundMethod.DPO) == {}
