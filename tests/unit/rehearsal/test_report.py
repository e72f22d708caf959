"""The table, the JSON and the picture of a rehearsal."""

import json
from pathlib import Path

import numpy as np
from matplotlib.image import imread

from alignment.simulation.bootstrap import Interval, PairedScore
from alignment.simulation.tastes import Taste
from rehearsal.picture import draw
from rehearsal.report import Findings, GateCheck, Metric, clock, table, write_report


def whole_findings() -> Findings:
    rng = np.random.default_rng(0)
    return Findings(
        taste=Taste.DARKER,
        agreement=0.75,
        seed=0,
        study="rehearsal-1",
        base="starter",
        n_raters=24,
        duration_s=5.0,
        aligned="rehearsal-1-dpo-1",
        outcome="rehearsal-1-dpo-1 entered rotation as a canary.",
        n_pairs=480,
        n_ratings=478,
        training_agreement=0.752,
        round_counts={"train": 340, "held_out": 62},
        metrics=[Metric(1, 40, 0.693, 0.0), Metric(40, 40, 0.41, 0.9)],
        gate=[GateCheck("silence", True, "share of silent clips is 0; at most 0 is needed")],
        scores=[
            PairedScore(f"prompt {n % 30}", -10.0 + rng.normal(), -9.5 + rng.normal())
            for n in range(120)
        ],
        by_taste=Interval(0.71, 0.62, 0.79, 120, 30),
        as_rated=Interval(0.66, 0.57, 0.74, 120, 24),
        n_judgements=120,
        phases=[("rate", 301.0), ("train", 119.4)],
    )


def test_the_table_is_aligned_and_names_figures_with_intervals_and_counts() -> None:
    lines = table(whole_findings()).splitlines()
    by_taste = next(line for line in lines if line.startswith("held-out win rate by the taste"))
    assert "0.710  [0.620, 0.790]  120 pairs, 30 prompts" in by_taste
    assert any("340 trained on, 62 held out" in line for line in lines)
    assert any(line.endswith("7:00") and "in all" in line for line in lines)
    column = lines[0].index("darker")
    assert all(len(line) <= column or line[column - 2 : column] == "  " for line in lines if line)


def test_a_refused_gate_is_shown_with_the_sentence_of_the_check() -> None:
    findings = whole_findings()
    findings.gate.append(GateCheck("diversity", False, "diversity is 0.5; at least 0.9 was needed"))
    assert not findings.gate_passed
    assert "gate: diversity" in table(findings)
    assert "FAILED  diversity is 0.5; at least 0.9 was needed" in table(findings)


def test_a_rehearsal_that_ended_early_still_has_a_table_and_a_picture(tmp_path: Path) -> None:
    findings = Findings(
        taste=Taste.BUSIER, agreement=0.5, seed=1, study="s", base="b", n_raters=2, duration_s=2.0
    )
    assert "none was made" in table(findings)
    assert draw(findings, tmp_path).stat().st_size > 1000


def test_json_holds_what_the_table_says(tmp_path: Path) -> None:
    report, text = write_report(whole_findings(), tmp_path)
    stored = json.loads(report.read_text())
    assert stored["by_taste"] == {
        "figure": 0.71, "low": 0.62, "high": 0.79, "n": 120, "n_groups": 30
    }  # fmt: skip
    assert stored["taste"] == "darker" and stored["gate_passed"] is True
    assert len(stored["scores"]) == 120
    assert text.read_text().startswith("taste")


def test_the_picture_is_drawn_on_paper(tmp_path: Path) -> None:
    pixels = imread(draw(whole_findings(), tmp_path))
    assert pixels.shape[1] > pixels.shape[0] > 400
    assert np.allclose(pixels[0, 0, :3], np.array([0xFB, 0xFA, 0xF7]) / 255, atol=0.01)


def test_a_clock_shows_minutes_and_seconds() -> None:
    assert [clock(s) for s in (0.4, 59.6, 600.0)] == ["0:00", "1:00", "10:00"]
