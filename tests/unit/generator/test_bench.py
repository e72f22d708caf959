"""The bench command runs on a tiny size, and its comparison is of equals."""

from __future__ import annotations

from pathlib import Path

import pytest

from generator.__main__ import main
from generator.bench.comparison import TINY_CASES, compare, table
from generator.bench.starter import bench_starter, starter_table
from generator.bench.timing import time_in_turns
from generator.lm.projections import WeightFormat
from tests.tiny import write_tiny_checkpoint


def test_ways_take_turns_after_a_run_that_does_not_count() -> None:
    calls: list[str] = []
    timings = time_in_turns([lambda: calls.append("a"), lambda: calls.append("b")], 3)
    assert "".join(calls) == "ab" + "ababab"
    assert [timing.n_runs for timing in timings] == [3, 3]
    assert all(timing.wall_s >= 0 for timing in timings)
    with pytest.raises(ValueError, match="n_runs is at least 1, got 0"):
        time_in_turns([], 0)


def test_float32_weights_give_the_greedy_tokens_of_transformers() -> None:
    for case in TINY_CASES:
        results = {result.weight_format: result for result in compare(case)}
        assert set(results) == set(case.weight_formats)
        exact = results[WeightFormat.FLOAT32]
        assert exact.share_equal == exact.share_agreeing == 1.0
        errors = [result.logit_error for result in results.values()]
        assert max(errors) < 0.1
        if len(results) > 1:
            half, narrow = results[WeightFormat.FLOAT16], results[WeightFormat.INT8]
            assert 0 < half.logit_error < narrow.logit_error


def test_the_command_writes_a_table(tmp_path: Path) -> None:
    out = tmp_path / "bench.md"
    assert main(["bench", "--against", "transformers", "--tiny", "--out", str(out)]) == 0
    lines = out.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 + sum(len(case.weight_formats) for case in TINY_CASES)
    assert {line.count("|") for line in lines} == {11}
    assert table([]).splitlines() == lines[:2]


def test_a_checkpoint_is_timed_in_every_format(tmp_path: Path) -> None:
    results = bench_starter(write_tiny_checkpoint(tmp_path / "tiny"), duration_s=1.0, n_runs=1)
    assert [result.weight_format for result in results] == list(WeightFormat)
    assert results[0].share_equal == 1.0
    assert results[0].mel_distance_db == 0.0
    assert results[0].mel_distance_of_seeds_db > 0.0
    assert len(starter_table(results).splitlines()) == 2 + len(results)
