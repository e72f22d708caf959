"""Trials on simulated tastes: what is rated, what is written, and that it can be run again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alignment.errors import AlignmentError, ConfigError
from alignment.experiments.__main__ import main
from alignment.experiments.clips import ClipStore, MeasuredClip, Order
from alignment.experiments.judging import judge
from alignment.experiments.labels import Labels, Rated, join_rated, rate
from alignment.experiments.table import results_table
from alignment.experiments.trial import Prompts, Trial, Workspace, run_trial
from alignment.simulation.tastes import Taste
from tests.tiny import TINY_PROMPTS, write_tiny_checkpoint

DURATION_S = 1.0


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny full checkpoint."""
    folder = tmp_path_factory.mktemp("starter") / "tiny"
    write_tiny_checkpoint(folder)
    return folder


def clip(prompt: str, score: float, codes: str = "c.npy") -> MeasuredClip:
    """Returns a clip that the taste for darkness gives a score."""
    return MeasuredClip(
        prompt=prompt,
        seed=0,
        codes=codes,
        header=(1,),
        scores={Taste.DARKER.value: score},
        level_dbfs=-20.0,
        centroid_hz=1000.0,
    )


def rated_share(labels: Labels, agreement: float, tie_share: float = 0.0) -> tuple[float, float]:
    """Returns agreement and tie share of 4,000 rated pairs."""
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((4000, 2))
    pairs = [
        (clip(f"p{n % 40}", a, "a"), clip(f"p{n % 40}", b, "b")) for n, (a, b) in enumerate(scores)
    ]
    rated = rate(pairs, Taste.DARKER, labels, agreement=agreement, tie_share=tie_share, rng=rng)
    return rated.agreement, rated.tie_share


@pytest.mark.parametrize(
    ("labels", "expected"), [(Labels.NOISY, 0.75), (Labels.RANDOM, 0.5), (Labels.FLIPPED, 0.25)]
)
def test_labels_agree_with_the_taste_as_often_as_their_kind_says(
    labels: Labels, expected: float
) -> None:
    agreement, tie_share = rated_share(labels, 0.75)
    assert agreement == pytest.approx(expected, abs=0.03)
    assert tie_share == 0.0


def test_ties_are_written_as_ties_and_never_as_wins() -> None:
    rng = np.random.default_rng(1)
    pairs = [(clip("p", score, "a"), clip("p", 0.0, "b")) for score in rng.standard_normal(200)]
    rated = rate(pairs, Taste.DARKER, Labels.NOISY, agreement=0.7, tie_share=0.4, rng=rng)
    ties = [row for row in rated.rows if row["outcome"] == "tie"]
    assert len(ties) / 200 == pytest.approx(0.4, abs=0.1)
    assert all(row["counts"] == {"tie": 1} and row["chosen"] == "a" for row in ties)


def test_a_prompt_is_never_on_both_sides_of_the_split() -> None:
    rng = np.random.default_rng(2)
    pairs = [(clip(f"p{n % 50}", 1.0, "a"), clip(f"p{n % 50}", 0.0, "b")) for n in range(200)]
    rows = rate(pairs, Taste.DARKER, Labels.NOISY, agreement=0.8, tie_share=0.0, rng=rng).rows
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row["prompt"], set()).add(row["split"])
    assert {len(found) for found in sides.values()} == {1}
    assert {side for found in sides.values() for side in found} == {"train", "held_out"}


def test_ratings_of_several_rounds_are_joined_with_pairs_of_their_own() -> None:
    first = Rated(rows=({"pair": "0"}, {"pair": "1"}, {"pair": "2"}), agreement=0.8, tie_share=0.0)
    second = Rated(rows=({"pair": "0"},), agreement=0.4, tie_share=0.2)
    joined = join_rated([first, second])
    assert [row["pair"] for row in joined.rows] == ["0", "1", "2", "1-0"]
    assert joined.agreement == pytest.approx(0.7)
    assert joined.tie_share == pytest.approx(0.05)


