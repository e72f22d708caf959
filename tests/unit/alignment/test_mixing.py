"""Adapters of one parent, mixed: what the mix adds is the weighted sum of what its parts add."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from alignment.adapters import publish_adapter
from alignment.errors import ConfigError, RunFolderError
from alignment.face import FlatAudioLM
from alignment.mixing import MixConfig, mix_adapters, save_low_rank, train_mix
from alignment.runs import RESULT_FOLDER, RUN_FILE, read_run
from alignment.stopping import StopSwitch
from generator.checkpoints import content_hash, load_core, merge_adapter, read_card
from generator.lm.adapters import read_adapter
from tests.unit.alignment.planted import (
    sample_pairs,
    write_preferences,
    write_run,
    write_small_checkpoint,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_checkpoint(tmp_path_factory.mktemp("mixing") / "base")


def write_adapter(
    base: Path, folder: Path, *, seed: int, rank: int = 2, targets: tuple[str, ...] = ("fc1", "fc2")
) -> Path:
    """An adapter whose matrices are random, as if it had been trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FlatAudioLM(load_core(base))
        config = LoraConfig(r=rank, lora_alpha=3, target_modules=list(targets))
        policy = get_peft_model(model, config)
        for name, parameter in policy.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.2)
    publish_adapter(
        policy,
        folder,
        partial=folder.with_suffix(".partial"),
        name=folder.name,
        parent=read_card(base),
        parent_hash=content_hash(base),
        recipe={},
        metrics={},
    )
    return folder


def write_mix_run(base: Path, folder: Path, adapters: list[Path], weights: list[float]) -> Path:
    pairs = sample_pairs(load_core(base), 4)
    preferences = write_preferences(folder / "codes", pairs, [True] * 4, n_held_out=4)
    write_run(folder, base=base, preferences=preferences, config={})
    stored = json.loads((folder / RUN_FILE).read_text())
    stored["method"] = "mix"
    stored["config"] = {"adapters": [str(adapter) for adapter in adapters], "weights": weights}
    (folder / RUN_FILE).write_text(json.dumps(stored))
    return folder


def mix(base: Path, folder: Path, adapters: list[Path], weights: list[float]) -> Path:
    run = read_run(write_mix_run(base, folder, adapters, weights))
    train_mix(run, stop=StopSwitch(), device="cpu")
    return folder / RESULT_FOLDER


def deltas(base: Path, folder: Path) -> dict[str, Tensor]:
    """What an adapter adds to each weight, by merging it."""
    before = load_core(base).state_dict()
    after = merge_adapter(load_core(base), folder).state_dict()
    return {name: after[name] - before[name] for name in before}


def test_weights_1_and_0_give_the_first_adapter_itself(base: Path, tmp_path: Path) -> None:
    first = write_adapter(base, tmp_path / "first", seed=1)
    second = write_adapter(base, tmp_path / "second", seed=2)
    result = mix(base, tmp_path / "run", [first, second], [1.0, 0.0])
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (result / name).read_bytes() == (first / name).read_bytes()


def test_equal_weights_give_the_mean_of_what_the_adapters_add(base: Path, tmp_path: Path) -> None:
    first = write_adapter(base, tmp_path / "first", seed=1)
    second = write_adapter(base, tmp_path / "second", seed=2, rank=3, targets=("fc1", "q_proj"))
    mixed = deltas(base, mix(base, tmp_path / "run", [first, second], [0.5, 0.5]))
    ones, others = deltas(base, first), deltas(base, second)
    changed = {name for name, delta in mixed.items() if delta.any()}
    assert changed == {name for name in mixed if ones[name].any() or others[name].any()}
    for name, delta in mixed.items():
        expected = 0.5 * ones[name] + 0.5 * others[name]
        torch.testing.assert_close(delta, expected, atol=2e-6, rtol=0)


def test_a_mix_is_a_checkpoint_of_the_parent_that_names_its_parts(
    base: Path, tmp_path: Path
) -> None:
    first = write_adapter(base, tmp_path / "first", seed=1)
    second = write_adapter(base, tmp_path / "second", seed=2)
    card = read_card(mix(base, tmp_path / "run", [first, second], [0.25, 0.75]))
    assert (card.kind, card.parent_hash) == ("adapter", content_hash(base))
    assert card.recipe["parts"] == [
        {"name": "first", "weight": 0.25},
        {"name": "second", "weight": 0.75},
    ]
    measured = card.metrics["held_out"]
    assert measured["n"] == card.metrics["n_held_out"] > 0
    assert measured["chosen_nll"] != measured["parent_chosen_nll"]


def test_row_adapters_of_a_mix_add_the_same_as_merging_it(base: Path, tmp_path: Path) -> None:
    core = load_core(base)
    parts = [
        (read_adapter(core, write_adapter(base, tmp_path / str(seed), seed=seed)), weight)
        for seed, weight in ((1, 0.5), (2, -1.5))
    ]
    save_low_rank(mix_adapters(parts), tmp_path / "mixed")
    mixed = read_adapter(core, tmp_path / "mixed")
    for path, delta in mixed.deltas.items():
        expected = sum(
            weight * adapter.deltas[path].up @ adapter.deltas[path].down
            for adapter, weight in parts
        )
        torch.testing.assert_close(delta.up @ delta.down, expected)


def test_an_adapter_of_another_parent_is_refused(base: Path, tmp_path: Path) -> None:
    first = write_adapter(base, tmp_path / "first", seed=1)
    other = write_adapter(base, tmp_path / "other", seed=2)
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps({**card, "parent_hash": "0" * 64}))
    with pytest.raises(RunFolderError, match="adapter on 000000000000"):
        mix(base, tmp_path / "run", [first, other], [0.5, 0.5])


@pytest.mark.parametrize(
    ("adapters", "weights", "message"),
    [
        (("a",), (1.0,), "at least 2 adapters"),
        (("a", "b"), (1.0,), "got 2 and 1"),
        (("a", "b"), (1.0, 3.0), "-2 to 2, got 3"),
        (("a", "b"), (1.0, float("nan")), "got nan"),
        (("a", "b"), (0.0, 0.0), "all weights are 0"),
    ],
)
def test_what_is_no_mix_is_refused(
    adapters: tuple[str, ...], weights: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        MixConfig(adapters=adapters, weights=weights)
