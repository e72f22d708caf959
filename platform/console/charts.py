"""Geometry of the console's pictures. Templates only draw what stands here.

Horizontal places are percent of the picture's width, so that type keeps its size on any
screen; vertical ones are pixels. All are text: a language with decimal commas must not reach
them. Lines are polylines in a box 1000 wide that the browser stretches.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

BOX_WIDTH = 1000
MOST_POINTS = 400


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    place: str
    label: str


@dataclass(frozen=True)
class Whisker:
    """One row: a score with its interval. Places are None where nothing ranks it."""

    name: str
    label: str
    tone: str
    score: str
    low: str | None
    span: str | None
    y: int
    label_y: int


@dataclass(frozen=True)
class Band:
    """Rows whose checkpoints cannot be told apart."""

    y: int
    height: int


@dataclass(frozen=True)
class WhiskerChart:
    """Standings, best first, on one axis."""

    description: str
    rows: tuple[Whisker, ...]
    bands: tuple[Band, ...]
    ticks: tuple[Tick, ...]
    height: int
    axis_y: int
    label_y: int


@dataclass(frozen=True)
class WhiskerRow:
    """What a whisker is drawn from."""

    name: str
    score: float
    low: float | None
    high: float | None
    label: str
    tone: str
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Series:
    """Values by step, with the tone they are drawn in and how far they spread at each step."""

    name: str
    tone: str
    values: Sequence[tuple[int, float]]
    spread: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """A series as drawn, with its last value; `area` is the outline of its spread, or empty."""

    name: str
    tone: str
    points: str
    area: str
    end_x: str
    end_y: str
    last: str


@dataclass(frozen=True)
class LineChart:
    """Series over steps. `guide` is the height of a value worth comparing with, or None."""

    name: str
    description: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    guide: str | None
    height: int
    label_y: int


@dataclass(frozen=True)
class Part:
    """One part of a bar that adds up to the whole."""

    name: str
    label: str
    tone: str
    x: str
    width: str


ROW_HEIGHT = 52
AXIS_HEIGHT = 28


def nice_ticks(low: float, high: float, *, n: int = 4) -> list[float]:
    """About n round numbers from low to high, both covered by at most one step beyond."""
    if not low < high:
        return [low]
    raw = (high - low) / max(1, n - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def whisker_chart(rows: Sequence[WhiskerRow]) -> WhiskerChart | None:
    """The standings as rows of whiskers; None when there are none."""
    if not rows:
        return None
    ends = [value for row in rows for value in (row.low, row.score, row.high) if value is not None]
    low, high = min(ends), max(ends)
    pad = max((high - low) * 0.08, 5.0)
    low, high = low - pad, high + pad

    def x(value: float) -> float:
        return 2 + 96 * (value - low) / (high - low)

    whiskers = []
    for index, row in enumerate(rows):
        top = index * ROW_HEIGHT
        has_interval = row.low is not None and row.high is not None
        whiskers.append(
            Whisker(
                name=row.name,
                label=row.label,
                tone=row.tone,
                score=_percent(x(row.score)),
                low=_percent(x(row.low)) if row.low is not None else None,
                span=_percent(x(row.high)) if has_interval and row.high is not None else None,
                y=top + 37,
                label_y=top + 20,
            )
        )
    height = len(rows) * ROW_HEIGHT
    return WhiskerChart(
        description="; ".join(_told(row) for row in rows),
        rows=tuple(whiskers),
        bands=tuple(_bands(rows)),
        ticks=tuple(Tick(_percent(x(v)), f"{v:g}") for v in nice_ticks(low, high, n=6)),
        height=height + AXIS_HEIGHT,
        axis_y=height,
        label_y=height + 19,
    )


def _told(row: WhiskerRow) -> str:
    if row.low is None or row.high is None:
        return f"{row.name} {row.score:.0f}, not ranked yet"
    return f"{row.name} {row.score:.0f}, {row.low:.0f} to {row.high:.0f}"


def _bands(rows: Sequence[WhiskerRow]) -> Iterable[Band]:
    """Runs of two or more neighbours that share a group."""
    numbers = sorted({number for row in rows for number in row.groups})
    for number in numbers:
        members = [index for index, row in enumerate(rows) if number in row.groups]
        if len(members) < 2:
            continue
        first, last = members[0], members[-1]
        yield Band(y=first * ROW_HEIGHT + 3, height=(last - first + 1) * ROW_HEIGHT - 6)


def line_chart(
    name: str,
    series: Sequence[Series],
    *,
    n_steps: int,
    guide: float | None = None,
    is_share: bool = False,
    height: int = 150,
) -> LineChart | None:
    """The series over steps 0 to n_steps; None before anything was logged.

    guide: a value worth comparing with. is_share: values are shown as percent.
    """
    drawn = [one for one in series if one.values]
    if not drawn:
        return None
    found = [value for one in drawn for _, value in one.values]
    found += [
        value + sign * one.spread[step]
        for one in drawn
        for step, value in one.values
        if step in one.spread
        for sign in (-1, 1)
    ]
    if guide is not None:
        found.append(guide)
    low, high = min(found), max(found)
    if low == high:
        low, high = low - 0.5, high + 0.5
    top, floor = 14, height - 24
    last_step = max(n_steps, 1, *(step for one in drawn for step, _ in one.values))

    def y(value: float) -> float:
        return floor - (value - low) / (high - low) * (floor - top)

    def said(value: float) -> str:
        return f"{value:.0%}" if is_share else f"{value:.3g}"

    lines = []
    for one in drawn:
        step, value = one.values[-1]
        shown = thinned(one.values)
        around = [(s, v, one.spread[s]) for s, v in shown if s in one.spread]
        outline = [(s, v + spread) for s, v, spread in around]
        outline += [(s, v - spread) for s, v, spread in reversed(around)]
        lines.append(
            Line(
                name=one.name,
                tone=one.tone,
                points=_points((BOX_WIDTH * s / last_step, y(v)) for s, v in shown),
                area=_points((BOX_WIDTH * s / last_step, y(v)) for s, v in outline),
                end_x=_percent(100 * step / last_step),
                end_y=f"{y(value):.1f}",
                last=said(value),
            )
        )
    return LineChart(
        name=name,
        description="; ".join(
            f"{line.name} is {line.last} at step {one.values[-1][0]} of {last_step}"
            for line, one in zip(lines, drawn, strict=True)
        ),
        lines=tuple(lines),
        x_ticks=tuple(_step_ticks(last_step)),
        y_ticks=tuple(Tick(f"{y(v):.1f}", said(v)) for v in nice_ticks(low, high, n=5)),
        guide=None if guide is None else f"{y(guide):.1f}",
        height=height,
        label_y=height - 6,
    )


def thinned(values: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """The values with most of them left out where there are more than a screen can show."""
    stride = math.ceil(len(values) / MOST_POINTS)
    return values if stride <= 1 else [*values[:-1:stride], values[-1]]


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _step_ticks(last_step: int) -> Iterable[Tick]:
    yield Tick("0%", "0")
    if last_step >= 4:
        middle = last_step // 2
        yield Tick(_percent(100 * middle / last_step), str(middle))
    yield Tick("100%", str(last_step))


def stacked_bar(parts: Sequence[tuple[str, str, float]]) -> tuple[Part, ...]:
    """(name, tone, share) of a whole, side by side; the shares add up to 1."""
    bar, left = [], 0.0
    for name, tone, share in parts:
        label = f"{share:.0%}"
        bar.append(Part(name, label, tone, _percent(100 * left), _percent(100 * share)))
        left += share
    return tuple(bar)


def _percent(value: float) -> str:
    return f"{value:.2f}%"
