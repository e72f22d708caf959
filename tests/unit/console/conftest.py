"""The three kinds of people, and a loop that has gone round once."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from attune.catalog.models import Checkpoint, RotationRole
from attune.catalog.services import enter_rotation
from attune.leaderboard.services import refresh_leaderboard
from attune.raters.models import Role
from attune.rounds.models import Round
from attune.rounds.services import create_round, record_evaluation, record_round_metric
from tests.unit.api.people import Person, make_person
from tests.unit.attune.rated import RatedStudy, rated_study


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


@pytest.fixture
def rated(db: None, tmp_path: Path, settings: LazySettings) -> RatedStudy:
    """A study with ten decided training pairs of its base, enough for a round."""
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    rated = rated_study(tmp_path)
    rated.rate_pairs("AB" * 5)
    return rated


@pytest.fixture
def canary(rated: RatedStudy) -> Checkpoint:
    """A child of the base in rotation, with six judging answers: three won, one lost."""
    aligned = rated.add_checkpoint("aligned", parent=rated.base)
    enter_rotation(
        checkpoint=aligned,
        population="people",
        role=RotationRole.CANARY,
        share=0.1,
        reason="Passed the gate.",
    )
    for choice in ("B", "B", "B", "A", "TIE", "BOTH_BAD"):
        rated.rate(rated.add_pair(rated.base, aligned), choice)
    refresh_leaderboard(population="people", now=timezone.now(), rng=np.random.default_rng(0))
    return aligned


@pytest.fixture
def running(rated: RatedStudy) -> Round:
    """A running round that has logged two of nine steps and one check."""
    stored = create_round(study=rated.study, base_checkpoint=rated.base, name="dusk")
    record_round_metric(
        round=stored, step=1, n_steps=9, values={"loss": 0.693, "margin": 0.0, "accuracy": 0.5}
    )
    record_round_metric(
        round=stored, step=2, n_steps=9, values={"loss": 0.61, "margin": 0.25, "eta_s": 75.0}
    )
    record_evaluation(round=stored, check_name="silence", figure=0.5)
    return stored


@pytest.fixture
def browser(engineer: Person) -> Client:
    """An engineer's browser; CSRF is tested elsewhere."""
    client = engineer.pages
    client.handler.enforce_csrf_checks = False
    return client


def said(answer: Any) -> list[str]:
    """The page's messages."""
    found = re.findall(r'<li class="notice[^"]*">(.*?)</li>', answer.content.decode())
    return [text.replace("&#x27;", "'") for text in found]
