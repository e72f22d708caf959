"""KTO on clips that have no partner: read, checked, and learned from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignment.errors import RunFolderError
from alignment.runs import read_run
from alignment.stopping import StopSwitch
from alignment.training import prepare_run, train_run
from tests.unit.alignment.planted import random_headers, write_small_checkpoint
from tests.unit.alignment.reward_runs import draw_clip, lowness

HEADER = random_headers(1, seed=0)[0].tolist()


def write_run(folder: Path, clips: list[dict[str, Any]], **more: Any) -> Path:
    """Writes a run folder with single clips and a few held-out pairs; returns it."""
    if not (folder / "base").is_dir():
        write_small_checkpoint(folder / "base")
    rng = np.random.default_rng(9)
    rows = []
    for number in range(30):
        drawn = sorted((draw_clip(rng) for _ in range(2)), key=lowness)
        for side, codes in zip("ba", drawn, strict=True):
            np.save(folder / f"held-{number}{side}.npy", codes)
        names = {"chosen": f"held-{number}a.npy", "rejected": f"held-{number}b.npy"}
        rows.append({"pair": str(number), "header": HEADER, "split": "held_out", **names})
    (folder / "preferences.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "clips.jsonl").write_text("".join(json.dumps(clip) + "\n" for clip in clips))
    stored = {
        "name": "single",
        "method": "kto",
        "base": "base",
        "preferences": "preferences.jsonl",
        "codes_root": ".",
        "clips": "clips.jsonl",
        "config": {"n_epochs": 4, "learning_rate": 0.005, "sample_steps": 2, "batch_clips": 16},
    }
    (folder / "run.json").write_text(json.dumps(stored | more))
    return folder


def test_clips_without_a_partner_teach_a_taste(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    clips = []
    for number in range(96):
        codes = draw_clip(rng)
        np.save(tmp_path / f"{number}.npy", codes)
        label = lowness(codes) > 0.5
        clips.append({"header": HEADER, "codes": f"{number}.npy", "label": label})
    summary = train_run(read_run(write_run(tmp_path, clips)), stop=StopSwitch())
    assert (summary["n_clips"], summary["n_train"], summary["n_held_out"]) == (96, 0, 30)
    assert summary["held_out"]["accuracy"] > 0.75


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"label": "good"}, "line 1: a label is true or false, got 'good'"),
        ({"weight": 0}, "line 1: a weight is above 0 and at most 1000, got 0.0"),
        ({"header": [1, 2]}, "header of clip 0.npy has 2 ids, the core reads 10"),
        ({"codes": "gone.npy"}, "gone.npy does not hold codes"),
        ({"codes": "wide.npy"}, r"expected codes of shape \[2, T\], got \(3, 5\)"),
        ({"codes": None}, "line 1 is not a clip"),
    ],
)
def test_a_clip_that_cannot_be_learned_from_is_named(
    change: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "0.npy", draw_clip(np.random.default_rng(0)))
    np.save(tmp_path / "wide.npy", np.zeros((3, 5), np.int16))
    clip = {"header": HEADER, "codes": "0.npy", "label": True} | change
    run = read_run(write_run(tmp_path, [clip]))
    with pytest.raises(RunFolderError, match=problem):
        prepare_run(run, "cpu")


def test_a_reward_model_that_nothing_would_read_is_refused(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [], reward_model="base")
    with pytest.raises(RunFolderError, match=r"kto reads no reward_model, run.json names one"):
        read_run(folder)


def test_only_a_method_of_single_clips_reads_them(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [], method="dpo", config={})
    with pytest.raises(RunFolderError, match=r"dpo learns from pairs, run.json names clips"):
        read_run(folder)
