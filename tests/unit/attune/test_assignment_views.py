"""A rater's view of an assignment is blind, level and honest about progress."""

import json
import random
from dataclasses import asdict
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core import signing

from attune.catalog.models import Clip
from attune.raters.services import create_rater
from attune.ratings.choices import Side
from attune.ratings.levels import Level, pair_gains_db
from attune.ratings.models import Assignment
from attune.ratings.selectors import find_assignment_side, get_assignment_view, side_clip
from attune.ratings.services import assign_pair, record_rating
from attune.ratings.sessions import count_session
from tests.factories import NOW, later, make_checkpoint, make_pair, make_study


def test_both_clips_play_at_the_level_of_the_quieter() -> None:
    """-20 - 3 = -23 against -18 - 9 = -27: the first goes down by 4 more."""
    assert pair_gains_db(Level(-20, -3), Level(-18, -9)) == (-7, -9)


def test_a_silent_clip_leaves_gains_as_they_are() -> None:
    assert pair_gains_db(Level(None, 0), Level(-18, -5)) == (0, -5)


def test_a_sitting_ends_with_a_gap_of_more_than_half_an_hour() -> None:
    minutes_ago = (1, 20, 50, 81, 82)
    answered_at = [NOW - timedelta(minutes=minutes) for minutes in minutes_ago]
    assert count_session(answered_at, NOW) == 3
    assert count_session(answered_at, NOW + timedelta(minutes=30)) == 0


@pytest.fixture
def assignment() -> Assignment:
    study = make_study(minimum_listening_s=1.0)
    make_pair(study, checkpoints=(make_checkpoint("secret-one"), make_checkpoint("secret-two")))
    found = assign_pair(study=study, rater=create_rater(), rng=random.Random(1), now=NOW)
    assert found is not None
    return found


@pytest.mark.django_db
class TestViews:
    @pytest.mark.parametrize("is_swapped", [False, True])
    def test_sides_follow_the_swap(self, assignment: Assignment, is_swapped: bool) -> None:
        assignment.is_swapped = is_swapped
        clips = (assignment.pair.first_clip, assignment.pair.second_clip)
        found = (side_clip(assignment, Side.A), side_clip(assignment, Side.B))
        assert found == (clips[::-1] if is_swapped else clips)

    def test_a_view_carries_the_question_and_nothing_about_where_clips_come_from(
        self, assignment: Assignment
    ) -> None:
        view = get_assignment_view(assignment)
        assert (view.prompt, view.question, view.minimum_listening_s) == (
            assignment.pair.prompt.text,
            "Which do you prefer?",
            1.0,
        )
        assert (view.n_done, view.n_target, view.expires_at) == (0, 40, later(900))
        shown = json.dumps(asdict(view), default=str)
        for side in (view.a, view.b):
            shown += json.dumps(signing.loads(side.url_token, salt="audio"))
        pair = assignment.pair
        for clip in (pair.first_clip, pair.second_clip):
            for secret in (str(clip.pk), str(clip.seed) + '"', clip.audio_path):
                assert secret not in shown
        assert "secret" not in shown

    def test_a_token_leads_back_to_its_side_until_it_is_too_old(
        self, assignment: Assignment
    ) -> None:
        token = get_assignment_view(assignment).b.url_token
        assert find_assignment_side(token, max_age_s=60) == (assignment, Side.B)
        assert find_assignment_side(token, max_age_s=-1) is None
        assert find_assignment_side(token + "x", max_age_s=60) is None

    def test_a_token_of_another_shape_is_unknown(self) -> None:
        for content in ({}, {"a": "x", "s": "A"}, {"a": str(uuid4()), "s": "A"}, [1]):
            token = signing.dumps(content, salt="audio")
            assert find_assignment_side(token, max_age_s=60) is None

    def test_gains_bring_both_sides_to_one_level(self, assignment: Assignment) -> None:
        Clip.objects.filter(pk=assignment.pair.first_clip_id).update(
            loudness_lufs=-30.0, gain_db=2.0
        )
        fresh = Assignment.objects.get(pk=assignment.pk)
        view = get_assignment_view(fresh)
        levels = [
            (side_clip(fresh, side).loudness_lufs or 0.0) + shown.gain_db
            for side, shown in ((Side.A, view.a), (Side.B, view.b))
        ]
        assert levels == [-28.0, -28.0]

    def test_progress_counts_the_present_sitting(self, assignment: Assignment) -> None:
        rating, _ = record_rating(
            rater=assignment.rater,
            assignment_id=assignment.pk,
            client_id=uuid4(),
            choice="A",
            strength=None,
            heard={Side.A: [(0, 1)], Side.B: [(0, 1)]},
            now=later(30),
        )
        moment = rating.created_at + timedelta(minutes=5)
        assert get_assignment_view(assignment, now=moment).n_done == 1
        assert get_assignment_view(assignment, now=moment + timedelta(hours=1)).n_done == 0
