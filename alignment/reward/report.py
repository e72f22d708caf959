"""What a reward model is worth on preferences it never saw: figures, and a picture of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alignment.reward.agreement import SelfAgreement
from alignment.reward.calibration import (
    Bin,
    DecidedRatings,
    expected_calibration_error,
    log_loss,
    reliability_bins,
)
from alignment.reward.config import TieModel
from alignment.reward.heads import Head, outcome_nll
from generator.shares import Share

PAPER, INK, SOFT, LINE, BLUE = "#fbfaf7", "#1c1a17", "#6b665e", "#e6e1d8", "#2b62c9"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """How a reward model does on a set of pairs."""

    accuracy: Share
    """Pairs more of whose ratings favour the clip that scores higher; equal scores count half."""
    log_loss: float
    """Per decided rating, in nats; a coin's is 0.693."""
    ece: float
    bins: tuple[Bin, ...]
    n_ratings: int
    """Decided ratings."""
    n_ties: int
    outcome_nll: float | None
    """Per rating, ties included, in nats; None where no head knows ties."""

    def to_json(self) -> dict[str, Any]:
        """Returns the figures as a mapping that JSON can hold."""
        low, high = self.accuracy.interval
        return {
            "accuracy": round(self.accuracy.share, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "n": self.accuracy.n,
            "log_loss": round(self.log_loss, 4),
            "ece": round(self.ece, 4),
            "bins": [asdict(found) for found in self.bins],
            "n_ratings": self.n_ratings,
            "n_ties": self.n_ties,
            "outcome_nll": self.outcome_nll and round(self.outcome_nll, 4),
        }


def measure(
    margins: Floats,
    counts: Floats,
    heads: Sequence[Head],
    tie_model: TieModel,
    temperature: float = 1.0,
) -> Measured | None:
    """Returns the figures of pairs, None where no rating among them is decided.

    margins: scores of chosen less rejected clips, [N]; counts: ratings for chosen, rejected and
    neither, [N, 3]. The margins were divided by the temperature, which tie shares know nothing of.
    """
    lead = counts[:, 0] - counts[:, 1]
    if not counts[:, :2].any():
        return None
    judged = lead != 0
    right = (np.sign(margins) == np.sign(lead)) + 0.5 * (margins == 0)
    ratings = DecidedRatings(margins, counts[:, 0], counts[:, 1])
    bins = reliability_bins(ratings)
    shares = [head.tie_share for head in heads if head.tie_share is not None]
    nll = None
    if shares:
        share = torch.tensor(float(np.mean(shares)), dtype=torch.float64)
        raw = torch.from_numpy(margins * temperature)
        found = outcome_nll(raw, torch.from_numpy(counts), tie_model, share)
        nll = float(found)
    return Measured(
        accuracy=Share(float(right[judged].sum()), int(judged.sum())),
        log_loss=log_loss(ratings),
        ece=expected_calibration_error(bins),
        bins=bins,
        n_ratings=round(ratings.n),
        n_ties=round(float(counts[:, 2].sum())),
        outcome_nll=nll,
    )


def draw_calibration(path: Path, measured: Measured, agreement: SelfAgreement) -> None:
    """Draws what came true against what was predicted, and how many ratings each point holds."""
    picture = Figure(figsize=(5.6, 5.2), dpi=150, facecolor=PAPER, layout="constrained")
    axes = picture.subplots()
    axes.set_facecolor(PAPER)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    axes.tick_params(colors=SOFT, labelsize=8.5, length=0)
    axes.plot([0.5, 1.0], [0.5, 1.0], color=SOFT, linewidth=1.0, linestyle=(0, (4, 3)))
    for found in measured.bins:
        axes.plot(
            [found.predicted] * 2,
            [found.observed_low, found.observed_high],
            color=BLUE,
            linewidth=1.4,
        )
        axes.plot([found.predicted], [found.observed], "o", color=BLUE, markersize=6)
        axes.annotate(
            f"{found.n:.0f}",
            (found.predicted, found.observed),
            xytext=(7, -11),
            textcoords="offset points",
            fontsize=8,
            color=SOFT,
        )
    if agreement.share is not None:
        own = agreement.share.share
        axes.axhline(own, color=SOFT, linewidth=0.8)
        axes.annotate(
            f"raters agree with themselves, {own:.2f}", (0.5, own + 0.008), fontsize=8, color=SOFT
        )
    low, high = measured.accuracy.interval
    axes.set_title(
        f"Accuracy {measured.accuracy.share:.3f} [{low:.3f}, {high:.3f}] on "
        f"{measured.accuracy.n} pairs, ECE {measured.ece:.3f}",
        loc="left",
        fontsize=10,
        color=INK,
    )
    axes.set_xlim(0.49, 1.01)
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel("probability given to the likelier clip", color=SOFT, fontsize=9)
    axes.set_ylabel("share of ratings that favoured it, 95% intervals", color=SOFT, fontsize=9)
    picture.savefig(path, facecolor=PAPER, format="png")
