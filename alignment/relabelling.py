"""Pairs labelled by a reward model instead of by their own ratings, and pairs of its extremes.

One rating of a pair is wrong as often as its rater is. A reward model has heard all ratings and
says of each pair what they say together, with a probability. Preferences from a reward model for
DPO: Liu et al. 2024, arXiv:2309.06657; soft ones: Fisch et al. 2024, arXiv:2405.19316; the best
against the worst of several clips: Yuan et al. 2024, arXiv:2401.10020.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import expit

from alignment.rl.prompts import PromptRow
from alignment.rl.rewards import Reward, score_clips
from alignment.rl.rollouts import Rollouts, rollout_seed
from alignment.runs import Preference, load_codes
from generator.lm.sampling import SamplingSettings

DRAWN_FOLDER = "drawn"
BATCH_CLIPS = 32

logger = logging.getLogger(__name__)


def label_by_reward(
    rows: Sequence[Preference],
    reward: Reward,
    drawn: Sequence[Sequence[Path]] | None = None,
    *,
    is_soft: bool = False,
) -> list[Preference]:
    """Returns rows whose chosen clip is the one with the higher reward.

    is_soft: whether it wins with the probability that the rewards say, and not for sure.
    drawn: codes of further clips of each row's header; the best and the worst of all of a row's
    clips become its pair.
    """
    clips = [
        (row.chosen, row.rejected, *more)
        for row, more in zip(rows, drawn or [()] * len(rows), strict=True)
    ]
    scores = iter(score_clips(reward, [load_codes(path) for row in clips for path in row]).tolist())
    labelled = []
    for row, paths in zip(rows, clips, strict=True):
        found = [next(scores) for _ in paths]
        best, worst = int(np.argmax(found)), int(np.argmin(found))
        if best == worst:  # all are alike
            best, worst = 0, 1
        labelled.append(
            replace(
                row,
                chosen=paths[best],
                rejected=paths[worst],
                win_probability=float(expit(found[best] - found[worst])) if is_soft else 1.0,
            )
        )
    return labelled


def draw_clips(
    rows: Sequence[Preference],
    rollouts: Rollouts,
    settings: SamplingSettings,
    *,
    n_drawn: int,
    folder: Path,
    seed: int,
) -> list[list[Path]]:
    """Returns files of n_drawn clips of the parent for each row's header and length.

    A clip that an earlier attempt wrote is not drawn again.
    """
    rollouts.follow_parent()
    folder.mkdir(exist_ok=True)
    rate_hz = rollouts.core.frame_rate_hz
    wanted = [
        [folder / f"{place}-{number}.npy" for number in range(n_drawn)]
        for place in range(len(rows))
    ]
    missing = [
        (path, place, number)
        for place, paths in enumerate(wanted)
        for number, path in enumerate(paths)
        if not path.is_file()
    ]
    for start in range(0, len(missing), BATCH_CLIPS):
        batch = missing[start : start + BATCH_CLIPS]
        prompts = [_prompt_of(rows[place], rate_hz) for _, place, _ in batch]
        seeds = [rollout_seed(seed, place, number) for _, place, number in batch]
        for (path, _, _), clip in zip(
            batch, rollouts.sample(prompts, seeds, settings), strict=True
        ):
            partial = path.with_suffix(f".{os.getpid()}")  # every rank draws the same clips
            with partial.open("wb") as file:
                np.save(file, clip.codes)
            partial.replace(path)
        logger.info("drew %d of %d clips", start + len(batch), len(missing))
    return wanted


def _prompt_of(row: Preference, rate_hz: int) -> PromptRow:
    return PromptRow(row.prompt, row.header, load_codes(row.chosen).shape[1] / rate_hz)
