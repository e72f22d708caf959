"""Pairs labelled by a reward model: its word stands in place of the ratings'."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignment.collation import Target
from alignment.errors import RunFolderError
from alignment.relabelling import draw_clips, label_by_reward
from alignment.reward.model import load_reward
from alignment.reward.training import train_reward_run
from alignment.rl.models import model_reward
from alignment.rl.rollouts import ON_POLICY, Rollouts
from alignment.runs import Preference, Split, load_codes, read_preferences, read_run
from alignment.stopping import StopSwitch
from alignment.training import train_run
from tests.tiny import tiny_core
from tests.unit.alignment.planted import random_headers, sample_pairs, write_preferences
from tests.unit.alignment.reward_runs import (
    Pairs,
    coin,
    lowness,
    read_rows,
    write_reward_run,
    write_rows,
)


def share_of_low(rows: list[Preference]) -> float:
    """Returns how often the planted taste agrees with the chosen clips."""
    agrees = [lowness(load_codes(row.chosen)) > lowness(load_codes(row.rejected)) for row in rows]
    return sum(agrees) / len(rows)


def summary_of(folder: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the summary of a fresh training of a run folder by a changed run.json."""
    for left in ("result", "checkpoints"):
        shutil.rmtree(folder / left, ignore_errors=True)
    (folder / "run.json").write_text(json.dumps(run))
    return train_run(read_run(folder), stop=StopSwitch())


def test_the_better_liked_clip_is_chosen_with_the_probability_that_it_wins(tmp_path: Path) -> None:
    run = read_run(write_reward_run(tmp_path / "run"))
    train_reward_run(run, stop=StopSwitch(), device="cpu")
    flipped = [
        replace(row, chosen=row.rejected, rejected=row.chosen) if number % 4 == 0 else row
        for number, row in enumerate(read_preferences(run))
    ]
    assert share_of_low(flipped) == pytest.approx(0.75, abs=0.01)
    reward = model_reward(run.result, run.base, 0.0)
    assert {row.win_probability for row in label_by_reward(flipped, reward)} == {1.0}
    labelled = label_by_reward(flipped, reward, is_soft=True)
    assert share_of_low(labelled) > 0.9
    model = load_reward(run.result)
    for before, row in zip(flipped[:8], labelled[:8], strict=True):
        assert {row.chosen, row.rejected} == {before.chosen, before.rejected}
        first, second = model.score([load_codes(row.chosen), load_codes(row.rejected)]).mean
        assert row.win_probability == pytest.approx(1 / (1 + math.exp(second - first)))
        target = Target.of(row, soft_labels=True, reads_ties=False)
        assert (target.win, target.win + target.defeat) == (row.win_probability, 1.0)


def test_the_extremes_of_all_clips_of_a_header_become_its_pair(tmp_path: Path) -> None:
    for name, share in (("a", 0.5), ("b", 0.4), ("low", 0.9), ("mid", 0.6), ("high", 0.1)):
        np.save(tmp_path / f"{name}.npy", np.array([[0] * int(10 * share)], np.int16))
    a, b, low, mid, high = (tmp_path / f"{n}.npy" for n in ("a", "b", "low", "mid", "high"))
    row = Preference(pair="1", header=(0,), chosen=a, rejected=b)
    (found,) = label_by_reward(
        [row],
        lambda clips: np.array([clip.shape[1] for clip in clips]) / 4,
        [[low, mid, high]],
        is_soft=True,
    )
    assert (found.chosen, found.rejected) == (low, high)
    assert found.win_probability == pytest.approx(1 / (1 + math.exp(-(9 - 1) / 4)))
    (alike,) = label_by_reward([row], lambda clips: np.zeros(len(clips)), is_soft=True)
    assert (alike.chosen, alike.rejected, alike.win_probability) == (a, b, 0.5)


def test_clips_are_drawn_once_for_each_row_from_the_parent(tmp_path: Path) -> None:
    core = tiny_core()
    rows = write_preferences(tmp_path, sample_pairs(core, 3), [True] * 3)
    folder = tmp_path / "drawn"
    told = {"n_drawn": 2, "folder": folder, "seed": 4}
    drawn = draw_clips(rows, Rollouts(core), ON_POLICY, **told)
    first = {path: path.read_bytes() for paths in drawn for path in paths}
    assert len(set(first.values())) == 6
    assert {load_codes(path).shape for path in first} == {load_codes(rows[0].chosen).shape}
    drawn[1][0].unlink()
    others = {path: path.stat().st_mtime_ns for path in first if path != drawn[1][0]}
    assert draw_clips(rows, Rollouts(core), ON_POLICY, **told) == drawn
    assert {path: path.read_bytes() for path in first} == first
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_a_run_that_names_a_reward_model_learns_its_taste_from_ratings_without_any(
    tmp_path: Path,
) -> None:
    model = read_run(write_reward_run(tmp_path / "run"))
    train_reward_run(model, stop=StopSwitch(), device="cpu")
    rng_pairs = Pairs(judge=coin, n_train=64, n_held_out=40, seed=5)
    folder = write_reward_run(tmp_path / "dpo", rng_pairs)
    header = random_headers(1, seed=0)[0].tolist()
    rows = [{**row, "header": header} for row in read_rows(folder)]
    for row in rows:  # what only measures is rated by the taste itself
        low = [
            lowness(load_codes(tmp_path / "dpo/codes" / row[side]))
            for side in ("chosen", "rejected")
        ]
        if row["split"] == Split.HELD_OUT and low[0] < low[1]:
            row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    write_rows(tmp_path / "dpo", rows, {})
    stored = json.loads((folder / "run.json").read_text())
    config = {"n_drawn": 0, "n_epochs": 3, "sample_steps": 0, "learning_rate": 0.005}
    stored |= {"method": "dpo", "reward_model": str(model.result), "config": config}
    summary = summary_of(folder, stored)
    assert summary["held_out"]["accuracy"] > 0.75

    stored["config"] = {**config, "n_drawn": 2, "n_epochs": 1}
    drawn = summary_of(folder, stored)
    assert len(list((folder / "drawn").iterdir())) == 2 * 64
    assert drawn["held_out"]["accuracy"] > 0.5

    with pytest.raises(RunFolderError, match="a reward model names none"):
        summary_of(folder, stored | {"config": {"loss": "davidson"}})
