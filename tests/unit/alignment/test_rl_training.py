"""Whole runs against a reward: a better adapter, an early stop, and no step lost to a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alignment.errors import RunFolderError, StopRequested
from alignment.rl.rewards import Codes
from alignment.rl.training import train_rl
from alignment.runs import read_run
from alignment.stopping import StopSwitch
from generator.checkpoints import load_core, merge_adapter, verify_folder
from tests.unit.alignment.planted import (
    lowness as clip_lowness,
)
from tests.unit.alignment.planted import (
    random_headers,
    sample,
    sample_pairs,
    write_preferences,
    write_small_checkpoint,
)
from tests.unit.alignment.planted import write_run as write_dpo_run
from tests.unit.alignment.rl_runs import highness, lowness, prompt_rows, write_rl_run

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 240.0
QUICK: dict[str, Any] = {
    "n_steps": 12,
    "batch_prompts": 4,
    "learning_rate": 5e-3,
    "warmup_share": 0.0,
    "judge_steps": 4,
    "save_steps": 3,
    "sample_steps": 0,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_checkpoint(tmp_path_factory.mktemp("base"))


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]


def by_step(folder: Path, name: str) -> dict[int, float]:
    """Returns a figure of every step that tells it; of a step written twice the later one."""
    return {line["step"]: line[name] for line in lines_of(folder) if name in line}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_a_run_publishes_an_adapter_whose_clips_are_liked_better(
    method: str, base: Path, tmp_path: Path
) -> None:
    folder = write_rl_run(
        tmp_path / "run",
        base=base,
        rows=prompt_rows(6, 4),
        method=method,
        config={**QUICK, "sample_steps": 6},
    )
    summary = train_rl(read_run(folder), stop=StopSwitch(), reward=lowness, judge=lowness)

    assert (summary["n_train"], summary["n_held_out"], summary["n_steps"]) == (6, 4, 12)
    assert summary["reward"]["gain"]["low"] > 0.05
    assert summary["reward"]["n_clips"] == 4 * 8
    assert summary["kl"] > 0.01
    assert 0.3 < summary["diversity"]["share"] < 1.1
    assert summary["best_of"]["n"] == 8
    before = summary["reward"]["before"]["mean"]
    assert summary["best_of"]["reward"]["mean"] > before + 0.03
    assert not summary["stopped_early"]

    card = verify_folder(folder / "result")
    assert (card.kind, card.parent, card.recipe["method"]) == ("adapter", "small", method)
    parent = load_core(base)
    aligned = merge_adapter(load_core(base), folder / "result")
    headers = random_headers(32, seed=99)
    means = [
        float(clip_lowness(sample(core, headers, 7)[:, :1], 16).mean())
        for core in (parent, aligned)
    ]
    assert means[1] > means[0] + 0.1

    assert sorted(by_step(folder, "reward_mean")) == list(range(1, 13))
    assert sorted(by_step(folder, "judge_reward")) == [0, 4, 8, 12]
    assert {"reward_std", "kl", "loss", "eta_s", "memory_mb"} <= set(lines_of(folder)[-1])
    assert list((folder / "tensorboard").iterdir())
    for line in (folder / "samples.jsonl").read_text().splitlines():
        assert np.load(folder / json.loads(line)["codes"]).shape == (2, 25)

    again = train_rl(read_run(folder), stop=StopSwitch(), reward=highness)
    assert again["content_hash"] == summary["content_hash"]


@pytest.mark.slow
def test_a_judge_that_turns_ends_the_run_and_keeps_what_it_liked_best(
    base: Path, tmp_path: Path
) -> None:
    """The judge likes the opposite of what is learned: every step is worse than the last."""
    folder = write_rl_run(
        tmp_path / "run",
        base=base,
        rows=prompt_rows(6, 4),
        config={**QUICK, "n_steps": 60, "judge_steps": 2, "judge_patience": 2},
    )
    summary = train_rl(read_run(folder), stop=StopSwitch(), reward=lowness, judge=highness)
    judged = by_step(folder, "judge_reward")
    assert summary["stopped_early"]
    assert summary["n_steps"] == max(judged) < 60
    trained = {step: value for step, value in judged.items() if step > 0}
    assert summary["best_step"] == max(trained, key=lambda step: (trained[step], -step))
    kept = [place.name for place in (folder / "judged").glob("step-*")]
    assert kept == [f"step-{summary['best_step']}"]


@pytest.mark.slow
@pytest.mark.parametrize("n_pairs", [6, 5])
def test_held_out_preferences_of_the_run_are_told_as_other_methods_tell_them(
    base: Path, tmp_path: Path, n_pairs: int
) -> None:
    """With others to train on beside them or, of five pairs, without any."""
    core = load_core(base)
    preferences = write_preferences(
        tmp_path / "codes", sample_pairs(core, n_pairs), [True] * n_pairs, n_held_out=5
    )
    other = write_dpo_run(tmp_path / "dpo", base=base, preferences=preferences, config={})
    folder = write_rl_run(
        tmp_path / "run",
        base=base,
        rows=prompt_rows(2, 2),
        config={**QUICK, "n_steps": 1, "batch_prompts": 1, "held_out_clips": 1, "best_of": 2},
    )
    (folder / "preferences.jsonl").write_text((other / "preferences.jsonl").read_text())
    stored = json.loads((folder / "run.json").read_text()) | {"codes_root": "../codes"}
    (folder / "run.json").write_text(json.dumps(stored))
    summary = train_rl(read_run(folder), stop=StopSwitch(), reward=lowness)
    assert summary["held_out"]["n"] == 5
    assert {"accuracy", "low", "high", "chosen_nll", "parent_chosen_nll", "nll_increase"} <= set(
        summary["held_out"]
    )
    assert not summary["judge_is_unseen"]


def test_preferences_that_cannot_be_read_are_found_before_the_training(
    base: Path, tmp_path: Path
) -> None:
    folder = write_rl_run(tmp_path / "run", base=base, rows=prompt_rows(1, 1), config=QUICK)
    (folder / "preferences.jsonl").write_text('{"pair": 1}\n')
    with pytest.raises(RunFolderError, match="line 1 lacks"):
        train_rl(read_run(folder), stop=StopSwitch(), reward=lowness)
    assert not (folder / "checkpoints").exists()


def test_a_run_without_prompts_is_refused(base: Path, tmp_path: Path) -> None:
    folder = write_rl_run(tmp_path / "run", base=base, rows=prompt_rows(1, 1), config=QUICK)
    stored = json.loads((folder / "run.json").read_text())
    del stored["prompts"]
    (folder / "run.json").write_text(json.dumps(stored))
    with pytest.raises(RunFolderError, match="method grpo needs prompts"):
        train_rl(read_run(folder), stop=StopSwitch(), reward=lowness)


class StopWhenScored:
    """A reward that throws the switch while the clips of the third step are scored."""

    def __init__(self, stop: StopSwitch) -> None:
        self.stop = stop
        self.n_steps = 0

    def __call__(self, codes: Sequence[Codes]) -> np.ndarray:
        self.n_steps += len(codes) == 32
        self.stop.requested = self.stop.requested or self.n_steps == 3
        return lowness(codes)


def test_a_stop_keeps_the_step_it_came_in(base: Path, tmp_path: Path) -> None:
    config = {**QUICK, "save_steps": 1000, "judge_steps": 1000}
    folder = write_rl_run(tmp_path / "run", base=base, rows=prompt_rows(6, 2), config=config)
    stop = StopSwitch()
    with pytest.raises(StopRequested):
        train_rl(read_run(folder), stop=stop, reward=StopWhenScored(stop), judge=lowness)
    assert (folder / "checkpoints" / "checkpoint-3" / "complete").is_file()
    assert not (folder / "result").exists()


def test_a_stop_while_clips_are_sampled_keeps_the_steps_before(base: Path, tmp_path: Path) -> None:
    config = {**QUICK, "save_steps": 1000, "judge_steps": 1000}
    folder = write_rl_run(tmp_path / "run", base=base, rows=prompt_rows(6, 2), config=config)
    stop = StopSwitch()

    class Late(StopSwitch):
        """A switch that is thrown in the middle of the third step's clips."""

        def __init__(self) -> None:
            super().__init__()
            self.n_asked = 0

        def raise_if_requested(self) -> None:
            done = by_step(folder, "loss") if (folder / "progress.jsonl").exists() else {}
            self.n_asked += 2 in done
            self.requested = self.n_asked > 10
            super().raise_if_requested()

    stop = Late()
    with pytest.raises(StopRequested):
        train_rl(read_run(folder), stop=stop, reward=lowness, judge=lowness)
    assert (folder / "checkpoints" / "checkpoint-2" / "complete").is_file()
    assert max(by_step(folder, "loss")) == 2


