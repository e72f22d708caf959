"""Whole runs by every method that learns from rated pairs, and the registry of them all."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from alignment.errors import RunFolderError
from alignment.methods import METHODS, Method
from alignment.outcomes import Counts, Outcome
from alignment.runs import Preference, read_run
from alignment.samples import FIRST_SEED
from alignment.stopping import StopSwitch
from alignment.training import train_run
from generator.checkpoints import load_core, merge_adapter, verify_folder
from generator.families import STARTER_SAMPLING
from generator.lm.sampling import sample_codes
from tests.unit.alignment.planted import (
    FEW_CODES,
    lowness,
    sample_pairs,
    write_preferences,
    write_run,
    write_small_checkpoint,
)

N_PAIRS = 120
N_HELD_OUT = 40
COMMON = {"beta_norm": 20.0, "learning_rate": 3e-3, "n_epochs": 2, "sample_steps": 9}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "sigmoid": ("dpo", {"loss": "sigmoid"}),
    # Its margin is 1 / (2 beta), which at a beta of 20 is lost in the noise of few clips.
    "ipo": ("dpo", {"loss": "ipo", "beta_norm": 4.0, "n_epochs": 3}),
    "robust": ("dpo", {"loss": "robust", "label_smoothing": 0.1}),
    "apo_zero": ("dpo", {"loss": "apo_zero"}),
    "rao_kupper": ("dpo", {"loss": "rao_kupper"}),
    "davidson": ("dpo", {"loss": "davidson"}),
    "kto": ("kto", {}),
    "expert": ("expert", {"best_share": 0.2, "n_epochs": 8}),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Preference]]:
    """A small checkpoint, and pairs of its clips rated by a taste, with ties and both bad."""
    folder = tmp_path_factory.mktemp("planted")
    base = write_small_checkpoint(folder / "base")
    pairs = sample_pairs(load_core(base), N_PAIRS)
    first, second = lowness(pairs.first, FEW_CODES), lowness(pairs.second, FEW_CODES)
    rows = write_preferences(folder / "codes", pairs, (first > second).tolist(), N_HELD_OUT)
    best = torch.maximum(first, second)
    worst_fifth = best.quantile(0.2)
    for place in range(N_PAIRS - N_HELD_OUT):
        if abs(first[place] - second[place]) < 0.03:
            rows[place] = replace(rows[place], outcome=Outcome.TIE, counts=Counts(tie=1))
        elif best[place] < worst_fifth:
            rows[place] = replace(rows[place], outcome=Outcome.BOTH_BAD, counts=Counts(both_bad=1))
        elif best[place] > best.median():  # three raters agree on the best
            rows[place] = replace(rows[place], counts=Counts(chosen=3))
    assert {row.outcome for row in rows} == set(Outcome)
    return base, rows


def settings(method: str, config: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's settings with eight pairs a batch."""
    batch = {"batch_pairs": 8} if method == "dpo" else {"batch_clips": 16}
    shared = {k: v for k, v in COMMON.items() if method != "expert" or k != "beta_norm"}
    return {**shared, **batch, **config}


