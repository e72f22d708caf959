"""Stock GRPO and RLOO on our sampler: on-policy from the first step, whole clips, real gains."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import nn
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

from alignment.errors import AlignmentError
from alignment.face import FlatAudioLM
from alignment.rl.config import GrpoConfig, RlooConfig
from alignment.rl.rollouts import ON_POLICY, Rollouts
from alignment.rl.trainers import PolicyRollouts, RlTrainer, build_trainer, rl_figures
from generator.lm.starter import StarterCore
from tests.tiny import TINY_CORE, tiny_core
from tests.unit.alignment.planted import FEW_CODES
from tests.unit.alignment.rl_runs import lowness, prompt_rows

QUICK: dict[str, Any] = {"learning_rate": 5e-3, "warmup_share": 0.0, "save_steps": 1000}
BOTH = [GrpoConfig, RlooConfig]


def few_codes_core() -> StarterCore:
    return tiny_core(config=replace(TINY_CORE, codebook_size=FEW_CODES))


def trainer_of(
    config: GrpoConfig | RlooConfig,
    folder: Path,
    *,
    core: StarterCore | None = None,
    n_prompts: int = 4,
    duration_s: float = 1.0,
) -> RlTrainer:
    core = core or few_codes_core()
    rows = prompt_rows(n_prompts, duration_s=duration_s)
    return build_trainer(FlatAudioLM(core), Rollouts(core), rows, lowness, config, folder=folder)


def first_batch(trainer: RlTrainer) -> dict[str, torch.Tensor]:
    """Returns what the trainer makes of its first prompts: clips, rewards and advantages."""
    trainer.model.train()
    rows = next(iter(trainer.get_train_dataloader()))
    scored: dict[str, torch.Tensor] = trainer._generate_and_score_completions(rows)
    return scored


def scores(trainer: RlTrainer, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Returns the trainer's own log-probabilities of a batch's completions, [B, L]."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    with torch.no_grad():
        found, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, batch["completion_ids"].shape[1]
        )
    assert isinstance(found, torch.Tensor)
    return found


def move(policy: PeftModel) -> None:
    """Gives the adapter weights that change the policy."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter, std=0.05)


def test_the_trainers_log_probs_are_the_samplers_own_and_the_ratio_is_one(tmp_path: Path) -> None:
    """With an adapter that does something and in training mode, as in the middle of a run."""
    trainer = trainer_of(GrpoConfig(**QUICK), tmp_path)
    move(trainer.model)
    batch = first_batch(trainer)
    sampled, scored = batch["sampling_per_token_logps"], scores(trainer, batch)
    torch.testing.assert_close(scored, sampled, atol=1e-4, rtol=0)
    ratio = (scored - sampled).exp()
    assert float((ratio - 1.0).abs().max()) < 1e-4
    with trainer.model.disable_adapter():
        parent = scores(trainer, batch)
    assert float((parent - sampled).abs().max()) > 0.05  # the adapter did matter


def test_rloos_old_log_probs_are_sums_of_the_samplers(tmp_path: Path) -> None:
    trainer = trainer_of(RlooConfig(**QUICK), tmp_path)
    move(trainer.model)
    kept: list[Any] = []
    source = trainer._policy_rollouts
    draw = source.draw
    source.draw = lambda *given: kept.extend(draw(*given)) or kept  # type: ignore[method-assign]
    batch = first_batch(trainer)
    expected = torch.tensor([float(clip.log_probs.sum()) for clip in kept])
    torch.testing.assert_close(batch["old_logps"], expected, atol=1e-2, rtol=0)
    assert float(expected.max()) < -20.0


@pytest.mark.parametrize("kind", BOTH)
def test_the_policy_starts_as_its_parent(
    kind: type[GrpoConfig] | type[RlooConfig], tmp_path: Path
) -> None:
    trainer = trainer_of(kind(**QUICK, n_steps=1), tmp_path)
    trainer.train()
    first = trainer.state.log_history[0]
    assert first["kl"] == 0.0
    assert first["clip_ratio/region_mean"] == 0.0
    assert first["grad_norm"] > 0.0


@pytest.mark.parametrize("kind", BOTH)
def test_trainers_are_stock(kind: type[GrpoConfig] | type[RlooConfig], tmp_path: Path) -> None:
    """GRPO is TRL's class itself; of RLOO only what turns prompts into completions is ours."""
    trainer = trainer_of(kind(**QUICK), tmp_path)
    if isinstance(trainer, RLOOTrainer):
        ours = {name for name in vars(type(trainer)) if callable(getattr(type(trainer), name))}
        assert ours == {"__init__", "_tokenize_prompts", "_generate_single_turn"}
    else:
        assert type(trainer) is GRPOTrainer


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOTH)
def test_learning_raises_the_reward(
    kind: type[GrpoConfig] | type[RlooConfig], tmp_path: Path
) -> None:
    trainer = trainer_of(kind(**QUICK, n_steps=14, batch_prompts=4), tmp_path)
    trainer.train()
    rewards = [
        rl_figures(line)["reward_mean"] for line in trainer.state.log_history if "loss" in line
    ]
    assert len(rewards) == 14
    assert np.mean(rewards[:3]) < 0.7
    assert np.mean(rewards[-3:]) > 0.85


