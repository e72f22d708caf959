"""Geometry of the gate's pictures: a figure on its scale, and how a candidate's sound shifts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attune.rounds.gate import CHECKS, Bound
from attune.rounds.models import Evaluation, Verdict

EDGE = 3.0
"""Percent of the width that stays free at both ends, for the marks."""


@dataclass(frozen=True)
class Span:
    """A stretch of the width, in percent."""

    x: str
    width: str


@dataclass(frozen=True)
class Gauge:
    """A figure with its interval, on a scale on which the part that passes is marked."""

    description: str
    tone: str
    figure: str
    interval: tuple[str, str] | None
    allowed: Span
    thresholds: tuple[str, ...]
    band: Span | None


@dataclass(frozen=True)
class Measured:
    """What a gauge is drawn from, all in one unit."""

    figure: float
    low: float | None = None
    high: float | None = None
    band: tuple[float, float] | None = None
    least: float | None = None
    most: float | None = None

    @property
    def ends(self) -> list[float]:
        """Every value that has to be on the scale."""
        given = (self.figure, self.low, self.high, *(self.band or ()), self.least, self.most)
        return [value for value in given if value is not None]


@dataclass(frozen=True)
class ShiftRow:
    """How one measure changed from base to candidate; the middle of its scale is no change."""

    name: str
    unit: str
    base: float
    candidate: float
    change: str
    interval_text: str
    tone: str
    mean: str
    interval: tuple[str, str] | None
    n_pairs: int


def gauge(evaluation: Evaluation) -> Gauge | None:
    """The picture of a check; None where nothing was measured or the check is not known."""
    found = _measured(evaluation)
    if found is None:
        return None
    low, high = min(found.ends), max(found.ends)
    pad = 0.18 * (high - low) or max(abs(high) * 0.2, 0.1)
    low, high = low - pad, high + pad

    def x(value: float) -> float:
        return EDGE + (100 - 2 * EDGE) * (value - low) / (high - low)

    start = x(found.least) if found.least is not None else 0.0
    end = x(found.most) if found.most is not None else 100.0
    limits = [value for value in (found.least, found.most) if value is not None]
    has_interval = found.low is not None and found.high is not None
    return Gauge(
        description=evaluation.sentence,
        tone="a" if evaluation.verdict == Verdict.PASSED else "danger",
        figure=_percent(x(found.figure)),
        interval=(
            (_percent(x(found.low)), _percent(x(found.high)))
            if has_interval and found.low is not None and found.high is not None
            else None
        ),
        allowed=Span(_percent(start), _percent(end - start)),
        thresholds=tuple(_percent(x(value)) for value in limits),
        band=(
            Span(_percent(x(found.band[0])), _percent(x(found.band[1]) - x(found.band[0])))
            if found.band
            else None
        ),
    )


def _measured(evaluation: Evaluation) -> Measured | None:
    check = CHECKS.get(evaluation.check_name)
    limit, figure, details = evaluation.threshold, evaluation.figure, evaluation.details
    if check is None or figure is None or limit is None:
        return None
    is_least = check.bound is Bound.AT_LEAST
    found = Measured(figure, least=limit) if is_least else Measured(figure, most=limit)
    match evaluation.check_name, details:
        case "distribution" | "anchor_distribution", {
            "distance": float(distance),
            "band": {"low": low, "high": high},
        }:
            # The figure counts in upper ends of the band; the picture shows the distances.
            found = Measured(distance, band=(low, high), most=limit * high)
        case "loudness_shift" | "anchor_loudness", {
            "shift": {"mean": mean, "low": low, "high": high}
        }:
            found = Measured(mean, low, high, least=-limit, most=limit)
        case "embedding_diversity", {"spread": {"ratio": ratio, "low": low, "high": high}}:
            found = Measured(ratio, low, high, least=limit)
        case "prompt_adherence", {"adherence": {"ratio": ratio, "low": low, "high": high}}:
            found = Measured(ratio, low, high, least=limit)
        case "held_out_accuracy", {"accuracy": accuracy, "low": low, "high": high}:
            found = Measured(accuracy, low, high, least=limit)
    return found


def shift_rows(evaluations: Sequence[Evaluation]) -> list[ShiftRow]:
    """The paired shifts that the gate stored, where it measured any."""
    for evaluation in evaluations:
        if shifts := evaluation.details.get("shifts"):
            return list(_shift_rows(shifts))
    return []


def _shift_rows(shifts: Iterable[Mapping[str, Any]]) -> Iterable[ShiftRow]:
    for shift in shifts:
        mean, low, high = shift["mean"], shift["low"], shift["high"]
        reach = 1.15 * max(abs(value) for value in (mean, low or 0.0, high or 0.0)) or 1.0

        def x(value: float, reach: float = reach) -> str:
            return _percent(50 + (50 - EDGE) * value / reach)

        has_interval = low is not None and high is not None
        yield ShiftRow(
            name=shift["name"],
            unit=shift["unit"],
            base=shift["base"],
            candidate=shift["candidate"],
            change=f"{mean:+.3g}",
            interval_text=f"{low:+.3g} to {high:+.3g}" if has_interval else "no interval",
            tone="b" if has_interval and (low > 0 or high < 0) else "soft",
            mean=x(mean),
            interval=(x(low), x(high)) if has_interval else None,
            n_pairs=shift["n_pairs"],
        )


def _percent(value: float) -> str:
    return f"{min(max(value, 0.0), 100.0):.2f}%"
