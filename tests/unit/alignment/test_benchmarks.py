"""The benchmarks run at a tiny size, and compare equals."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import dpo_round, heads, interleaving, training_memory
from tests.tiny import write_tiny_checkpoint


def test_one_matrix_of_outputs_says_what_the_native_head_says() -> None:
    result = heads.compare(heads.TINY_CASES[0], n_runs=1)
    assert 0 < result.difference < 1e-4
    assert heads.line_of(result).count("|") == 10


def test_delay_takes_fewer_steps_than_flattening() -> None:
    case = interleaving.TINY_CASES[0]
    n_steps, timings = interleaving.compare(case, n_runs=1)
    assert n_steps == [12 + 4 - 1, 12 * 4]
    assert len(timings) == 2


def test_a_round_and_its_memory_are_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write_tiny_checkpoint(tmp_path / "tiny")
    dpo_round.main(["--base", str(base), "--pairs", "4", "--duration", "1", "--threads", "1"])
    assert "4 pairs of 1 s, 3 steps, 1 threads" in capsys.readouterr().out
    assert training_memory.peak_mb(base, 1.0, gradient_checkpointing=True) > 50
