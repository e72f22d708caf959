"""Too little memory: found out whatever raised it, and told with what to do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from alignment.config import DpoConfig, KtoConfig
from alignment.memory import is_out_of_memory, memory_advice, peak_memory_mb
from tests.tiny import tiny_core, write_tiny_checkpoint
from tests.unit.alignment.planted import sample_pairs, write_preferences, write_run

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 300.0
# Libraries reserve much more than they use, so the limit is set once they are loaded.
LIMITED = """
import resource, sys
import alignment.dpo, alignment.trackers, tensorboard
from pathlib import Path
from alignment.__main__ import main
status = Path("/proc/self/status").read_text()
now_kb = next(int(line.split()[1]) for line in status.splitlines() if "VmSize" in line)
resource.setrlimit(resource.RLIMIT_AS, (now_kb * 1024 + 400 * 2**20,) * 2)
sys.exit(main(["dpo", sys.argv[1]]))
"""


def test_what_the_allocators_raise_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_advice_names_the_settings_and_their_new_values() -> None:
    advice = memory_advice(DpoConfig(batch_pairs=16, accumulation_steps=2), "cpu")
    assert "batch_pairs to 8 (it is 16) and accumulation_steps to 4 (it is 2)" in advice
    assert "gradient_checkpointing to true" in advice
    assert "shorter clips" in advice
    told = memory_advice(KtoConfig(gradient_checkpointing=True), "cpu")
    assert "batch_clips to 16" in told
    assert "gradient_checkpointing" not in told
    assert "batch_pairs" not in memory_advice(DpoConfig(batch_pairs=1), "cpu")


def test_the_peak_is_of_this_process() -> None:
    before = peak_memory_mb("cpu")
    assert before > 20
    held = torch.ones(int(before) * 2**18)  # as many MB again
    assert peak_memory_mb("cpu") > before + 0.5 * before
    assert held[0] == 1


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="sets a limit that only Linux keeps")
def test_a_run_without_memory_exits_76_with_advice(tmp_path: Path) -> None:
    base = write_tiny_checkpoint(tmp_path / "base")
    pairs = sample_pairs(tiny_core(), 256, seed=0)
    preferences = write_preferences(tmp_path / "codes", pairs, [True] * 256)
    config = {"batch_pairs": 256, "sample_steps": 0}
    run = write_run(tmp_path / "run", base=base, preferences=preferences, config=config)
    child = subprocess.run(
        [sys.executable, "-c", LIMITED, str(run)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert child.returncode == 76, child.stderr
    assert "error: out of memory: " in child.stderr
    assert "batch_pairs to 128 (it is 256)" in child.stderr
    assert not (run / "result").exists()
    assert json.loads((run / "run.json").read_text())["method"] == "dpo"
