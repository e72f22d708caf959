"""Pairs labelled by a reward model instead of by their own ratings.

One rating of a pair is wrong as often as its rater is. A reward model has heard all ratings and
says of each pair what they say together, with a probability. Preferences from a reward model for
DPO: Liu et al. 2024, arXiv:2309.06657; soft ones: Fisch et al. 2024, arXiv:2405.19316.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scipy.special import expit

from alignment.rl.models import model_reward
from alignment.rl.rewards import score_clips
from alignment.runs import Preference, load_codes


def label_by_reward(
    rows: Sequence[Preference], folder: Path, base: Path, device: str = "cpu"
) -> list[Preference]:
    """Returns rows whose chosen clip is the one a reward checkpoint likes better, and how surely.

    base: the full checkpoint whose codec made the codes. RunFolderError where the reward model
    learned from codes of another codec.
    """
    reward = model_reward(folder, base, 0.0, device)
    codes = [load_codes(path) for row in rows for path in (row.chosen, row.rejected)]
    scores = score_clips(reward, codes).reshape(-1, 2)
    differences = scores[:, 0] - scores[:, 1]
    return [
        _labelled(row, float(difference)) for row, difference in zip(rows, differences, strict=True)
    ]


def _labelled(row: Preference, difference: float) -> Preference:
    """Returns a row whose chosen clip wins against the other by a difference of scores."""
    chosen, rejected = row.chosen, row.rejected
    if difference < 0:
        chosen, rejected = rejected, chosen
    return replace(
        row, chosen=chosen, rejected=rejected, win_probability=float(expit(abs(difference)))
    )
