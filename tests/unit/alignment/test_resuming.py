"""Killed, stopped and started again: real processes, equal losses."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alignment.outcomes import Counts, Outcome
from alignment.runs import Preference, read_run
from alignment.stopping import StopSwitch
from alignment.training import train_run
from generator.checkpoints import verify_folder
from tests.tiny import tiny_core, write_tiny_checkpoint
from tests.unit.alignment.planted import sample_pairs, write_preferences, write_run

pytestmark = [pytest.mark.processes, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]
CONFIG = {"learning_rate": 3e-3, "n_epochs": 4, "save_steps": 3}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "sigmoid_norm": ("dpo", {"batch_pairs": 4}),
    "rao_kupper": ("dpo", {"batch_pairs": 2, "accumulation_steps": 2, "loss": "rao_kupper"}),
    "kto": ("kto", {"batch_clips": 8}),
}
N_STEPS = 24
PATIENCE_S = 240.0


def start(folder: Path) -> subprocess.Popen[str]:
    """Starts the command on a run folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "alignment", method_of(folder), str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def method_of(folder: Path) -> str:
    """Returns what a run is trained by; DPO where the folder is no run."""
    path = folder / "run.json"
    return str(json.loads(path.read_text())["method"]) if path.exists() else "dpo"


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


def write_runs(folder: Path, name: str) -> Path:
    """Writes two equal runs that nobody has started yet; returns the one to interrupt."""
    base = write_tiny_checkpoint(folder / "base")
    rows = write_preferences(folder / "codes", sample_pairs(tiny_core(), 28), [True] * 28, 4)
    method, config = RUNS[name]
    if name != "sigmoid_norm":
        outcome = Outcome.TIE if method == "dpo" else Outcome.BOTH_BAD
        rows = [unpreferred(row, outcome) if int(row.pair) % 3 == 0 else row for row in rows]
    for place in ("straight", "interrupted"):
        write_run(
            folder / place,
            base=base,
            preferences=rows,
            method=method,
            config={**CONFIG, **config},
        )
    return folder / "interrupted"


def unpreferred(row: Preference, outcome: Outcome) -> Preference:
    """Returns a row whose raters preferred neither clip."""
    return replace(row, outcome=outcome, counts=Counts.of_one(outcome))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_killed_and_then_stopped_ends_as_an_uninterrupted_one(
    tmp_path: Path, name: str
) -> None:
    interrupted = write_runs(tmp_path, name)
    assert signal_at_step(interrupted, 8, signal.SIGKILL) == -signal.SIGKILL
    assert list((interrupted / "checkpoints").glob("checkpoint-*"))
    assert max(losses(interrupted)) < N_STEPS
    half_saved = interrupted / "checkpoints" / "checkpoint-99"
    half_saved.mkdir()
    (half_saved / "adapter_model.safetensors").write_bytes(b"half")

    n_lines = n_progress_lines(interrupted)
    assert signal_at_step(interrupted, 14, signal.SIGTERM) == 75
    assert first_step_after(interrupted, n_lines) > 3  # it went on; it did not begin again
    assert not half_saved.exists()
    reached = max(losses(interrupted))
    assert 14 <= reached < N_STEPS
    assert (interrupted / "checkpoints" / f"checkpoint-{reached}" / "complete").is_file()
    assert not (interrupted / "result").exists()

    n_lines = n_progress_lines(interrupted)
    child = start(interrupted)
    _, errors = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0, errors
    assert first_step_after(interrupted, n_lines) == reached + 1

    straight = interrupted.parent / "straight"
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train_run(read_run(straight), stop=StopSwitch())
    torch.set_num_threads(n_threads)
    assert losses(interrupted) == losses(straight)
    assert sorted(losses(straight)) == list(range(1, N_STEPS + 1))
    expected, found = (verify_folder(run / "result").files for run in (straight, interrupted))
    assert found["adapter_model.safetensors"] == expected["adapter_model.safetensors"]


def n_progress_lines(folder: Path) -> int:
    """Returns how many lines a run has written."""
    return len((folder / "progress.jsonl").read_text().splitlines())


def first_step_after(folder: Path, n_lines: int) -> int:
    """Returns the step of the first line after the given number of lines."""
    step = json.loads((folder / "progress.jsonl").read_text().splitlines()[n_lines])["step"]
    assert isinstance(step, int)
    return step


def test_sigterm_while_libraries_load_exits_75_too(tmp_path: Path) -> None:
    interrupted = write_runs(tmp_path, "sigmoid_norm")
    child = start(interrupted)
    while not is_listening(child.pid):
        assert child.poll() is None, child.communicate()
        time.sleep(0.002)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 75
    assert not (interrupted / "checkpoints").exists()


def is_listening(pid: int) -> bool:
    """Returns whether a process catches SIGTERM."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def test_a_bad_run_folder_exits_65_with_one_sentence(tmp_path: Path) -> None:
    child = start(tmp_path)
    output, errors = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 65
    assert errors.startswith("error: ")
    assert "run.json is missing" in errors
    assert len(errors.splitlines()) == 1
    assert output == ""
