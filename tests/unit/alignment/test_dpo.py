"""The stock trainer on the face: what its first steps compute, and that it cuts nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import PeftModel
from torch import nn
from trl.trainer.dpo_trainer import DPOTrainer

from alignment.arguments import uses_bfloat16
from alignment.collation import PreferenceCollator
from alignment.config import LORA_TARGETS, DpoConfig, Precision
from alignment.dpo import PairTrainer, build_trainer, trainer_arguments
from alignment.face import FlatAudioLM
from alignment.runs import Preference
from alignment.scoring import parent_scores, score_preferences
from tests.tiny import randomise, tiny_core
from tests.unit.alignment.planted import random_headers, sample_pairs, write_preferences

STEADY = {
    "save_steps": 1000,
    "learning_rate": 5e-3,
    "warmup_share": 0.0,
    "batch_pairs": 4,
    "precision": "float32",
}


def ragged_preferences(folder: Path, seconds: tuple[int, ...]) -> list[Preference]:
    """Writes random clips, one pair of each length."""
    rng = np.random.default_rng(0)
    preferences = []
    for row, duration_s in enumerate(seconds):
        paths = [folder / f"{row}{side}.npy" for side in "ab"]
        for path in paths:
            np.save(path, rng.integers(0, 512, (2, 25 * duration_s)).astype(np.int16))
        header = tuple(random_headers(1, seed=row)[0].tolist())
        preferences.append(
            Preference(pair=str(row), header=header, chosen=paths[0], rejected=paths[1])
        )
    return preferences


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_margin_is_exactly_zero_before_the_first_update(tmp_path: Path, precision: str) -> None:
    core = tiny_core()
    preferences = write_preferences(tmp_path, sample_pairs(core, 12), [True] * 12)
    config = DpoConfig.from_mapping({**STEADY, "precision": precision, "n_epochs": 2})
    trainer = build_trainer(
        FlatAudioLM(core), preferences, config, folder=tmp_path / "out", mean_codes=50
    )
    trainer.train()
    margins = [line["figure/margin"] for line in trainer.state.log_history[:-1]]
    assert margins[0] == 0.0
    assert all(margin != 0.0 for margin in margins[1:])
    assert len(margins) == 6


def test_the_first_loss_is_log_2_and_a_tenth_of_the_chosen_clips_nll(tmp_path: Path) -> None:
    core = tiny_core()
    preferences = write_preferences(tmp_path, sample_pairs(core, 4), [True] * 4)
    model = FlatAudioLM(core)
    trainer = build_trainer(
        model,
        preferences,
        DpoConfig.from_mapping({**STEADY, "n_epochs": 1}),
        folder=tmp_path / "out",
        mean_codes=50,
    )
    batch = PreferenceCollator(model.vocabulary, preferences, 25).collate(preferences)
    with torch.no_grad():
        rows = model.vocabulary.split(batch["input_ids"][:4])
        nll = torch.stack(
            [
                F.cross_entropy(logits.transpose(1, 2), rows.grid[:, :, k], ignore_index=512)
                for k, logits in enumerate(model.code_logits(rows))
            ]
        )
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["loss"] == pytest.approx(np.log(2) + 0.1 * nll.mean().item(), abs=1e-4)


def test_clips_of_14_s_and_longer_are_trained_on_to_their_last_code(tmp_path: Path) -> None:
    preferences = ragged_preferences(tmp_path, (14, 2, 30, 1))
    model = FlatAudioLM(tiny_core())
    trainer = build_trainer(
        model,
        preferences,
        DpoConfig.from_mapping({**STEADY, "n_epochs": 1}),
        folder=tmp_path / "out",
        mean_codes=587.5,
    )
    seen: list[int] = []

    def count(_module: nn.Module, _inputs: object, output: Any) -> None:
        seen.extend((output.log_probs != 0).sum(1).tolist())

    model.register_forward_hook(count)
    trainer.train()
    policy_then_reference = sorted(2 * [50, 100, 700, 1500])
    assert sorted(seen[:8]) == policy_then_reference
    assert sorted(seen[8:]) == policy_then_reference


def test_every_projection_is_adapted_and_nothing_else_is_trained(tmp_path: Path) -> None:
    trainer = build_trainer(
        FlatAudioLM(tiny_core()),
        ragged_preferences(tmp_path, (1,)),
        DpoConfig(),
        folder=tmp_path / "out",
        mean_codes=50,
    )
    policy = trainer.model
    assert isinstance(policy, PeftModel)
    trained = [name for name, weight in policy.named_parameters() if weight.requires_grad]
    assert all(".lora_" in name for name in trained)
    assert {name.split(".lora_")[0].rsplit(".")[-1] for name in trained} == set(LORA_TARGETS)
    assert len(trained) == 2 * len(LORA_TARGETS) * 2  # A and B in both layers


def test_no_length_limit_is_left_to_a_default(tmp_path: Path) -> None:
    config = DpoConfig(precision=Precision.FLOAT32)
    arguments = trainer_arguments(config, tmp_path, "cpu")
    assert arguments.max_length is None
    assert not arguments.gradient_checkpointing
    assert not arguments.bf16
    assert arguments.report_to == []


def test_automatic_precision_is_bfloat16_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for able, expected in (({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert uses_bfloat16(Precision.AUTO, "cpu") is expected
    assert uses_bfloat16(Precision.BFLOAT16, "cpu")
    assert not uses_bfloat16(Precision.FLOAT32, "cuda")


def test_heavier_preferences_pull_harder(tmp_path: Path) -> None:
    core = tiny_core()
    pairs = sample_pairs(core, 2)
    light = write_preferences(tmp_path, pairs, [True, True])
    heavy = [light[0], Preference(**{**vars(light[1]), "weight": 50.0})]

    def margins_after(preferences: list[Preference]) -> torch.Tensor:
        model = FlatAudioLM(tiny_core())
        trainer = build_trainer(
            model,
            preferences,
            DpoConfig.from_mapping({**STEADY, "batch_pairs": 2, "n_epochs": 4, "sft_weight": 0.0}),
            folder=tmp_path / "out",
            mean_codes=50,
        )
        trainer.train()
        policy = trainer.model
        assert isinstance(policy, PeftModel)
        collator = PreferenceCollator(model.vocabulary, light, 25)
        now = score_preferences(policy, light, collator)
        before = parent_scores(policy, light, collator)
        return (now.chosen - before.chosen) - (now.rejected - before.rejected)

    plain, weighted = margins_after(light), margins_after(heavy)
    assert weighted[1] / weighted[0] > 1.2 * plain[1] / plain[0]


def adapted_trainer(folder: Path, preferences: list[Preference], **changed: Any) -> PairTrainer:
    """Returns a trainer whose policy differs from its parent."""
    trainer = build_trainer(
        FlatAudioLM(tiny_core()),
        preferences,
        DpoConfig.from_mapping({**STEADY, **changed}),
        folder=folder,
        mean_codes=50,
    )
    assert trainer.model is not None
    randomise(trainer.model)  # the second matrices of adapters start at zero
    return trainer


@pytest.mark.parametrize(
    ("loss", "stock", "scale"),
    [
        ("sigmoid_norm", {"loss_type": ["sigmoid_norm", "sft"], "beta": 5.0}, 1.0),
        ("sigmoid", {"loss_type": ["sigmoid", "sft"], "beta": 5.0 / 50}, 1.0),
        ("apo_zero", {"loss_type": ["apo_zero", "sft"], "beta": 5.0 / 50}, 1.0),
        (
            "robust",
            {"loss_type": ["robust", "sft"], "beta": 5.0 / 50, "label_smoothing": 0.2},
            1.0,
        ),
        # Ours is in units of beta squared; see losses.squared.
        ("ipo", {"loss_type": ["ipo", "sft"], "beta": 5.0}, 25.0),
    ],
)
def test_pairs_with_one_rating_and_clips_of_one_length_cost_what_trl_says(
    tmp_path: Path, loss: str, stock: dict[str, Any], scale: float
) -> None:
    preferences = write_preferences(tmp_path, sample_pairs(tiny_core(), 4), [True] * 4)
    smoothing = stock.get("label_smoothing", 0.0)
    ours = adapted_trainer(tmp_path / "out", preferences, loss=loss, label_smoothing=smoothing)
    batch = ours.data_collator([{"row": place} for place in range(4)])
    found = ours.compute_loss(ours.model, batch)

    ours.loss_types, ours.loss_weights = stock["loss_type"], [scale, 0.1]
    ours.beta, ours.label_smoothing = stock["beta"], smoothing
    batch.pop("targets")
    expected = DPOTrainer.compute_loss(ours_as_stock(ours), ours.model, batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert abs(found.item() - np.log(2)) > 0.05


def ours_as_stock(trainer: PairTrainer) -> DPOTrainer:
    """Returns the trainer without its own loss."""
    trainer.__class__ = DPOTrainer
    return trainer


def test_checkpointed_layers_give_the_same_gradients(tmp_path: Path) -> None:
    preferences = write_preferences(tmp_path, sample_pairs(tiny_core(), 4), [True] * 4)
    gradients = []
    for checkpointing in (False, True):
        trainer = adapted_trainer(
            tmp_path / "out", preferences, gradient_checkpointing=checkpointing
        )
        policy = trainer.model
        assert isinstance(policy, PeftModel)
        policy.train()
        seen: list[bool] = []
        layer = policy.get_base_model().core.layers[0]
        layer.register_forward_pre_hook(lambda *_, seen=seen: seen.append(torch.is_grad_enabled()))
        trainer.train()
        # A checkpointed layer is computed once more on the way back.
        n_passes = sum(seen)
        gradients.append((n_passes, trainer.state.log_history[0]["grad_norm"]))
    (kept, first), (computed_again, second) = gradients
    assert computed_again == 2 * kept
    assert second == pytest.approx(first, rel=1e-5)