def test_a_judgement_compares_pair_by_pair(tmp_path: Path) -> None:
    """Wins 1, 1 and 0 of three; the same codes twice have no spread, others all of it."""
    np.save(tmp_path / "same.npy", np.zeros((2, 4), np.int16))
    np.save(tmp_path / "other.npy", np.array([[1, 1, 0, 0], [0, 0, 0, 0]], np.int16))
    base = [clip("p", 0.0, "same.npy"), clip("p", 0.0, "other.npy"), clip("q", 0.0, "same.npy")]
    candidate = [
        replace(clip("p", 1.0, "other.npy"), centroid_hz=500.0, level_dbfs=-17.0),
        replace(clip("p", 1.0, "other.npy"), centroid_hz=500.0, level_dbfs=-17.0),
        replace(clip("q", -1.0, "same.npy"), centroid_hz=500.0, level_dbfs=-17.0),
    ]
    found = judge(candidate, base, Taste.DARKER, tmp_path, np.random.default_rng(0))
    assert found.win_rate == pytest.approx(2 / 3)
    assert (found.n_pairs, found.n_prompts) == (3, 2)
    assert found.diversity == 0.0
    assert found.centroid_octaves == pytest.approx(-1.0)
    assert found.level_db == pytest.approx(3.0)


def test_clips_are_made_once_and_found_again(starter: Path, tmp_path: Path) -> None:
    orders = [Order(TINY_PROMPTS[0], 4), Order(TINY_PROMPTS[1], 5)]
    made = ClipStore(tmp_path, [starter], DURATION_S).make(orders)
    again = ClipStore(tmp_path, [starter], DURATION_S)
    assert again.make(orders[::-1]) == made[::-1]
    assert "generator" not in vars(again)  # nothing was loaded
    assert np.load(tmp_path / made[0].codes).shape[1] == 25


def test_a_trial_of_two_rounds_trains_each_on_fresh_clips_of_the_last(
    starter: Path, tmp_path: Path
) -> None:
    space = Workspace(tmp_path, starter, Prompts(TINY_PROMPTS, TINY_PROMPTS[:1]), DURATION_S)
    trial = Trial(Taste.BUSIER, n_pairs=9, n_rounds=2, config={"n_epochs": 1})
    result = run_trial(trial, space)
    first, second = result["rounds"]
    assert first["judgement"]["n_pairs"] == second["judgement"]["n_pairs"] == 4
    runs = [
        json.loads((tmp_path / "trials" / trial.name / f"round-{n}" / "run.json").read_text())
        for n in (1, 2)
    ]
    assert runs[0]["adapters"] == []
    assert [Path(place).parent.name for place in runs[1]["adapters"]] == ["round-1"]
    assert run_trial(trial, space) == result
    with pytest.raises(AlignmentError, match="another duration_s; name another --out"):
        run_trial(trial, replace(space, duration_s=2.0))
    table = results_table(tmp_path)
    assert table.count("| busier | dpo |") == 2


def test_other_settings_have_other_folders() -> None:
    names = {
        Trial(Taste.DARKER).name,
        Trial(Taste.DARKER, config={"beta_norm": 2.0}).name,
        Trial(Taste.DARKER, seed=1).name,
        Trial(Taste.DARKER, labels=Labels.RANDOM).name,
        Trial(Taste.DARKER, tie_share=0.2).name,
        Trial(Taste.DARKER, n_rounds=2).name,
        Trial(Taste.DARKER, has_reward_model=True).name,
    }
    assert len(names) == 7


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"best-of-8.*got 'ppo'"):
        Trial(Taste.DARKER, method="ppo")


def test_a_reward_model_is_given_only_to_methods_that_can_do_without() -> None:
    with pytest.raises(ConfigError, match=r"can be given to \['dpo', 'expert'\], not to grpo"):
        Trial(Taste.DARKER, method="grpo", has_reward_model=True)


def test_prompts_without_a_held_out_part_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"prompts": [{"text": "a", "is_held_out": False}]}))
    with pytest.raises(AlignmentError, match="1 training and 0 held-out"):
        Prompts.read(path)


def test_an_unknown_taste_ends_the_command_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "--taste", "louder"]) == 65
    assert "got 'louder'" in capsys.readouterr().err
