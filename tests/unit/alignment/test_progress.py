"""Saves that are whole, and how long a run took over all its attempts."""

import json
import os
from pathlib import Path

import pytest

from alignment.progress import COMPLETE_FILE, earlier_wall_s, mark_whole, newest_checkpoint
from alignment.runs import read_run
from alignment.stopping import StopSwitch
from alignment.training import train_run
from tests.tiny import tiny_core, write_tiny_checkpoint
from tests.unit.alignment.planted import sample_pairs, write_preferences, write_run


def test_a_save_is_marked_only_when_the_disk_has_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark comes after the weights and the folders that name them, and is synced itself."""
    save = tmp_path / "checkpoint-10"
    (save / "rng").mkdir(parents=True)
    for name in ("adapter_model.safetensors", "optimizer.pt", "rng/state.pth"):
        (save / name).write_bytes(b"weights")
    synced: list[tuple[str, bool]] = []
    really_sync = os.fsync

    def note(descriptor: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((str(place.relative_to(tmp_path)), (save / COMPLETE_FILE).exists()))
        really_sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    mark_whole(save)
    before = [place for place, is_marked in synced if not is_marked]
    assert set(before) == {
        "checkpoint-10/adapter_model.safetensors",
        "checkpoint-10/optimizer.pt",
        "checkpoint-10/rng/state.pth",
        "checkpoint-10/rng",
        "checkpoint-10",
    }
    assert before.index("checkpoint-10/rng/state.pth") < before.index("checkpoint-10/rng")
    assert before[-1] == "checkpoint-10"
    after = [place for place, is_marked in synced if is_marked]
    assert after == ["checkpoint-10/complete", "checkpoint-10", "."]
    assert newest_checkpoint(tmp_path) == save


def test_what_earlier_attempts_took_is_read_past_a_half_written_line(tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"
    assert earlier_wall_s(progress) == 0.0
    lines = ['{"step": 1, "wall_s": 3.5}', '{"step": 2, "held_out_n": 4}', '{"step": 3, "wall_']
    progress.write_text("\n".join(lines))
    assert earlier_wall_s(progress) == 3.5


def test_the_time_of_a_run_counts_its_earlier_attempts(tmp_path: Path) -> None:
    base = write_tiny_checkpoint(tmp_path / "base")
    rows = write_preferences(tmp_path / "codes", sample_pairs(tiny_core(), 6), [True] * 6, 2)
    run = write_run(
        tmp_path / "run",
        base=base,
        preferences=rows,
        config={"n_epochs": 1, "batch_pairs": 4, "sample_steps": 0},
    )
    (run / "progress.jsonl").write_text('{"step": 1, "n_steps": 1, "wall_s": 5000.0}\n')
    summary = train_run(read_run(run), stop=StopSwitch())
    assert 5000.0 < summary["wall_s"] < 6000.0
    lines = [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]
    assert [line["wall_s"] > 5000.0 for line in lines[1:] if "loss" in line] == [True]
