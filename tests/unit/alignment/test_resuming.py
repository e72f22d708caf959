"""Killed, stopped and started again: real processes, equal losses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from generator.checkpoints import verify_folder
from tests.tiny import tiny_core, write_tiny_checkpoint
from tests.unit.alignment.planted import sample_pairs, write_preferences, write_run

pytestmark = [pytest.mark.processes, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]
CONFIG = {"learning_rate": 3e-3, "n_epochs": 4, "batch_pairs": 4, "save_steps": 3}
N_STEPS = 24
PATIENCE_S = 120.0


def start(folder: Path) -> subprocess.Popen:
    """Starts the command on a run folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "alignment", "dpo", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder: Path) -> str:
    """Runs the command to its end and returns what it wrote."""
    child = start(folder)
    output, errors = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0, errors
    return output


def losses(folder: Path) -> dict[int, float]:
    """Returns the loss of every step; of a step written twice the later one."""
    lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def signal_at_step(folder: Path, step: int, number: signal.Signals) -> int:
    """Starts the command, signals it once a step was logged, and returns its exit code."""
    child = start(folder)
    began_at = time.monotonic()
    progress = folder / "progress.jsonl"
    while not (progress.exists() and f'"step": {step},' in progress.read_text()):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() - began_at < PATIENCE_S
        time.sleep(0.002)
    os.kill(child.pid, number)
    child.communicate(timeout=PATIENCE_S)
    return child.returncode


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny checkpoint, codes, and a run that was never interrupted."""
    place = tmp_path_factory.mktemp("resuming")
    write_tiny_checkpoint(place / "base")
    new_run(place, "straight")
    finish(place / "straight")
    return place


def new_run(place: Path, name: str) -> Path:
    """Writes a run folder; all of them are of the same preferences."""
    pairs = sample_pairs(tiny_core(), 28)
    preferences = write_preferences(place / "codes", pairs, [True] * 28, n_held_out=4)
    return write_run(place / name, base=place / "base", preferences=preferences, config=CONFIG)


def test_a_run_killed_in_mid_step_goes_on_with_the_losses_of_an_uninterrupted_one(
    base: Path,
) -> None:
    killed = new_run(base, "killed")
    assert signal_at_step(killed, 8, signal.SIGKILL) == -signal.SIGKILL
    assert not (killed / "result").exists()
    saved = {place.name for place in (killed / "checkpoints").glob("checkpoint-*")}
    assert saved
    assert max(losses(killed)) < N_STEPS
    half_saved = killed / "checkpoints" / "checkpoint-99"
    half_saved.mkdir()
    (half_saved / "adapter_model.safetensors").write_bytes(b"half")
    n_lines_before = len((killed / "progress.jsonl").read_text().splitlines())
    finish(killed)
    assert not half_saved.exists()
    assert losses(killed) == losses(base / "straight")
    lines = (killed / "progress.jsonl").read_text().splitlines()[n_lines_before:]
    assert json.loads(lines[0])["step"] > 3  # it went on; it did not begin again
    expected, found = (verify_folder(run / "result") for run in (base / "straight", killed))
    weights = "adapter_model.safetensors"
    assert found.files[weights] == expected.files[weights]


def test_sigterm_saves_and_exits_75_and_the_next_start_goes_on_from_there(base: Path) -> None:
    stopped = new_run(base, "stopped")
    assert signal_at_step(stopped, 4, signal.SIGTERM) == 75
    reached = max(losses(stopped))
    assert 4 <= reached < N_STEPS
    assert (stopped / "checkpoints" / f"checkpoint-{reached}" / "complete").is_file()
    assert not (stopped / "result").exists()
    n_lines_before = len((stopped / "progress.jsonl").read_text().splitlines())
    finish(stopped)
    resumed = (stopped / "progress.jsonl").read_text().splitlines()[n_lines_before:]
    assert json.loads(resumed[0])["step"] == reached + 1
    assert losses(stopped) == losses(base / "straight")


def test_sigterm_while_libraries_load_exits_75_too(base: Path) -> None:
    early = new_run(base, "early")
    child = start(early)
    time.sleep(1.0)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 75
    assert not (early / "result").exists()


def test_a_bad_run_folder_exits_65_with_one_sentence(tmp_path: Path) -> None:
    child = start(tmp_path)
    output, errors = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 65
    assert errors.strip().splitlines()[-1].startswith("error: ")
    assert "run.json is missing" in errors
    assert "Traceback" not in errors
    assert output == ""
