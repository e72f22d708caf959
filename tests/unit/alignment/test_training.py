"""A run from folder to adapter: what was learned, what was published, what it is worth."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from alignment.collation import PreferenceCollator
from alignment.face import FlatAudioLM
from alignment.runs import Split, read_preferences, read_run
from alignment.scoring import score_preferences
from alignment.stopping import StopSwitch
from alignment.training import train_run
from generator.checkpoints import content_hash, load_core, merge_adapter, verify_folder
from generator.synthesis import load_generator
from tests.unit.alignment.planted import (
    FEW_CODES,
    Sampled,
    lowness,
    random_headers,
    sample,
    sample_pairs,
    write_preferences,
    write_run,
    write_small_checkpoint,
)

BATCH_PAIRS = 8
CONFIG = {
    "beta_norm": 20.0,
    "learning_rate": 3e-3,
    "n_epochs": 2,
    "batch_pairs": BATCH_PAIRS,
    "save_steps": 1000,
}
N_PAIRS = 240
N_HELD_OUT = 40
N_JUDGED = 200
Labeller = Callable[[Sampled], list[bool]]


@dataclass(frozen=True)
class Trained:
    """A finished run and what it was trained on."""

    base: Path
    folder: Path
    summary: dict


def by_taste(pairs: Sampled) -> list[bool]:
    """Prefers the clip with more codes in the lower half."""
    return (lowness(pairs.first, FEW_CODES) > lowness(pairs.second, FEW_CODES)).tolist()


def by_coin(pairs: Sampled) -> list[bool]:
    """Prefers at random."""
    return (np.random.default_rng(0).random(len(pairs.headers)) < 0.5).tolist()


def train(folder: Path, labels: Labeller) -> Trained:
    """Trains a run on pairs sampled from the tiny checkpoint."""
    base = write_small_checkpoint(folder / "base")
    pairs = sample_pairs(load_core(base), N_PAIRS)
    preferences = write_preferences(folder / "codes", pairs, labels(pairs), N_HELD_OUT)
    run = write_run(folder / "run", base=base, preferences=preferences, config=CONFIG)
    return Trained(base, run, train_run(read_run(run), stop=StopSwitch()))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run on preferences with a taste."""
    return train(tmp_path_factory.mktemp("planted"), by_taste)


def judged_win_rate(trained: Trained) -> tuple[float, Tensor, Tensor]:
    """Returns how often fresh clips of the result beat the base's, and both lownesses.

    Headers and seeds are those of no training pair.
    """
    headers = random_headers(N_JUDGED, seed=999)
    base = load_core(trained.base)
    of_base = lowness(sample(base, headers, seed=5 * 10**6), FEW_CODES)
    policy = merge_adapter(base, trained.folder / "result")
    of_policy = lowness(sample(policy, headers, seed=6 * 10**6), FEW_CODES)
    wins = (of_policy > of_base).float() + 0.5 * (of_policy == of_base).float()
    return wins.mean().item(), of_policy, of_base


def test_a_planted_taste_is_heard_in_fresh_clips_of_unseen_headers(planted: Trained) -> None:
    rate, of_policy, of_base = judged_win_rate(planted)
    assert rate > 0.7  # five standard errors above a coin
    assert of_policy.mean() > of_base.mean() + 0.05


def test_random_labels_teach_nothing_that_can_be_heard(tmp_path: Path) -> None:
    rate, of_policy, of_base = judged_win_rate(train(tmp_path, by_coin))
    assert abs(rate - 0.5) < 0.12
    assert abs(of_policy.mean() - of_base.mean()) < 0.05


def test_held_out_preferences_are_agreed_with(planted: Trained) -> None:
    held_out = planted.summary["held_out"]
    assert held_out["n"] == N_HELD_OUT
    assert held_out["accuracy"] > 0.7
    assert held_out["low"] < held_out["accuracy"] < held_out["high"]
    assert held_out["nll_increase"] < 0.15


