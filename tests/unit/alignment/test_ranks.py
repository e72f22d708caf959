"""Several devices: real ranks that talk over gloo, each with half of what one would train on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alignment.ranks import Ranks
from generator.checkpoints import verify_folder
from tests.tiny import tiny_core, write_tiny_checkpoint
from tests.unit.alignment.planted import sample_pairs, write_preferences, write_run

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 300.0
CONFIG = {"learning_rate": 3e-3, "batch_pairs": 2, "save_steps": 2, "sample_steps": 0}
N_STEPS = 8  # of 2 epochs with 16 pairs, 4 a step


def test_without_torchrun_a_process_is_alone() -> None:
    alone = Ranks.of_environment({})
    assert alone.is_first
    assert alone.agree(True)
    assert not alone.agree(False)
    second = Ranks.of_environment({"RANK": "1", "WORLD_SIZE": "2"})
    assert not second.is_first


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Starts the command on a run folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "alignment", "dpo", str(folder), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def steps(folder: Path) -> dict[int, dict[str, float]]:
    """Returns what was logged of every step."""
    path = folder / "progress.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["step"]: line for line in lines if "loss" in line}


@pytest.fixture
def pair_of_runs(tmp_path: Path) -> tuple[Path, Path]:
    """Run folders of two ranks, and of one rank that accumulates two batches."""
    base = write_tiny_checkpoint(tmp_path / "base")
    pairs = sample_pairs(tiny_core(), 20)
    preferences = write_preferences(tmp_path / "codes", pairs, [True] * 20, n_held_out=4)
    folders = []
    for name, more in (("two", {"n_epochs": 2}), ("one", {"n_epochs": 2, "accumulation_steps": 2})):
        config = {**CONFIG, **more}
        folders.append(
            write_run(tmp_path / name, base=base, preferences=preferences, config=config)
        )
    return folders[0], folders[1]


@pytest.mark.slow
@pytest.mark.processes
def test_two_ranks_learn_what_one_with_twice_the_accumulation_does(
    pair_of_runs: tuple[Path, Path],
) -> None:
    two, one = pair_of_runs
    for folder, options in ((two, ("--devices", "2")), (one, ())):
        child = start(folder, *options)
        output, errors = child.communicate(timeout=PATIENCE_S)
        assert child.returncode == 0, errors
        assert json.loads(output)["n_steps"] == N_STEPS
    found, expected = steps(two), steps(one)
    assert sorted(found) == sorted(expected) == list(range(1, N_STEPS + 1))
    for step in expected:
        for name in ("loss", "margin", "chosen_logp", "kl"):
            assert found[step][name] == pytest.approx(expected[step][name], rel=1e-4, abs=1e-6)
    assert found[N_STEPS]["margin"] > 0.01  # so that ranks which learn nothing would fail
    card, alone = verify_folder(two / "result"), verify_folder(one / "result")
    assert card.metrics["n_ranks"] == 2
    assert card.metrics["held_out"] == pytest.approx(alone.metrics["held_out"], rel=1e-4)
    lines = (two / "progress.jsonl").read_text().splitlines()
    assert len(lines) == len((one / "progress.jsonl").read_text().splitlines())


@pytest.mark.slow
@pytest.mark.processes
def test_ranks_that_are_asked_to_stop_save_together_and_go_on(
    pair_of_runs: tuple[Path, Path],
) -> None:
    two, _ = pair_of_runs
    child = start(two, "--devices", "2")
    began_at = time.monotonic()
    while 2 not in steps(two):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() - began_at < PATIENCE_S
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGTERM)
    _, errors = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 75, errors
    reached = max(steps(two))
    assert reached < N_STEPS
    saved = two / "checkpoints" / f"checkpoint-{reached}"
    assert (saved / "complete").is_file()
    assert {path.name for path in saved.glob("rng_state*")} == {
        "rng_state_0.pth",
        "rng_state_1.pth",
    }
    before = len((two / "progress.jsonl").read_text().splitlines())

    child = start(two, "--devices", "2")
    _, errors = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0, errors
    later = (two / "progress.jsonl").read_text().splitlines()[before:]
    assert json.loads(later[0])["step"] == reached + 1


@pytest.mark.slow
@pytest.mark.processes
def test_ranks_say_why_a_run_is_bad(pair_of_runs: tuple[Path, Path]) -> None:
    two, _ = pair_of_runs
    (two.parent / "codes" / "0-a.npy").write_bytes(b"half")
    child = start(two, "--devices", "2")
    _, errors = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 65
    assert "has sha256" in errors
