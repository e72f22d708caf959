"""A trial of patterns is fair, survives a kill, and finds what a pattern cannot know."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from generator.__main__ import main
from generator.codec.model import save_codec
from generator.corpus.command import draw_clips
from generator.corpus.storage import write_tokens
from generator.errors import GeneratorError
from generator.lm.batches import TokenisedClips, full_batch
from generator.lm.comparison import (
    ComparisonConfig,
    PatternResult,
    compare_patterns,
    held_out_nll,
    train_pattern,
)
from generator.lm.comparison_report import table_rows, write_report
from generator.lm.patterns import COMPARED
from generator.text.header import EMPTY_HEADER
from tests.tiny import tiny_codec, tiny_core

SIZE = 8
TINY = ComparisonConfig(
    minutes=None,
    max_steps=4,
    n_codebooks=2,
    width=16,
    n_layers=1,
    n_heads=2,
    batch_size=4,
    n_frames=12,
    learning_rate=1e-2,
    n_held_out=6,
)


@pytest.fixture
def clips() -> TokenisedClips:
    """Forty clips of random codes, whose codebook 1 repeats codebook 0 of the same frame."""
    codes = np.random.default_rng(0).integers(0, SIZE, 40 * 14)
    return TokenisedClips(
        codes=np.stack([codes, codes]),
        silence=np.zeros(2, dtype=np.int64),
        headers=np.array([EMPTY_HEADER] * 40),
        starts=np.arange(40) * 14,
        n_frames=np.full(40, 14),
    )


def compare(
    clips: TokenisedClips,
    folder: Path,
    config: ComparisonConfig = TINY,
    on_result: Callable[[list[PatternResult]], None] | None = None,
) -> list[PatternResult]:
    return compare_patterns(
        clips=clips, config=config, folder=folder, codebook_size=SIZE, on_result=on_result
    )


def test_all_patterns_are_trained_alike_and_reported(clips: TokenisedClips, tmp_path: Path) -> None:
    counts = []
    results = compare(clips, tmp_path, on_result=lambda so_far: counts.append(len(so_far)))
    assert [result.name for result in results] == list(COMPARED)
    assert counts == [1, 2, 3, 4, 5]
    assert {result.training_steps for result in results} == {4}
    assert [len(result.nll_by_clip) for result in results] == [6] * 5
    sizes = {result.name: result.n_parameters for result in results}
    assert sizes["delay"] == sizes["parallel"] == sizes["partial_delay"]
    assert sizes["flattening"] == sizes["coarse_first"] == sizes["delay"] + 2 * TINY.width
    assert [round(result.steps_per_second * 12 / 25) for result in results] == [13, 12, 13, 24, 24]
    assert [result.first_frame_steps for result in results] == [2, 1, 2, 2, 13]
    assert all(result.times_real_time > 0 for result in results)

    write_report(tmp_path, results, TINY)
    table = (tmp_path / "table.md").read_text().splitlines()
    assert len(table) == 2 + 5
    assert table[5].startswith("| flattening | 50 | 2 | 4 |")
    assert imread(tmp_path / "patterns.png").std() > 0.01
    rows = json.loads((tmp_path / "table.json").read_text())
    assert rows[0]["difference"] == 0


def test_parallel_cannot_learn_what_codebooks_of_a_frame_share(
    clips: TokenisedClips, tmp_path: Path
) -> None:
    config = replace(TINY, max_steps=150, width=32)
    results = {
        name: train_pattern(
            name=name, clips=clips, config=config, folder=tmp_path / name, codebook_size=SIZE
        )
        for name in ("parallel", "delay", "flattening")
    }
    uniform = math.log(SIZE)
    for result in results.values():
        assert result.nll_by_codebook[0] > 0.95 * uniform
    assert results["parallel"].nll_by_codebook[1] > 0.95 * uniform
    assert results["delay"].nll_by_codebook[1] < 0.5 * uniform
    assert results["flattening"].nll_by_codebook[1] < 0.5 * uniform
    rows = table_rows([results["delay"], results["parallel"]])
    assert rows[1]["difference"] > rows[1]["difference_interval"] > 0


def test_a_killed_trial_ends_as_one_that_was_not(clips: TokenisedClips, tmp_path: Path) -> None:
    whole = compare(clips, tmp_path / "whole")

    class Killed(Exception):
        pass

    n_calls = 0

    def clock() -> float:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 20:  # after the third step of the second pattern
            raise Killed
        return float(n_calls)

    folder = tmp_path / "killed"
    with pytest.raises(Killed):
        compare_patterns(clips=clips, config=TINY, folder=folder, codebook_size=SIZE, clock=clock)
    assert [path.parent.name for path in folder.glob("*/result.json")] == ["delay"]
    position = json.loads((folder / "parallel" / "training.json").read_text())["step"]
    assert position == 2
    resumed = compare(clips, folder)
    for first, second in zip(whole, resumed, strict=True):
        assert first.nll_by_clip == pytest.approx(second.nll_by_clip, abs=1e-5)
        assert [point.step for point in first.curve] == [point.step for point in second.curve]


def test_a_folder_begun_with_other_settings_is_refused(
    clips: TokenisedClips, tmp_path: Path
) -> None:
    compare_patterns(clips=clips, config=TINY, folder=tmp_path, codebook_size=SIZE, names=())
    with pytest.raises(GeneratorError, match="begun with max_steps 4, now 5"):
        compare(clips, tmp_path, replace(TINY, max_steps=5))


def test_the_held_out_likelihood_is_the_mean_over_codes(clips: TokenisedClips) -> None:
    core = tiny_core()
    found = held_out_nll(core, clips, [3, 7], 10)
    assert found.shape == (2, 2)
    batch = full_batch(clips, [7], 10, with_text=True)
    rows = torch.full((1, 12, 2), 512)
    rows[:, 1:11, 0], rows[:, 2:12, 1] = batch.codes[:, 0], batch.codes[:, 1]
    with torch.no_grad():
        condition = core.condition(batch.text, torch.ones_like(batch.text), batch.seconds)
        hidden = core.trunk(rows[:, :11], condition)
        for codebook in range(2):
            logits = core.lm_heads[codebook](hidden[0, codebook : codebook + 10])
            chosen = logits.log_softmax(-1)[torch.arange(10), batch.codes[0, codebook]]
            assert found[1, codebook] == pytest.approx(-float(chosen.mean()), abs=1e-4)


def test_intervals_are_paired_by_clip() -> None:
    def result(name: str, nll: tuple[float, ...]) -> PatternResult:
        return PatternResult(name, 1, 1, 1.0, nll, (1.0, 1.0), 25.0, 1, 1.0, ())

    first, second = table_rows([result("delay", (1.0, 3.0)), result("parallel", (1.5, 3.5))])
    # Means of 2 and 2.5; deviation sqrt 2, so a standard error of 1; differences of a half.
    assert (first["nll"], first["nll_interval"]) == (2.0, 1.96)
    assert (second["difference"], second["difference_interval"]) == (0.5, 0.0)


def test_one_codebook_has_no_patterns_to_compare() -> None:
    with pytest.raises(ValueError, match="from 2 codebooks on, got 1"):
        replace(TINY, n_codebooks=1)
    with pytest.raises(ValueError, match="give minutes or max_steps"):
        replace(TINY, minutes=1.0)


def test_the_command_trains_and_writes_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = draw_clips(8, seed=1)
    n_frames = sum(round(clip.duration_s * 25) for clip in corpus)
    codes = np.random.default_rng(0).integers(0, 512, (4, n_frames)).astype(np.int16)
    write_tokens(tmp_path / "tokens", codes, corpus)
    (tmp_path / "codec").mkdir()
    save_codec(tiny_codec(), tmp_path / "codec")
    command = ["compare-patterns", "--tokens", str(tmp_path / "tokens")]
    command += ["--codec", str(tmp_path / "codec"), "--out", str(tmp_path / "out")]
    command += ["--patterns", "delay", "flattening", "--width", "16", "--layers", "1"]
    command += ["--frames", "20", "--held-out", "3"]
    assert main([*command, "--steps", "2"]) == 0
    rows = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [row["pattern"] for row in rows] == ["delay", "flattening"]
    assert len(rows[0]["nll_by_codebook"]) == 4
    assert main([*command, "--steps", "3"]) == 1
    assert "begun with max_steps 2, now 3" in capsys.readouterr().err
