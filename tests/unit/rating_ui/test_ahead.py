"""A page may hold the pair being rated and the one after it, never more."""

import random

import pytest

from attune.raters.services import create_rater
from attune.ratings.choices import AssignmentState
from attune.ratings.models import Assignment
from attune.ratings.services import assign_pair
from tests.factories import NOW, later, make_pair, make_study

pytestmark = pytest.mark.django_db


def test_the_pair_after_the_present_one_is_another_and_stays_the_same() -> None:
    study, rater = make_study(), create_rater()
    for prompt in study.prompt_set.prompts.all():
        make_pair(study, prompt=prompt)

    def ask(after: Assignment | None, second: int) -> Assignment:
        found = assign_pair(
            study=study,
            rater=rater,
            rng=random.Random(second),
            now=later(second),
            after=after.pk if after else None,
        )
        assert found is not None
        return found

    present = ask(None, 0)
    ahead = ask(present, 1)
    assert ahead.pair_id != present.pair_id
    assert ask(present, 2) == ahead
    assert ask(None, 3) == present, "a reload shows the pair that was being rated"
    assert ask(ahead, 4) == present
    assert Assignment.objects.filter(rater=rater, state=AssignmentState.OPEN).count() == 2


def test_there_is_no_pair_after_the_last() -> None:
    study, rater = make_study(), create_rater()
    make_pair(study)
    rng = random.Random(0)
    present = assign_pair(study=study, rater=rater, rng=rng, now=NOW)
    assert present is not None
    assert assign_pair(study=study, rater=rater, rng=rng, now=NOW, after=present.pk) is None
