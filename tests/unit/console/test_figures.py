"""How figures are written."""

from datetime import timedelta

import pytest
from django.utils import timezone

from console.templatetags.console_figures import ago, figure, percent, seconds, until, words


@pytest.mark.parametrize(
    ("given", "written"), [(0.631, "63%"), (0.0, "0%"), (1, "100%"), (None, "–"), ("", "–")]
)
def test_shares_are_written_as_percent(given: float | None, written: str) -> None:
    assert percent(given) == written


@pytest.mark.parametrize(
    ("given", "written"),
    [(0.69314, "0.693"), (2418, "2\u202f418"), (True, "yes"), (None, "–"), ("", "–"), ("x", "x")],
)
def test_numbers_keep_three_digits_and_counts_all(given: object, written: str) -> None:
    assert figure(given) == written


@pytest.mark.parametrize(
    ("given", "written"),
    [(8.4, "8 s"), (60, "1 min"), (245, "4 min 5 s"), (7800, "2 h 10 min"), (7200, "2 h")],
)
def test_durations_are_written_in_words(given: float, written: str) -> None:
    assert seconds(given) == written


@pytest.mark.parametrize(
    ("passed", "written"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=4), "4 min ago"),
        (timedelta(hours=3), "3 h ago"),
        (timedelta(days=2), "2 days ago"),
    ],
)
def test_the_past_is_written_from_now(passed: timedelta, written: str) -> None:
    assert ago(timezone.now() - passed).replace("\u00a0", " ") == written


def test_a_duration_without_an_end_runs_until_now() -> None:
    start = timezone.now() - timedelta(seconds=30)
    assert until(None, start) == "30 s"
    assert until(start + timedelta(seconds=10), start) == "10 s"
    assert until(None, None) == "–"


def test_a_fields_name_is_written_as_words() -> None:
    assert words("held_out_n") == "held out n"
