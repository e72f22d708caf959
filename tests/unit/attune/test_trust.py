"""Figures about a rater with their intervals, and the rule about missed gold pairs, by hand."""

from collections.abc import Sequence
from datetime import datetime

import pytest

from attune.ratings.choices import Choice, PairPurpose
from attune.ratings.trust import (
    AnswerRow,
    GoldAnswer,
    GoldOutcome,
    GoldRule,
    Share,
    gold_outcome,
    median_with_interval,
    review_gold,
    times_to_answer_s,
    trust_figures,
)
from tests.factories import NOW, later


def row(
    pair_id: int,
    choice: Choice = Choice.A,
    *,
    at: float = 60,
    purpose: PairPurpose = PairPurpose.TRAINING,
    is_swapped: bool = False,
    is_repeat: bool = False,
    handed_out_at: float = 0,
) -> AnswerRow:
    return AnswerRow(
        pair_id=pair_id,
        purpose=purpose,
        choice=choice,
        is_swapped=is_swapped,
        is_repeat=is_repeat,
        handed_out_at=later(handed_out_at),
        answered_at=later(at),
    )


@pytest.mark.parametrize(
    ("choice", "is_swapped", "outcome"),
    [
        (Choice.A, False, GoldOutcome.FOUND),
        (Choice.A, True, GoldOutcome.MISSED),
        (Choice.B, False, GoldOutcome.MISSED),
        (Choice.B, True, GoldOutcome.FOUND),
        (Choice.TIE, False, GoldOutcome.MISSED),
        (Choice.TIE, True, GoldOutcome.MISSED),
        (Choice.BOTH_BAD, False, GoldOutcome.UNDECIDED),
        (Choice.BOTH_BAD, True, GoldOutcome.UNDECIDED),
    ],
)
def test_the_whole_clip_is_the_first_one_wherever_it_was_shown(
    choice: Choice, is_swapped: bool, outcome: GoldOutcome
) -> None:
    assert gold_outcome(choice, is_swapped=is_swapped) is outcome


def test_gold_accuracy_counts_what_was_decided() -> None:
    """8 of 10 found, by Wilson 0.490 to 0.943; one more called both bad."""
    gold = PairPurpose.GOLD
    rows = [row(n, purpose=gold) for n in range(8)]
    rows += [row(8, Choice.B, purpose=gold), row(9, Choice.TIE, purpose=gold)]
    rows += [row(10, Choice.BOTH_BAD, purpose=gold), row(11, Choice.B)]
    figures = trust_figures(rows)
    assert (figures.gold, figures.n_gold_undecided) == (Share(8, 10), 1)
    assert figures.gold.value == 0.8
    assert figures.gold.interval == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_a_repeat_agrees_when_it_names_the_same_clip_though_on_the_other_side() -> None:
    rows = [
        row(1, Choice.A),
        row(2, Choice.B, is_swapped=True),
        row(3, Choice.TIE),
        row(4, Choice.A),
        row(1, Choice.B, is_repeat=True, is_swapped=True),
        row(2, Choice.B, is_repeat=True),
        row(3, Choice.TIE, is_repeat=True, is_swapped=True),
        row(4, Choice.TIE, is_repeat=True, is_swapped=True),
        row(99, is_repeat=True),
    ]
    assert trust_figures(rows).agreement == Share(2, 4)


def test_a_side_bias_shows_when_one_half_lies_outside_the_interval() -> None:
    balanced = trust_figures([row(n, Choice.A if n % 2 else Choice.B) for n in range(40)])
    one_sided = trust_figures([row(n, Choice.A if n < 32 else Choice.B) for n in range(40)])
    assert (balanced.side_a, balanced.has_side_bias) == (Share(20, 40), False)
    assert (one_sided.side_a, one_sided.has_side_bias) == (Share(32, 40), True)


def test_ties_and_both_bad_are_shares_of_all_answers() -> None:
    figures = trust_figures(
        [row(1), row(2, Choice.TIE), row(3, Choice.TIE), row(4, Choice.BOTH_BAD)]
    )
    assert (figures.ties, figures.both_bad, figures.side_a) == (
        Share(2, 4),
        Share(1, 4),
        Share(1, 1),
    )


def test_without_answers_nothing_is_claimed() -> None:
    figures = trust_figures([])
    assert (figures.gold.value, figures.gold.interval) == (None, (0.0, 1.0))
    assert (figures.time.value_s, figures.has_side_bias) == (None, False)


