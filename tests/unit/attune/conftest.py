"""Rated studies that rounds are started on."""

from pathlib import Path

import pytest
from django.conf import LazySettings

from attune.catalog.models import Population
from tests.unit.attune.rated import RatedStudy, rated_study


@pytest.fixture
def _few_preferences_are_enough(settings: LazySettings) -> None:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8


@pytest.fixture
def world(_few_preferences_are_enough: None, tmp_path: Path) -> RatedStudy:
    """A study of people whose rounds need eight preferences."""
    return rated_study(tmp_path)


@pytest.fixture
def rehearsal(_few_preferences_are_enough: None, tmp_path: Path) -> RatedStudy:
    """The same of simulated raters."""
    return rated_study(tmp_path, population=Population.REHEARSAL, slug="rehearsal")
