"""What raters read when something is refused names nothing they should not know."""

from uuid import uuid4

import pytest

from attune.ratings.errors import (
    AssignmentNotFoundError,
    PopulationError,
    RatingError,
    RatingFrozenError,
    RatingNotFoundError,
    WithdrawnError,
)

SECRET = uuid4()


@pytest.mark.parametrize(
    "error",
    [
        PopulationError(study="harps", population="rehearsal", is_simulated=False),
        WithdrawnError(pseudonym=SECRET),
        AssignmentNotFoundError(assignment_id=SECRET),
        RatingNotFoundError(rating_id=4711),
        RatingFrozenError(rating_id=4711),
    ],
)
def test_a_refusal_names_no_id_study_or_round(error: RatingError) -> None:
    said = str(error)
    for secret in ("round", "harps", "rehearsal", "simulated", "4711", str(SECRET)):
        assert secret not in said
    assert said
