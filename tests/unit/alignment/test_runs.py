"""Run folders: what is refused before anything is trained, and with which words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignment.errors import ConfigError, RunFolderError
from alignment.runs import Split, read_preferences, read_run
from alignment.stopping import StopSwitch
from alignment.training import train_run
from generator.checkpoints import content_hash
from tests.tiny import tiny_core, write_tiny_checkpoint
from tests.unit.alignment.planted import sample_pairs, write_preferences, write_run


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A whole run folder with six preferences, two of them held out."""
    base = write_tiny_checkpoint(tmp_path / "base")
    pairs = sample_pairs(tiny_core(), 6)
    preferences = write_preferences(tmp_path / "codes", pairs, [True] * 6, n_held_out=2)
    return write_run(tmp_path / "run", base=base, preferences=preferences, config={})


def change_run(folder: Path, **changes: Any) -> None:
    """Changes keys of run.json; None removes one."""
    path = folder / "run.json"
    run = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in run.items() if value is not None}))


def change_row(folder: Path, **changes: Any) -> None:
    """Changes keys of the first preference and forgets the dataset's hash."""
    path = folder / "preferences.jsonl"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), **changes}), *rest]))
    change_run(folder, dataset_sha256=None)


def test_a_whole_run_is_read_as_it_was_written(run_folder: Path) -> None:
    run = read_run(run_folder)
    assert run.name == "tiny-aligned"
    assert run.chain == (run_folder.parent / "base",)
    rows = read_preferences(run)
    assert [row.split for row in rows] == [Split.TRAIN] * 4 + [Split.HELD_OUT] * 2
    assert [row.pair for row in rows] == ["0", "1", "2", "3", "4", "5"]


def test_a_folder_without_run_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"run\.json is missing"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": None}, r"lacks \['name'\]"),
        ({"tempo": 3}, r"unknown keys \['tempo'\]; allowed are"),
        ({"method": "ppo"}, r"method is one of \['dpo', 'kto', .*\], got 'ppo'"),
        ({"config": []}, r"config is an object, got \[\]"),
        ({"adapters": "a"}, "adapters is a list of folders, got 'a'"),
        ({"base": "nowhere"}, "nowhere, which is not there"),
    ],
)
def test_a_bad_run_is_refused(run_folder: Path, changes: dict[str, Any], sentence: str) -> None:
    change_run(run_folder, **changes)
    with pytest.raises(RunFolderError, match=sentence):
        read_run(run_folder)


def test_an_unknown_setting_is_refused_before_anything_is_read(run_folder: Path) -> None:
    change_run(run_folder, config={"epochs": 3})
    with pytest.raises(ConfigError, match=r"\['epochs'\]"):
        read_run(run_folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"split": "test"}, "line 1 is not a preference: 'test'"),
        ({"weight": 0}, r"above 0 and at most 1000, got 0\.0"),
        ({"weight": float("nan")}, "above 0 and at most 1000, got nan"),
        ({"header": "waltz"}, "line 1 is not a preference"),
        ({"chosen": "gone.npy"}, r"names .*gone\.npy, which is not there"),
        ({"rejected": "0-a.npy", "rejected_sha256": None}, "one clip twice"),
        ({"chosen_sha256": "f" * 64}, r"has sha256 .*the preference says ffffffffffff"),
    ],
)
def test_a_bad_preference_is_refused(
    run_folder: Path, changes: dict[str, Any], sentence: str
) -> None:
    change_row(run_folder, **changes)
    with pytest.raises(RunFolderError, match=sentence):
        read_preferences(read_run(run_folder))


def test_preferences_changed_since_they_were_frozen_are_refused(run_folder: Path) -> None:
    with (run_folder / "preferences.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(RunFolderError, match="the run says"):
        read_preferences(read_run(run_folder))


def test_a_run_without_a_training_row_is_refused(run_folder: Path) -> None:
    for _ in range(4):
        rows = (run_folder / "preferences.jsonl").read_text().splitlines()
        (run_folder / "preferences.jsonl").write_text("\n".join(rows[1:]))
    change_run(run_folder, dataset_sha256=None)
    with pytest.raises(RunFolderError, match="has 2 preferences, none with split 'train'"):
        read_preferences(read_run(run_folder))


def replace_codes(codes: np.ndarray) -> Callable[[Path], None]:
    """Returns what puts other codes into the first chosen clip."""

    def replace(folder: Path) -> None:
        np.save(folder.parent / "codes" / "0-a.npy", codes)
        change_row(folder, chosen_sha256=None)

    return replace


def truncate_codes(folder: Path) -> None:
    """Leaves half of the first chosen clip's file."""
    path = folder.parent / "codes" / "0-a.npy"
    path.write_bytes(path.read_bytes()[:90])
    change_row(folder, chosen_sha256=None)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncate_codes, "does not hold codes"),
        (replace_codes(np.zeros((4, 25), np.int16)), r"of shape \[2, T\], got \(4, 25\)"),
        (replace_codes(np.full((2, 25), 512, np.int16)), "codes are 0 to 511, got 512 to 512"),
        (replace_codes(np.zeros((2, 24), np.int16)), "have 24 and 25 frames"),
        (replace_codes(np.zeros((2, 25), np.float32)), "does not hold whole numbers"),
        (lambda folder: change_row(folder, header=[0, 1]), "has 2 ids, the core reads 10"),
        (lambda folder: change_run(folder, parent_hash="0" * 64), "the run says 000000000000"),
        (
            lambda folder: (folder.parent / "base" / "lm.safetensors").write_bytes(b"0"),
            "the parent cannot be loaded: .*its card says",
        ),
    ],
)
def test_what_does_not_fit_the_parent_is_refused_before_training(
    run_folder: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(run_folder)
    with pytest.raises(RunFolderError, match=sentence):
        train_run(read_run(run_folder), stop=StopSwitch())
    assert not (run_folder / "checkpoints").exists()


def test_the_hash_of_the_parent_is_that_of_its_content(run_folder: Path) -> None:
    assert read_run(run_folder).parent_hash == content_hash(run_folder.parent / "base")