def test_the_time_of_a_pair_fetched_ahead_begins_with_the_answer_before() -> None:
    """Answered at 60, 75 and 300; the second was fetched at 1, the third at 200."""
    rows = [
        row(1, at=60, handed_out_at=0),
        row(2, at=75, handed_out_at=1),
        row(3, at=300, handed_out_at=200),
    ]
    assert times_to_answer_s(rows) == [60.0, 15.0, 100.0]
    assert trust_figures(rows).time.value_s == 60.0


def test_the_median_of_six_lies_between_the_extremes_and_of_five_anywhere() -> None:
    """Six values all above or all below: 2 / 64 = 3.1% of samples; of five 6.3%, too many."""
    six = median_with_interval([5.0, 1.0, 4.0, 2.0, 6.0, 3.0])
    assert (six.value_s, six.interval_s) == (3.5, (1.0, 6.0))
    assert median_with_interval([1.0, 2.0, 3.0, 4.0, 5.0]).interval_s is None
    assert median_with_interval([1.0, 2.0, 3.0]).value_s == 2.0


def test_the_interval_of_a_median_narrows_with_the_answers() -> None:
    """Of 100 values the 40th and the 61st, as in Hahn and Meeker's tables."""
    found = median_with_interval([float(n) for n in range(1, 101)])
    assert found.interval_s == (40.0, 61.0)
    assert found.value_s == 50.5


def answers(outcomes: str, *, start: float = 0) -> list[GoldAnswer]:
    """F found, M missed, U undecided; one a minute."""
    names = {"F": GoldOutcome.FOUND, "M": GoldOutcome.MISSED, "U": GoldOutcome.UNDECIDED}
    return [
        GoldAnswer(names[letter], later(start + 60 * minute))
        for minute, letter in enumerate(outcomes)
    ]


def review(
    given: Sequence[GoldAnswer],
    *,
    forgiven_at: datetime | None = None,
    warned_at: datetime | None = None,
) -> tuple[bool, bool]:
    found = review_gold(given, forgiven_at=forgiven_at, warned_at=warned_at)
    return found.is_to_be_warned, found.is_to_be_excluded


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("", (False, False)),
        ("FMF", (False, False)),
        ("MM", (True, False)),
        ("MFFFM", (True, False)),
        ("MUUUUU", (False, False)),
        ("MMMM", (True, False)),
        ("MMMMM", (False, True)),
        ("MFMFMFMFM", (False, True)),
    ],
)
def test_two_misses_warn_and_five_exclude(outcomes: str, expected: tuple[bool, bool]) -> None:
    assert review(answers(outcomes)) == expected


def test_a_warning_is_not_repeated_for_the_misses_it_was_for() -> None:
    assert review(answers("MM"), warned_at=later(60)) == (False, False)
    assert review(answers("MMM"), warned_at=later(60)) == (False, False)
    assert review(answers("MMMM"), warned_at=later(60)) == (True, False)


def test_misses_of_long_ago_exclude_nobody() -> None:
    """Four misses, then 19 found, then one more: one of the latest 20."""
    assert review(answers("MMMM" + "F" * 19 + "M")) == (False, False)
    assert review(answers("MMMM" + "F" * 15 + "M")) == (False, True)


def test_what_was_lifted_is_not_held_against_a_rater_again() -> None:
    given = answers("MMMMM") + answers("MFFF", start=1000)
    assert review(given) == (False, True)
    assert review(given, forgiven_at=later(500)) == (False, False)


def test_the_figures_name_what_the_decision_stands_on() -> None:
    found = review_gold(answers("MMFUMM"), forgiven_at=None, warned_at=None)
    assert found.as_figures(GoldRule()) == {"n_missed": 4, "n_gold": 5, "n_latest": 20}


@pytest.mark.parametrize("numbers", [(0, 5, 20), (6, 5, 20), (2, 21, 20)])
def test_a_rule_with_numbers_out_of_order_is_refused(numbers: tuple[int, int, int]) -> None:
    n_to_warn, n_to_exclude, n_latest = numbers
    with pytest.raises(ValueError, match="rising numbers"):
        GoldRule(n_to_warn=n_to_warn, n_to_exclude=n_to_exclude, n_latest=n_latest)


def test_the_shipped_rule_has_a_name_and_a_version() -> None:
    """Whoever changes a number gives the rule a new version, and this test its new numbers."""
    assert GoldRule() == GoldRule("missed-gold", 1, n_latest=20, n_to_warn=2, n_to_exclude=5)
    assert later(0) == NOW
