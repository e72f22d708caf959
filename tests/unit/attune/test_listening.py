"""What a rater says was heard is merged, checked against the clip, the clock and the minimum."""

import pytest

from attune.ratings.choices import Side
from attune.ratings.errors import ListeningError
from attune.ratings.listening import Segment, check_listening, merge_segments

DURATIONS = {Side.A: 10.0, Side.B: 4.0}


def check(
    a: list[Segment], b: list[Segment], *, minimum_s: float = 5.0, elapsed_s: float = 60.0
) -> dict[Side, list[Segment]]:
    return check_listening(
        {Side.A: a, Side.B: b}, DURATIONS, minimum_s=minimum_s, elapsed_s=elapsed_s
    )


def test_overlapping_and_touching_segments_become_one() -> None:
    assert merge_segments([(3, 4), (0, 2), (1, 3), (6, 7), (5, 5)]) == [(0, 4), (6, 7)]


def test_enough_of_a_long_clip_and_the_whole_of_a_short_one_is_accepted() -> None:
    assert check([(0, 3), (6, 8)], [(0, 4)]) == {Side.A: [(0, 3), (6, 8)], Side.B: [(0, 4)]}


def test_the_refusal_names_the_side_and_both_numbers() -> None:
    with pytest.raises(ListeningError, match=r"side A was heard for 4\.0 s: 5\.0 s") as caught:
        check([(0, 4)], [(0, 4)])
    assert (caught.value.side, caught.value.heard_s, caught.value.needed_s) == ("A", 4, 5)


def test_repeats_do_not_stand_in_for_the_rest_of_the_clip() -> None:
    with pytest.raises(ListeningError, match="side A"):
        check([(0, 3), (0, 3)], [(0, 4)])


def test_a_tenth_of_a_second_short_is_forgiven() -> None:
    assert check([(0, 4.91)], [(0, 3.91)])
    with pytest.raises(ListeningError):
        check([(0, 4.85)], [(0, 4)])


@pytest.mark.parametrize(
    "segment",
    [(-0.1, 5), (0, 10.2), (5, 4), (0, float("nan")), (float("nan"), 5), (0, float("inf"))],
)
def test_a_segment_outside_the_clip_is_refused(segment: Segment) -> None:
    with pytest.raises(ListeningError, match="cannot be heard"):
        check([(0, 5), segment], [(0, 4)])


def test_a_segment_that_ends_just_past_the_clip_is_cut_at_its_end() -> None:
    assert check([(0, 10.05)], [(0, 4)])[Side.A] == [(0, 10)]


def test_more_listening_than_time_went_by_is_refused() -> None:
    assert check([(0, 5)], [(0, 4)], elapsed_s=8)
    with pytest.raises(ListeningError, match=r"9\.0 s of listening in 7\.9 s"):
        check([(0, 5)], [(0, 4)], elapsed_s=7.9)


def test_repeats_take_time_too() -> None:
    with pytest.raises(ListeningError, match=r"19\.0 s of listening"):
        check([(0, 5), (0, 5), (0, 5)], [(0, 4)], elapsed_s=15)


def test_a_study_without_a_minimum_accepts_silence() -> None:
    heard = check_listening({}, DURATIONS, minimum_s=0, elapsed_s=0)
    assert heard == {Side.A: [], Side.B: []}