def test_advantages_compare_clips_of_one_prompt_only(tmp_path: Path) -> None:
    trainer = trainer_of(GrpoConfig(**QUICK, batch_prompts=2, group_size=4), tmp_path)
    batch = first_batch(trainer)
    prompts = batch["prompt_ids"]
    for start in (0, 4):
        group = batch["advantages"][start : start + 4]
        assert bool((prompts[start : start + 4] == prompts[start]).all())
        assert float(group.sum()) == pytest.approx(0.0, abs=1e-4)
        codes = [
            trainer.rollout_func.rollouts.clip_codes(ids)
            for ids in batch["completion_ids"][start : start + 4].tolist()
        ]
        assert int(group.argmax()) == int(lowness(codes).argmax())
    assert bool((prompts[0] != prompts[4]).any())


def test_clips_longer_than_the_stock_limit_are_whole(tmp_path: Path) -> None:
    """Of 10.4 s and 2 codebooks: 261 steps of 2 ids and EOS; stock trainers stop at 512."""
    config = GrpoConfig(**QUICK, batch_prompts=1, group_size=2)
    trainer = trainer_of(config, tmp_path, n_prompts=1, duration_s=10.4)
    batch = first_batch(trainer)
    assert batch["completion_ids"].shape == (2, 523)
    assert trainer.max_completion_length == 523
    assert bool(
        (batch["completion_ids"][:, -1] == trainer.model.get_base_model().vocabulary.eos).all()
    )
    assert trainer._metrics["train"]["completions/clipped_ratio"] == [0.0]
    assert int(batch["tool_mask"].sum()) == 2 * 2 * 260


@pytest.mark.parametrize("kind", BOTH)
def test_no_dropout_comes_between_sampling_and_scoring(
    kind: type[GrpoConfig] | type[RlooConfig], tmp_path: Path
) -> None:
    """Also where a core has dropout: a module of it is put in, which the trainer switches off."""
    core = few_codes_core()
    layer = core.layers[0]
    layer.feed_norm = nn.Sequential(layer.feed_norm, nn.Dropout(0.5))
    trainer = trainer_of(kind(**QUICK, batch_prompts=1), tmp_path, core=core)
    assert trainer.args.disable_dropout
    batch = first_batch(trainer)
    torch.testing.assert_close(scores(trainer, batch), scores(trainer, batch), atol=0, rtol=0)


@pytest.mark.parametrize("kind", BOTH)
def test_sampler_and_trainer_have_one_temperature(
    kind: type[GrpoConfig] | type[RlooConfig], tmp_path: Path
) -> None:
    trainer = trainer_of(kind(**QUICK), tmp_path)
    assert trainer.args.temperature == ON_POLICY.temperature == 1.0
    assert trainer.args.top_k == ON_POLICY.top_k == 0
    assert trainer.args.top_p == ON_POLICY.top_p == 1.0


def test_another_temperature_of_the_trainer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignment.rl.trainers.ON_POLICY", replace(ON_POLICY, temperature=0.7))
    with pytest.raises(AlignmentError, match=r"at temperature 1, got 0\.7"):
        trainer_of(GrpoConfig(**QUICK), tmp_path)


@pytest.mark.parametrize("kind", BOTH)
def test_the_stock_generation_is_never_used(
    kind: type[GrpoConfig] | type[RlooConfig], tmp_path: Path
) -> None:
    """The face cannot generate by itself: a wrong turn would raise, not sample otherwise."""
    trainer = trainer_of(kind(**QUICK, n_steps=1, batch_prompts=1), tmp_path)
    assert not hasattr(trainer.model.get_base_model(), "generate")
    assert trainer.model.get_base_model().generation_config.pad_token_id is not None
    trainer.train()
    assert trainer.state.global_step == 1
    assert trainer.state.log_history[0]["completions/clipped_ratio"] == 0.0


def test_every_clip_of_a_run_has_a_seed_of_its_own_that_its_place_decides(tmp_path: Path) -> None:
    trainer = trainer_of(GrpoConfig(**QUICK), tmp_path)
    source = trainer.rollout_func
    assert isinstance(source, PolicyRollouts)
    first = [clip.seed for clip in source.draw(["0"] * 8 + ["1"] * 8, trainer)]
    assert len(set(first)) == 16
    trainer.state.global_step = 1
    second = [clip.seed for clip in source.draw(["0"] * 8 + ["1"] * 8, trainer)]
    assert not set(first) & set(second)
    trainer.state.global_step = 0
    assert [clip.seed for clip in source.draw(["0"] * 8 + ["1"] * 8, trainer)] == first


def test_accumulated_batches_make_the_same_step(tmp_path: Path) -> None:
    """Four prompts at once, or two and two: one order of prompts, one set of clips, one step."""
    norms = []
    for number, (batch, accumulation) in enumerate(((4, 1), (2, 2))):
        config = GrpoConfig(
            **QUICK, n_steps=1, batch_prompts=batch, accumulation_steps=accumulation
        )
        trainer = trainer_of(config, tmp_path / str(number))
        trainer.train()
        line = trainer.state.log_history[0]
        norms.append((line["reward"], line["grad_norm"]))
    assert norms[0][0] == pytest.approx(norms[1][0], abs=1e-6)
    assert norms[0][1] == pytest.approx(norms[1][1], rel=1e-3)
    assert math.isfinite(norms[0][1])
