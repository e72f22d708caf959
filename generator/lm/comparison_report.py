"""The table and the picture of a trial of patterns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from generator.files import write_atomically, write_json
from generator.lm.comparison import ComparisonConfig, PatternResult
from generator.measures import Estimate

TABLE_JSON, TABLE_MARKDOWN, PICTURE_FILE = "table.json", "table.md", "patterns.png"
NORMAL_QUANTILE = 1.96
PAPER, INK, SOFT, LINE = "#fbfaf7", "#1c1a17", "#6b665e", "#e6e1d8"
COLOURS = ("#2b62c9", "#b8560b", "#2f7d4f", "#8a4a9e", "#6b665e")
MARKERS = ("o", "s", "^", "D", "v")


def interval(estimate: Estimate) -> float:
    """Returns half the width of an estimate's 95% interval."""
    return NORMAL_QUANTILE * estimate.standard_error


def table_rows(results: Sequence[PatternResult]) -> list[dict[str, Any]]:
    """Returns one row a pattern; differences are paired by clip and against the first pattern."""
    rows = []
    reference = np.array(results[0].nll_by_clip)
    for result in results:
        nll = Estimate.of(result.nll_by_clip)
        difference = Estimate.of((np.array(result.nll_by_clip) - reference).tolist())
        rows.append(
            {
                "pattern": result.name,
                "steps_per_second": round(result.steps_per_second, 1),
                "first_frame_steps": result.first_frame_steps,
                "n_parameters": result.n_parameters,
                "training_steps": result.training_steps,
                "cpu_s": result.cpu_s,
                "n_clips": nll.n,
                "nll": round(nll.mean, 4),
                "nll_interval": round(interval(nll), 4),
                "difference": round(difference.mean, 4),
                "difference_interval": round(interval(difference), 4),
                "nll_by_codebook": [round(value, 4) for value in result.nll_by_codebook],
                "times_real_time": round(result.times_real_time, 1),
            }
        )
    return rows


def table_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the rows as a Markdown table."""
    first = rows[0]["pattern"]
    lines = [
        f"| pattern | steps per second | steps to the first whole frame | training steps | CPU s "
        f"| NLL per code, nats | against {first} | by codebook | sampling, x real time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        difference = f"{row['difference']:+.3f} ± {row['difference_interval']:.3f}"
        lines.append(
            f"| {row['pattern'].replace('_', ' ')} | {row['steps_per_second']:g} "
            f"| {row['first_frame_steps']} | {row['training_steps']} | {row['cpu_s']:.0f} "
            f"| {row['nll']:.3f} ± {row['nll_interval']:.3f} "
            f"| {'' if row['pattern'] == first else difference} "
            f"| {' '.join(f'{value:.2f}' for value in row['nll_by_codebook'])} "
            f"| {row['times_real_time']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def write_report(folder: Path, results: Sequence[PatternResult], config: ComparisonConfig) -> None:
    """Writes table.json, table.md and patterns.png."""
    rows = table_rows(results)
    write_json(folder / TABLE_JSON, rows)
    write_atomically(folder / TABLE_MARKDOWN, table_markdown(rows).encode())
    draw(folder / PICTURE_FILE, results, config)


def draw(path: Path, results: Sequence[PatternResult], config: ComparisonConfig) -> None:
    """Draws the held-out likelihood against training time, and at the end against steps."""
    picture = Figure(figsize=(10.5, 4.2), dpi=150, facecolor=PAPER, layout="constrained")
    left, right = picture.subplots(1, 2, width_ratios=[1.25, 1.0])
    for axes in (left, right):
        _calm(axes)
    for result, colour, marker in zip(results, COLOURS, MARKERS, strict=False):
        name = result.name.replace("_", " ")
        left.plot(
            [point.cpu_s / 60 for point in result.curve],
            [point.nll for point in result.curve],
            color=colour,
            marker=marker,
            markersize=3.5,
            linewidth=1.4,
            label=f"{name}, {result.training_steps} steps",
        )
        nll = Estimate.of(result.nll_by_clip)
        right.errorbar(
            [result.steps_per_second],
            [nll.mean],
            yerr=[interval(nll)],
            color=colour,
            marker=marker,
            markersize=6,
            capsize=3,
            linestyle="none",
            label=name,
        )
    budget = f"{config.minutes:g} CPU minutes" if config.minutes else f"{config.max_steps} steps"
    _name(left, f"While training, {budget} each", "CPU minutes of training")
    n_clips = len(results[0].nll_by_clip)
    _name(
        right, f"At the end, {n_clips} held-out clips, 95% intervals", "steps per second of audio"
    )
    right.set_xlim(left=0)
    left.set_ylabel("NLL per code, nats", color=SOFT, fontsize=9)
    left.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    right.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    picture.savefig(path, facecolor=PAPER)


def _calm(axes: Axes) -> None:
    """Leaves of a plot's frame what is read."""
    axes.set_facecolor(PAPER)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    axes.tick_params(colors=SOFT, labelsize=8.5, length=0)


def _name(axes: Axes, title: str, x: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=INK)
    axes.set_xlabel(x, color=SOFT, fontsize=9)
