"""Settings, prompts and rewards of runs against a reward model: what is refused, and why."""

import json
from pathlib import Path

import numpy as np
import pytest

from alignment.config import Precision
from alignment.errors import AlignmentError, ConfigError, RunFolderError
from alignment.rl.config import GrpoConfig, RlooConfig
from alignment.rl.prompts import PromptRow, prompt_order, read_prompts, split_prompts
from alignment.rl.rewards import ensemble_reward, score_clips, waveform_reward
from alignment.runs import Split
from generator.lm.core import text_lengths
from generator.text.header import EMPTY_HEADER
from tests.tiny import tiny_core
from tests.unit.alignment.rl_runs import prompt_rows


def test_settings_survive_json() -> None:
    for config in (GrpoConfig(beta=0.1, group_size=4), RlooConfig(precision=Precision.AUTO)):
        stored = json.loads(json.dumps(config.to_mapping()))
        assert type(config).from_mapping(stored) == config


def test_the_defaults_are_those_of_the_recipe() -> None:
    config = GrpoConfig()
    assert (config.group_size, config.beta, config.best_of) == (8, 0.04, 8)
    assert config.learning_rate == 1e-3
    assert config.precision is Precision.FLOAT32


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("group_size", 1, "group_size is 2 to 256, got 1"),
        ("beta", -0.1, "beta is 0 to 100, got -0.1"),
        ("n_steps", 0, "n_steps is 1 to 100000, got 0"),
        ("judge_patience", True, "judge_patience is a whole number, got True"),
        ("learning_rate", float("nan"), "learning_rate is 1e-08 to 0.1, got nan"),
    ],
)
def test_a_setting_out_of_bounds_is_refused(setting: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        GrpoConfig.from_mapping({setting: value})


def test_accumulation_takes_more_prompts_a_step_not_fewer_at_once() -> None:
    assert GrpoConfig(batch_prompts=4, accumulation_steps=3).step_prompts == 12


def write_prompts(folder: Path, *rows: object) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ROW = {"prompt": "a", "header": list(EMPTY_HEADER), "duration_s": 5.0, "split": "train"}


def read(path: Path) -> list[PromptRow]:
    core = tiny_core()
    return read_prompts(
        path,
        text_lengths=text_lengths(core),
        text_vocabulary_size=core.text_vocabulary_size,
    )


def test_prompts_are_read_in_order(tmp_path: Path) -> None:
    rows = read(write_prompts(tmp_path, ROW, {**ROW, "prompt": "b", "split": "held_out"}))
    assert [row.prompt for row in rows] == ["a", "b"]
    assert rows[0] == PromptRow("a", EMPTY_HEADER, 5.0)
    assert rows[1].split is Split.HELD_OUT
    assert rows[0].n_frames(25) == 125


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"header": [1, 2]}, "line 2: the header has 2 ids"),
        ({"header": [10**6] * len(EMPTY_HEADER)}, "line 2: header ids are 0 to"),
        ({"duration_s": 0.0}, "line 2: duration_s is above 0 and at most 300, got 0.0"),
        ({"duration_s": float("nan")}, "line 2: duration_s is above 0"),
        ({"split": "test"}, "line 2 is no prompt"),
    ],
)
def test_a_prompt_that_does_not_fit_is_named_by_its_line(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    with pytest.raises(RunFolderError, match=said):
        read(write_prompts(tmp_path, ROW, {**ROW, **change}))


def test_a_prompt_without_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="line 1 lacks 'header'"):
        read(write_prompts(tmp_path, {"prompt": "a", "duration_s": 5.0}))


def test_a_prompt_is_in_one_split_only(tmp_path: Path) -> None:
    rows = prompt_rows(1, 1)
    twin = PromptRow(rows[0].prompt, rows[1].header, 5.0, Split.HELD_OUT)
    with pytest.raises(RunFolderError, match="1 prompts in both splits, such as 'prompt 0'"):
        split_prompts(tmp_path, [*rows, twin])
    with pytest.raises(RunFolderError, match="1 prompts to train on and 0 held out"):
        split_prompts(tmp_path, rows[:1])


def test_every_prompt_has_its_turn_before_one_comes_again() -> None:
    order = prompt_order(5, 12, seed=3)
    assert len(order) == 12
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5))
    assert order == prompt_order(5, 12, seed=3)
    assert order != prompt_order(5, 12, seed=4)
    assert prompt_order(5, 7, seed=3) == order[:7]


class TwoModels:
    """An ensemble whose members say 1 and 3 of every clip."""

    def __init__(self) -> None:
        self.n_clips = 0

    def score(self, codes: object) -> "TwoModels":
        self.n_clips = len(codes)  # type: ignore[arg-type]
        return self

    def lower(self, penalty: float) -> np.ndarray:
        return np.full(self.n_clips, 2.0 - penalty * 1.0)


def test_disagreement_costs_reward() -> None:
    clips = [np.zeros((2, 3), np.int16)] * 2
    assert ensemble_reward(TwoModels(), 0.5)(clips).tolist() == [1.5, 1.5]
    assert ensemble_reward(TwoModels(), 0.0)(clips).tolist() == [2.0, 2.0]


def test_a_reward_can_be_about_the_waveform() -> None:
    def decode(codes: np.ndarray) -> np.ndarray:
        return codes[:, 0].astype(np.float32)

    reward = waveform_reward(decode, lambda waveform: float(waveform.sum()))
    clips = [np.array([[1, 2], [9, 9]], np.int16), np.array([[5], [9]], np.int16)]
    assert score_clips(reward, clips).tolist() == [3.0, 5.0]


def test_a_reward_that_is_no_number_stops_the_run() -> None:
    clips = [np.zeros((2, 3), np.int16)] * 2
    with pytest.raises(AlignmentError, match="the reward of clip 2 of 2 is nan"):
        score_clips(lambda _: np.array([1.0, np.nan]), clips)
    with pytest.raises(AlignmentError, match="expected 2 rewards, got an array of"):
        score_clips(lambda _: np.array([1.0]), clips)
