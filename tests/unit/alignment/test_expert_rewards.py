"""Expert iteration by a reward model: it has to read the codes of the run's own codec."""

from pathlib import Path

import numpy as np
import pytest

from alignment.errors import RunFolderError
from alignment.expert import Record, score_by_reward
from alignment.reward.model import load_reward
from alignment.reward.training import train_reward_run
from alignment.runs import read_run
from alignment.stopping import StopSwitch
from tests.unit.alignment.planted import write_small_checkpoint
from tests.unit.alignment.reward_runs import draw_clip, write_reward_run


def test_records_get_the_lower_score_of_a_model_of_the_same_codec_and_no_other(
    tmp_path: Path,
) -> None:
    run = read_run(write_reward_run(tmp_path / "run"))
    train_reward_run(run, stop=StopSwitch(), device="cpu")
    rng = np.random.default_rng(3)
    codes = [draw_clip(rng) for _ in range(2)]
    records = []
    for number, clip in enumerate(codes):
        np.save(tmp_path / f"{number}.npy", clip)
        records.append(Record((0,), tmp_path / f"{number}.npy"))
    score_by_reward(records, run.result, run.base, 0.5)
    expected = load_reward(run.result).score(codes).lower(0.5)
    assert [record.score for record in records] == pytest.approx(expected.tolist())

    other = write_small_checkpoint(tmp_path / "other", codec_seed=7)
    with pytest.raises(RunFolderError, match="learned from codes of the codec"):
        score_by_reward(records, run.result, other, 0.5)