def log(run: Path) -> list[dict[str, Any]]:
    """Returns the lines of a run's progress."""
    return [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", RUNS)
def test_a_method_learns_the_planted_taste_and_tells_how(
    planted: tuple[Path, list[Preference]], tmp_path: Path, name: str
) -> None:
    base, rows = planted
    method, config = RUNS[name]
    run = write_run(
        tmp_path / "run",
        base=base,
        preferences=rows,
        method=method,
        config=settings(method, config),
    )
    summary = train_run(read_run(run), stop=StopSwitch())
    outcomes = read_run(run).config.outcomes  # type: ignore[attr-defined]
    assert summary["n_train"] == sum(row.outcome in outcomes for row in rows[:-N_HELD_OUT])
    assert summary["n_train"] + summary["n_held_out"] + summary["n_unused"] == N_PAIRS
    assert summary["held_out"]["n"] == N_HELD_OUT
    card = verify_folder(run / "result")
    assert (card.kind, card.recipe["method"]) == ("adapter", method)

    lines = log(run)
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, summary["n_steps"] + 1))
    assert all(line["kl"] >= 0 and line["memory_mb"] > 50 and "eta_s" in line for line in steps)
    assert steps[0]["kl"] == 0.0 < steps[-1]["kl"]
    assert all("chosen_logp" in line for line in steps)
    if method == "expert":
        assert steps[-1]["chosen_logp"] > steps[0]["chosen_logp"] + 0.05
    else:
        assert summary["held_out"]["accuracy"] > 0.6
        assert (steps[0]["margin"], steps[0]["accuracy"]) == (0.0, 0.5)
        assert steps[-1]["margin"] > 0.0
        assert all("rejected_logp" in line for line in steps)

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    kept = [(event.step, event.value) for event in events.Scalars("loss")]
    assert kept == [(line["step"], pytest.approx(line["loss"])) for line in steps]
    assert "held_out_accuracy" in events.Tags()["scalars"]


def test_clips_made_during_a_run_are_those_of_the_policy_then(
    planted: tuple[Path, list[Preference]], tmp_path: Path
) -> None:
    base, rows = planted
    run = write_run(
        tmp_path / "run", base=base, preferences=rows, config=settings("dpo", {"sample_clips": 2})
    )
    n_steps = train_run(read_run(run), stop=StopSwitch())["n_steps"]
    told = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert 9 < n_steps < 18
    assert [line["step"] for line in told] == [0, 0, 9, 9, n_steps, n_steps]
    sampled = [line for line in log(run) if "samples" in line]
    assert [line["codes"] for line in told] == [
        name for line in sampled for name in line["samples"]
    ]
    assert [line["seed"] for line in told[:2]] == [FIRST_SEED, FIRST_SEED + 1]
    held_out = [row for row in rows if row.split == "held_out"]
    assert told[0]["header"] == list(held_out[0].header)

    policy = merge_adapter(load_core(base), run / "result")
    for core, lines, at_least in ((load_core(base), told[:2], 0.99), (policy, told[-2:], 0.9)):
        expected = sample_codes(
            core,
            torch.tensor([line["header"] for line in lines]),
            torch.tensor([[0.0, 1.0]] * 2),
            25,
            STARTER_SAMPLING,
            [line["seed"] for line in lines],
        )
        found = np.stack([np.load(run / line["codes"]) for line in lines])
        assert np.mean(found == expected.numpy()) > at_least


def test_a_run_without_a_row_of_its_outcomes_is_refused(
    planted: tuple[Path, list[Preference]], tmp_path: Path
) -> None:
    base, rows = planted
    ties = [row for row in rows if row.outcome is Outcome.TIE]
    run = write_run(tmp_path / "run", base=base, preferences=ties, config={})
    with pytest.raises(RunFolderError, match=r"rows, none to train on .* \['chosen'\]|<Outcome"):
        train_run(read_run(run), stop=StopSwitch())


def test_every_method_has_a_title_and_outcomes_and_the_pair_methods_have_settings() -> None:
    assert {"dpo", "kto", "expert", "grpo", "rloo", "reward"} <= set(METHODS)
    assert all(method.title and method.outcomes for method in METHODS.values())
    assert {m.name for m in METHODS.values() if m.needs_reward_model} == {"grpo", "rloo"}
    for name in ("dpo", "kto", "expert"):
        config = METHODS[name].config_class()
        assert config.outcomes <= METHODS[name].outcomes  # type: ignore[attr-defined]


def test_a_method_whose_code_is_absent_says_so() -> None:
    absent = Method("x", "none", "alignment.nothing:X", "alignment.nothing:run", frozenset())
    with pytest.raises(RunFolderError, match=r"method x is not installed: no alignment\.nothing"):
        _ = absent.config_class
