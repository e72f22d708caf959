"""What a reward model is worth, as its folder reports it, and its calibration as a picture."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attune.catalog.models import Checkpoint
from attune.catalog.storage import checkpoint_folder
from console.charts import Tick

REPORT_FILE = "report.json"
MEASURED_ON = {
    "disjoint": "on prompts and raters it never saw",
    "held_out": "on prompts it never saw",
    "cross_validated": "by cross-validation, each part by heads that never saw its prompts",
}
"""The sets of pairs that a report may have figures of, the strictest first."""
CHART_HEIGHT, TOP, FLOOR = 250, 12, 218


@dataclass(frozen=True)
class Point:
    """Ratings of pairs that were given about the same probability: what was foreseen, what came."""

    x: str
    y: str
    low_y: str
    high_y: str
    n: int
    told: str


@dataclass(frozen=True)
class CalibrationChart:
    """Foreseen against observed shares; on the dashed line they are the same."""

    description: str
    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    even_y: str
    certain_y: str
    own_y: str | None
    height: int = CHART_HEIGHT
    floor: int = FLOOR
    label_y: int = CHART_HEIGHT - 14


@dataclass(frozen=True)
class RewardReport:
    """A reward model's figures on the strictest set there is, beside how raters agree."""

    measured_on: str
    figures: Mapping[str, Any]
    self_agreement: Mapping[str, Any]
    chart: CalibrationChart


def find_reward_report(checkpoint: Checkpoint) -> RewardReport | None:
    """The report in the checkpoint's folder; None where it is gone or has no figures."""
    try:
        text = (checkpoint_folder(checkpoint) / REPORT_FILE).read_text(encoding="utf-8")
        content = json.loads(text)
    except (OSError, ValueError):
        return None
    return report_of(content) if isinstance(content, dict) else None


def report_of(content: Mapping[str, Any]) -> RewardReport | None:
    """The report of a folder's file; None without figures."""
    for name, measured_on in MEASURED_ON.items():
        figures = content.get(name)
        if figures and figures.get("bins"):
            agreement = content.get("self_agreement") or {}
            return RewardReport(measured_on, figures, agreement, _chart(figures, agreement))
    return None


def _chart(figures: Mapping[str, Any], agreement: Mapping[str, Any]) -> CalibrationChart:
    own = agreement.get("share")
    return CalibrationChart(
        description="; ".join(
            f"foreseen {one['predicted']:.0%}, came {one['observed']:.0%} of {one['n']:.0f}"
            for one in figures["bins"]
        ),
        points=tuple(
            Point(
                x=_x(one["predicted"]),
                y=_y(one["observed"]),
                low_y=_y(one["observed_low"]),
                high_y=_y(one["observed_high"]),
                n=round(one["n"]),
                told=f"foreseen {one['predicted']:.0%}, came {one['observed']:.0%}",
            )
            for one in figures["bins"]
        ),
        x_ticks=tuple(Tick(_x(share), f"{share:.0%}") for share in (0.5, 0.75, 1.0)),
        y_ticks=tuple(Tick(_y(share), f"{share:.0%}") for share in (0.0, 0.5, 1.0)),
        even_y=_y(0.5),
        certain_y=_y(1.0),
        own_y=_y(own) if isinstance(own, int | float) else None,
    )


def _x(share: float) -> str:
    """One half is at the left edge and certainty at the right."""
    return f"{200 * (share - 0.5):.2f}%"


def _y(share: float) -> str:
    return f"{FLOOR - share * (FLOOR - TOP):.1f}"