CHILD = """
import sys
from pathlib import Path
import torch
from alignment.errors import StopRequested
from alignment.rl.training import train_rl
from alignment.runs import read_run
from alignment.stopping import StopSwitch
from tests.unit.alignment.rl_runs import lowness
torch.set_num_threads(1)
stop = StopSwitch()
stop.install()
try:
    train_rl(read_run(Path(sys.argv[1])), stop=stop, reward=lowness, judge=lowness)
except StopRequested:
    sys.exit(75)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    """Trains a run folder in a process of its own."""
    offline = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        cwd=ROOT,
        env=os.environ | offline,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def signal_at_step(folder: Path, step: int, number: signal.Signals) -> int:
    """Starts a run, signals it once a step was logged, and returns its exit code."""
    child = start(folder)
    began_at = time.monotonic()
    while not ((folder / "progress.jsonl").exists() and step in by_step(folder, "loss")):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() - began_at < PATIENCE_S
        time.sleep(0.01)
    os.kill(child.pid, number)
    child.communicate(timeout=PATIENCE_S)
    return child.returncode


@pytest.mark.slow
@pytest.mark.processes
def test_a_run_killed_and_then_stopped_ends_as_an_uninterrupted_one(
    base: Path, tmp_path: Path
) -> None:
    """Same prompts, same clips, same rewards and losses, same adapter, for seven prompts that a
    run of twelve steps of four goes through several times."""
    config = {**QUICK, "save_steps": 3, "judge_steps": 5}
    for name in ("straight", "interrupted"):
        write_rl_run(tmp_path / name, base=base, rows=prompt_rows(7, 2), config=config)
    interrupted, straight = tmp_path / "interrupted", tmp_path / "straight"
    assert signal_at_step(interrupted, 7, signal.SIGKILL) == -signal.SIGKILL
    n_lines = len(lines_of(interrupted))
    assert signal_at_step(interrupted, 9, signal.SIGTERM) == 75
    assert lines_of(interrupted)[n_lines]["step"] in (6, 7, 8)  # it went on from step 5, 6 or 7
    child = start(interrupted)
    _, errors = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 0, errors

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train_rl(read_run(straight), stop=StopSwitch(), reward=lowness, judge=lowness)
    torch.set_num_threads(n_threads)
    for name in ("loss", "reward_mean", "kl", "judge_reward"):
        assert by_step(interrupted, name) == by_step(straight, name), name
    assert sorted(by_step(straight, "loss")) == list(range(1, 13))
    expected, found = (verify_folder(run / "result").files for run in (straight, interrupted))
    assert found["adapter_model.safetensors"] == expected["adapter_model.safetensors"]
