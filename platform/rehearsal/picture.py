"""The picture of a rehearsal: win rates with intervals, scores of both checkpoints, training."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignment.simulation.bootstrap import Interval
from alignment.simulation.tastes import TASTE_UNITS
from rehearsal.report import Findings

PICTURE_FILE = "report.png"
PAPER, INK, SOFT, LINE = "#fbfaf7", "#1c1a17", "#6b665e", "#e6e1d8"
BLUE, ORANGE = "#2b62c9", "#b8560b"
N_BINS = 24


def draw(findings: Findings, folder: Path) -> Path:
    """Writes report.png into the folder and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = Figure(figsize=(12.0, 4.4), dpi=150, facecolor=PAPER, layout="constrained")
    left, middle, right = picture.subplots(1, 3, width_ratios=[1.0, 1.1, 1.1])
    for axes in (left, middle, right):
        _calm(axes)
    _draw_win_rates(left, findings)
    _draw_scores(middle, findings)
    _draw_training(right, findings)
    picture.suptitle(
        f"Rehearsal: raters who like it {findings.taste}, "
        f"{findings.agreement:.0%} agreement, {findings.n_ratings} ratings",
        color=INK,
        fontsize=13,
        family="serif",
    )
    path = folder / PICTURE_FILE
    picture.savefig(path, facecolor=PAPER)
    return path


def _calm(axes: Axes) -> None:
    axes.set_facecolor(PAPER)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    axes.tick_params(colors=SOFT, labelsize=9, length=0)
    axes.title.set_color(INK)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=10.5, color=INK)


def _empty(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=SOFT, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_win_rates(axes: Axes, findings: Findings) -> None:
    _title(axes, "Aligned against base, held-out prompts")
    rows: list[tuple[str, Interval, str]] = []
    if findings.by_taste is not None:
        rows.append(("by the\ntaste", findings.by_taste, BLUE))
    if findings.as_rated is not None:
        rows.append(("as\nrated", findings.as_rated, ORANGE))
    if not rows:
        _empty(axes, "not judged")
        return
    axes.axvline(0.5, color=SOFT, linewidth=1.0, linestyle=(0, (2, 3)))
    for place, (_, interval, colour) in enumerate(reversed(rows)):
        axes.plot(
            [interval.low, interval.high],
            [place, place],
            color=colour,
            linewidth=2.5,
            solid_capstyle="round",
        )
        axes.plot(interval.figure, place, "o", color=colour, markersize=8)
        axes.annotate(
            f"{interval.figure:.2f}  [{interval.low:.2f}, {interval.high:.2f}]",
            (interval.figure, place),
            xytext=(0, 12),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=INK,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0},
        )
    axes.set_yticks(range(len(rows)), [name for name, _, _ in reversed(rows)], color=INK)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("win rate with 95% interval; 0.5 is no change", color=SOFT, fontsize=9)


def _draw_scores(axes: Axes, findings: Findings) -> None:
    _title(axes, "What the taste finds in the clips")
    if not findings.scores:
        _empty(axes, "no clips were compared")
        return
    base = np.array([score.base for score in findings.scores])
    aligned = np.array([score.aligned for score in findings.scores])
    both = np.concatenate([base, aligned])
    low, high = np.quantile(both, [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1.0, N_BINS + 1).tolist()
    for values, colour, name in ((base, BLUE, "base"), (aligned, ORANGE, "aligned")):
        inside = np.clip(values, edges[0], edges[-1])
        axes.hist(inside, bins=edges, color=colour, alpha=0.18)
        axes.hist(inside, bins=edges, color=colour, histtype="step", linewidth=1.6, label=name)
        axes.axvline(float(np.median(values)), color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_xlabel(f"{TASTE_UNITS[findings.taste]} (dashed: medians)", color=SOFT, fontsize=9)
    axes.set_ylabel("clips", color=SOFT, fontsize=9)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)


def _draw_training(axes: Axes, findings: Findings) -> None:
    _title(axes, "Training: loss and reward margin")
    loss = [(m.step, m.loss) for m in findings.metrics if m.loss is not None]
    margin = [(m.step, m.margin) for m in findings.metrics if m.margin is not None]
    if not loss:
        _empty(axes, "nothing was logged")
        return
    axes.plot(*zip(*loss, strict=True), color=BLUE, linewidth=1.6)
    axes.set_ylabel("loss", color=BLUE, fontsize=9)
    axes.set_xlabel("step", color=SOFT, fontsize=9)
    if margin:
        other = axes.twinx()
        _calm(other)
        other.set_facecolor("none")
        other.plot(*zip(*margin, strict=True), color=ORANGE, linewidth=1.6)
        other.set_ylabel("reward margin", color=ORANGE, fontsize=9)
