"""Learning from trained reward models, watched by another one, and their best clips."""

import json
from pathlib import Path

import numpy as np
import pytest

from alignment.__main__ import main
from alignment.errors import RunFolderError
from alignment.rl.training import train_rl
from alignment.runs import read_run
from alignment.stopping import StopSwitch
from alignment.training import train_run
from generator.checkpoints import content_hash, read_card
from tests.tiny import TINY_PROMPTS, write_tiny_checkpoint
from tests.unit.alignment.reward_runs import Pairs, write_reward_run
from tests.unit.alignment.rl_runs import prompt_rows, write_rl_run

pytestmark = pytest.mark.slow
CONFIG = {
    "n_steps": 8,
    "batch_prompts": 4,
    "learning_rate": 5e-3,
    "warmup_share": 0.0,
    "judge_steps": 4,
    "sample_steps": 0,
    "best_of": 4,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A checkpoint, and two reward models that learned from different pairs of its codec."""
    root = tmp_path_factory.mktemp("models")
    results = []
    for seed in (0, 1):
        folder = write_reward_run(root / str(seed), Pairs(n_held_out=16, seed=seed))
        train_run(read_run(folder), stop=StopSwitch())
        results.append(folder / "result")
    return root / "0" / "base", *results


def test_a_policy_learns_from_one_reward_model_and_another_one_judges(
    models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    base, reward_model, judge_model = models
    folder = write_rl_run(
        tmp_path / "run",
        base=base,
        rows=prompt_rows(6, 4),
        config=CONFIG,
        reward_model=reward_model,
        judge_model=judge_model,
    )
    assert main(["grpo", str(folder)]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["judge_is_unseen"]
    assert summary["reward"]["gain"]["mean"] > 0.0
    assert summary["judge"]["gain"]["mean"] != summary["reward"]["gain"]["mean"]
    recipe = read_card(folder / "result").recipe
    assert recipe["reward_model"] == content_hash(reward_model)
    assert recipe["judge_model"] == content_hash(judge_model)


def test_a_reward_model_does_not_judge_itself(
    models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    base, reward_model, _ = models
    folder = write_rl_run(
        tmp_path / "run",
        base=base,
        rows=prompt_rows(1, 1),
        config=CONFIG,
        reward_model=reward_model,
        judge_model=reward_model,
    )
    with pytest.raises(RunFolderError, match="is the reward_model itself"):
        train_rl(read_run(folder), stop=StopSwitch())


def test_a_reward_model_of_another_codec_is_refused(
    models: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    other = write_tiny_checkpoint(tmp_path / "other", seed=5)
    folder = write_rl_run(
        tmp_path / "run", base=other, rows=prompt_rows(1, 1), config=CONFIG, reward_model=models[1]
    )
    with pytest.raises(RunFolderError, match="learned from codes of the codec"):
        train_rl(read_run(folder), stop=StopSwitch())


def test_the_best_of_several_clips_is_made_by_one_command(
    models: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, reward_model, _ = models
    prompts = tmp_path / "prompts.jsonl"
    rows = [{"prompt": prompt, "duration_s": 1.0} for prompt in TINY_PROMPTS]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "best"
    command = ["best-of", str(base), str(reward_model), str(prompts), str(out), "--n", "4"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n_prompts"], told["n_clips"]) == (3, 4)
    assert told["gain"]["mean"] > 0.0
    lines = [json.loads(line) for line in (out / "clips.jsonl").read_text().splitlines()]
    for line in lines:
        assert line["reward"] == max(line["rewards"])
        assert np.load(out / line["codes"]).shape == (2, 25)
        assert (out / line["wav"]).is_file()

    prompts.write_text("{}\n")
    assert main(command) == 65
    assert "line 1 is no prompt" in capsys.readouterr().err