def test_the_adapter_merged_by_the_generator_scores_as_the_trained_policy(
    planted: Trained,
) -> None:
    generator = load_generator(planted.base, adapters=[planted.folder / "result"])
    model = FlatAudioLM(generator.core).eval()
    run = read_run(planted.folder)
    held_out = [row for row in read_preferences(run) if row.split is Split.HELD_OUT]
    scores = score_preferences(model, held_out, PreferenceCollator(model.vocabulary, held_out, 25))
    expected = planted.summary["held_out"]["chosen_nll"]
    assert -scores.chosen.mean().item() == pytest.approx(expected, abs=1e-4)
    parent = planted.summary["held_out"]["parent_chosen_nll"]
    assert abs(parent - expected) > 1e-3  # so that an adapter that does nothing would fail


def test_the_published_card_tells_where_the_adapter_came_from(planted: Trained) -> None:
    card = verify_folder(planted.folder / "result")
    run = json.loads((planted.folder / "run.json").read_text())
    assert (card.kind, card.name, card.parent) == ("adapter", "tiny-aligned", "small")
    assert card.parent_hash == content_hash(planted.base)
    assert card.recipe["dataset_sha256"] == run["dataset_sha256"]
    assert card.recipe["config"]["learning_rate"] == CONFIG["learning_rate"]
    assert card.metrics["held_out"]["n"] == N_HELD_OUT
    assert not (planted.folder / "result.partial").exists()
    summary = json.loads((planted.folder / "summary.json").read_text())
    assert summary == planted.summary
    assert summary["content_hash"] == content_hash(planted.folder / "result")


def test_the_adapters_keys_are_those_of_the_core(planted: Trained) -> None:
    keys = load_file(planted.folder / "result" / "adapter_model.safetensors")
    assert "base_model.model.layers.0.attention.q_proj.lora_A.weight" in keys
    assert not any(".core." in key for key in keys)


def test_progress_has_a_line_a_step_and_one_a_held_out_measurement(planted: Trained) -> None:
    lines = [
        json.loads(line) for line in (planted.folder / "progress.jsonl").read_text().splitlines()
    ]
    steps = [line for line in lines if "loss" in line]
    n_steps = 2 * (N_PAIRS - N_HELD_OUT) // BATCH_PAIRS
    assert [line["step"] for line in steps] == list(range(1, n_steps + 1))
    assert {line["n_steps"] for line in lines} == {n_steps}
    assert (steps[0]["margin"], steps[0]["accuracy"]) == (0.0, 0.5)
    assert np.mean([line["margin"] for line in steps[-5:]]) > 0.1
    assert steps[-1]["eta_s"] == 0.0
    assert -6 < steps[-1]["chosen_logp"] < -1
    measured = [line for line in lines if "held_out_accuracy" in line]
    assert [line["step"] for line in measured] == [n_steps // 2, n_steps]


def test_a_finished_run_is_not_trained_again(planted: Trained) -> None:
    before = (planted.folder / "progress.jsonl").read_text()
    assert train_run(read_run(planted.folder), stop=StopSwitch()) == planted.summary
    assert (planted.folder / "progress.jsonl").read_text() == before


def test_a_second_round_stands_on_the_first(planted: Trained, tmp_path: Path) -> None:
    first = planted.folder / "result"
    core = merge_adapter(load_core(planted.base), first)
    pairs = sample_pairs(core, 16, seed=77)
    preferences = write_preferences(tmp_path / "codes", pairs, by_taste(pairs), n_held_out=4)
    run = write_run(
        tmp_path / "run",
        base=planted.base,
        adapters=[first],
        preferences=preferences,
        config={**CONFIG, "n_epochs": 1},
        name="second",
    )
    summary = train_run(read_run(run), stop=StopSwitch())
    assert summary["parent"] == "tiny-aligned"
    chained = load_generator(planted.base, adapters=[first, run / "result"]).core.state_dict()
    name = "layers.0.fc1.weight"
    assert not torch.equal(chained[name], core.state_dict()[name])
