"""The three kinds of people, for tests of what each may do."""

import pytest

from attune.raters.models import Role
from tests.unit.api.people import Person, make_person


@pytest.fixture
def rater(db: None) -> Person:
    """Someone who listens."""
    return make_person(Role.RATER)


@pytest.fixture
def engineer(db: None) -> Person:
    """Someone who runs rounds."""
    return make_person(Role.ENGINEER)


@pytest.fixture
def reviewer(db: None) -> Person:
    """Someone who reads results."""
    return make_person(Role.REVIEWER)
