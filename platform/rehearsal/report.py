"""What a rehearsal found, as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alignment.simulation.bootstrap import Interval, PairedScore
from alignment.simulation.tastes import TASTE_UNITS, Taste

REPORT_FILE = "report.json"
TABLE_FILE = "report.txt"


@dataclass(frozen=True)
class Metric:
    """What the round logged at one step."""

    step: int
    n_steps: int
    loss: float | None
    margin: float | None


@dataclass(frozen=True)
class GateCheck:
    """One check of the gate as the site recorded it."""

    name: str
    passed: bool
    sentence: str


@dataclass
class Findings:
    """All that a rehearsal learned; a part that was not reached is empty or None."""

    taste: Taste
    agreement: float
    seed: int
    study: str
    base: str
    n_raters: int
    duration_s: float
    aligned: str | None = None
    outcome: str = ""
    n_pairs: int = 0
    n_ratings: int = 0
    training_agreement: float | None = None
    round_counts: dict[str, Any] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    gate: list[GateCheck] = field(default_factory=list)
    scores: list[PairedScore] = field(default_factory=list)
    by_taste: Interval | None = None
    as_rated: Interval | None = None
    n_judgements: int = 0
    phases: list[tuple[str, float]] = field(default_factory=list)

    @property
    def gate_passed(self) -> bool:
        """Whether every check of the gate passed."""
        return bool(self.gate) and all(check.passed for check in self.gate)


def table(findings: Findings) -> str:
    """Returns the findings as aligned plain text."""
    blocks = [_setting_rows(findings), _result_rows(findings), _gate_rows(findings)]
    blocks.append([(f"time: {name}", clock(seconds)) for name, seconds in findings.phases])
    if findings.phases:
        total_s = sum(seconds for _, seconds in findings.phases)
        blocks[-1].append(("time: in all", clock(total_s)))
    width = max(len(name) for block in blocks for name, _ in block)
    return "\n\n".join(
        "\n".join(f"{name:<{width}}  {value}" for name, value in block) for block in blocks if block
    )


def _setting_rows(findings: Findings) -> list[tuple[str, str]]:
    reached = findings.training_agreement
    achieved = "" if reached is None else f", reached {reached:.3f}"
    rows = [
        ("taste", f"{findings.taste} ({TASTE_UNITS[findings.taste]})"),
        ("agreement with it", f"asked {findings.agreement:.2f}{achieved}"),
        ("pairs rated", f"{findings.n_ratings} of {findings.n_pairs}, {findings.n_raters} raters"),
    ]
    counts = findings.round_counts
    if counts:
        rows.append(
            (
                "preferences",
                f"{counts.get('train', 0)} trained on, {counts.get('held_out', 0)} held out",
            )
        )
    if findings.metrics:
        first, last = findings.metrics[0], findings.metrics[-1]
        rows.append(("steps", f"{last.step} of {last.n_steps}"))
        rows.append(("loss", f"{figure(first.loss)} -> {figure(last.loss)}"))
        rows.append(("reward margin", f"{figure(first.margin)} -> {figure(last.margin)}"))
    return rows


def _result_rows(findings: Findings) -> list[tuple[str, str]]:
    rows = [("base", findings.base), ("aligned", findings.aligned or "none was made")]
    if findings.by_taste is not None:
        rows.append(("held-out win rate by the taste", interval_text(findings.by_taste, "prompts")))
    if findings.as_rated is not None:
        rows.append(("held-out win rate as rated", interval_text(findings.as_rated, "raters")))
    if findings.outcome:
        rows.append(("outcome", findings.outcome))
    return rows


def _gate_rows(findings: Findings) -> list[tuple[str, str]]:
    return [
        (f"gate: {check.name}", f"{'passed' if check.passed else 'FAILED'}  {check.sentence}")
        for check in findings.gate
    ]


def interval_text(interval: Interval, groups: str) -> str:
    """Returns a figure with its interval and its counts."""
    return (
        f"{interval.figure:.3f}  [{interval.low:.3f}, {interval.high:.3f}]  "
        f"{interval.n} pairs, {interval.n_groups} {groups}"
    )


def figure(value: float | None) -> str:
    """Returns a number for the table; a dash where there is none."""
    return "-" if value is None else f"{value:.4g}"


def clock(seconds: float) -> str:
    """Returns a duration as minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def to_json(findings: Findings) -> dict[str, Any]:
    """Returns the findings as plain JSON values."""
    stored = asdict(findings)
    stored["phases"] = [{"phase": name, "seconds": round(s, 1)} for name, s in findings.phases]
    stored["gate_passed"] = findings.gate_passed
    return stored


def write_report(findings: Findings, folder: Path) -> Sequence[Path]:
    """Writes report.json and report.txt into the folder; returns both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    report, text = folder / REPORT_FILE, folder / TABLE_FILE
    report.write_text(json.dumps(to_json(findings), indent=1) + "\n")
    text.write_text(table(findings) + "\n")
    return report, text
