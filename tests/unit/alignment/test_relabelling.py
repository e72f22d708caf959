"""Pairs labelled by a reward model: its word stands in place of the ratings'."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from alignment.collation import Target
from alignment.errors import RunFolderError
from alignment.relabelling import label_by_reward
from alignment.reward.model import load_reward
from alignment.reward.training import train_reward_run
from alignment.runs import Preference, Split, load_codes, read_preferences, read_run
from alignment.stopping import StopSwitch
from alignment.training import train_run
from tests.unit.alignment.planted import random_headers
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


def test_the_better_liked_clip_is_chosen_with_the_probability_that_it_wins(tmp_path: Path) -> None:
    run = read_run(write_reward_run(tmp_path / "run"))
    train_reward_run(run, stop=StopSwitch(), device="cpu")
    flipped = [
        replace(row, chosen=row.rejected, rejected=row.chosen) if number % 4 == 0 else row
        for number, row in enumerate(read_preferences(run))
    ]
    assert share_of_low(flipped) == pytest.approx(0.75, abs=0.01)
    labelled = label_by_reward(flipped, run.result, run.base)
    assert share_of_low(labelled) > 0.9
    model = load_reward(run.result)
    for before, row in zip(flipped[:8], labelled[:8], strict=True):
        assert {row.chosen, row.rejected} == {before.chosen, before.rejected}
        first, second = model.score([load_codes(row.chosen), load_codes(row.rejected)]).mean
        assert row.win_probability == pytest.approx(1 / (1 + math.exp(second - first)))
        target = Target.of(row, soft_labels=True, reads_ties=False)
        assert (target.win, target.win + target.defeat) == (row.win_probability, 1.0)
        assert Target.of(row, soft_labels=False, reads_ties=False).win == 1.0


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
    config = {"n_epochs": 3, "sample_steps": 0, "learning_rate": 0.005}
    stored |= {"method": "dpo", "reward_model": str(model.result), "config": config}
    (folder / "run.json").write_text(json.dumps(stored))
    summary = train_run(read_run(folder), stop=StopSwitch())
    assert summary["held_out"]["accuracy"] > 0.75

    stored["config"] = {"loss": "davidson"}
    stored["name"] = "ties"
    other = tmp_path / "ties"
    folder.rename(other)
    (other / "run.json").write_text(json.dumps(stored))
    for left in ("result", "checkpoints", "summary.json", "progress.jsonl"):
        place = other / left
        place.rename(tmp_path / f"old-{left}")
    with pytest.raises(RunFolderError, match="a reward model names none"):
        train_run(read_run(other), stop=StopSwitch())
