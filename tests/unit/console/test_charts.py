"""Geometry of pictures, checked by hand."""

import pytest

from console.charts import (
    ROW_HEIGHT,
    Series,
    WhiskerRow,
    line_chart,
    nice_ticks,
    stacked_bar,
    whisker_chart,
)


def row(name: str, score: float, reach: float | None, *groups: int) -> WhiskerRow:
    low, high = (None, None) if reach is None else (score - reach, score + reach)
    return WhiskerRow(name, score, low, high, f"{score:.0f}", "a", groups)


@pytest.mark.parametrize(
    ("low", "high", "n", "expected"),
    [
        (0.0, 1.0, 3, [0.0, 0.5, 1.0]),
        (940, 1060, 4, [950, 1000, 1050]),
        (0.52, 0.7, 3, [0.6, 0.7]),
        (3.0, 3.0, 4, [3.0]),
    ],
)
def test_ticks_are_round_numbers_within_the_range(
    low: float, high: float, n: int, expected: list[float]
) -> None:
    assert nice_ticks(low, high, n=n) == pytest.approx(expected)


def test_whiskers_run_from_low_to_high_around_the_score() -> None:
    chart = whisker_chart([row("r1", 1100, 50), row("base", 900, 50)])
    assert chart is not None
    best, base = chart.rows
    # 850 to 1150 with 8% beyond each end: 826 to 1174 over 2% to 98% of the width.
    assert best.low == f"{2 + 96 * (1050 - 826) / 348:.2f}%"
    assert best.score == f"{2 + 96 * (1100 - 826) / 348:.2f}%"
    assert best.span == f"{2 + 96 * (1150 - 826) / 348:.2f}%"
    assert base.y - best.y == ROW_HEIGHT
    assert chart.description == "r1 1100, 1050 to 1150; base 900, 850 to 950"


def test_what_nothing_ranks_has_no_whisker() -> None:
    chart = whisker_chart([row("r1", 1000, None)])
    assert chart is not None
    assert (chart.rows[0].low, chart.rows[0].span) == (None, None)
    assert chart.description == "r1 1000, not ranked yet"
    assert whisker_chart([]) is None


def test_a_band_covers_the_checkpoints_that_share_a_group() -> None:
    rows = [row("a", 1100, 9, 1), row("b", 1050, 9, 1, 2), row("c", 1000, 9, 2), row("d", 9, 9, 3)]
    chart = whisker_chart(rows)
    assert chart is not None
    covered = [(band.y // ROW_HEIGHT, (band.y + band.height) // ROW_HEIGHT) for band in chart.bands]
    assert covered == [(0, 1), (1, 2)]


def test_a_line_reaches_as_far_as_the_training_did() -> None:
    chart = line_chart("Loss", [Series("loss", "ink", [(0, 1.0), (5, 0.5)])], n_steps=10)
    assert chart is not None
    (line,) = chart.lines
    # The highest value lies 14 below the top, the lowest 24 above the bottom of 150.
    assert line.points == "0.0,14.0 500.0,126.0"
    assert (line.end_x, line.end_y, line.last) == ("50.00%", "126.0", "0.5")
    assert [tick.label for tick in chart.x_ticks] == ["0", "5", "10"]
    assert chart.description == "loss is 0.5 at step 5 of 10"


def test_a_guide_belongs_to_the_picture_even_when_no_value_reaches_it() -> None:
    chart = line_chart(
        "Accuracy", [Series("held out", "b", [(1, 0.9)])], n_steps=1, guide=0.5, is_share=True
    )
    assert chart is not None
    assert (chart.guide, chart.lines[0].end_y, chart.lines[0].last) == ("126.0", "14.0", "90%")


def test_one_flat_value_is_drawn_in_the_middle() -> None:
    chart = line_chart("Loss", [Series("loss", "ink", [(1, 0.7), (2, 0.7)])], n_steps=2)
    assert chart is not None
    assert chart.lines[0].end_y == "70.0"


def test_nothing_logged_draws_nothing() -> None:
    assert line_chart("Loss", [Series("loss", "ink", [])], n_steps=10) is None


def test_parts_of_a_bar_stand_side_by_side() -> None:
    first, second = stacked_bar([("base", "soft", 0.75), ("r1", "b", 0.25)])
    assert (first.x, first.width, first.label) == ("0.00%", "75.00%", "75%")
    assert (second.x, second.width, second.tone) == ("75.00%", "25.00%", "b")
