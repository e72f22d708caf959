"""Direct preference optimisation: the stock trainer with a loss that hears every rating.

Rafailov et al. 2023, arXiv:2305.18290. Forward passes, reference and schedule are TRL's. The
reference model is the policy with its adapter switched off, so that both see the same batch and
the margin of the first step is exactly 0. Only the number that is minimised is our own: stock
losses know neither ties nor soft labels nor weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PrinterCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from alignment.arguments import lora_config, shared_arguments
from alignment.collation import TARGETS, PreferenceCollator, row_dataset, structural_tokenizer
from alignment.config import DpoConfig, PairLoss
from alignment.errors import RunFolderError
from alignment.face import FlatAudioLM
from alignment.losses import LogRatios, PairLosses, PairTargets, pair_losses
from alignment.passes import code_means, divergence, log_figures, recorded_passes
from alignment.relabelling import DRAWN_FOLDER, draw_clips, label_by_reward
from alignment.rl.models import model_reward
from alignment.rl.rollouts import Rollouts
from alignment.runs import Preference, RunFolder
from alignment.samples import usual_sampling
from alignment.stopping import StopSwitch
from alignment.training import Material, train_adapter


class PairTrainer(DPOTrainer):
    """TRL's DPO trainer with our loss in place of its own."""

    def __init__(self, *, config: DpoConfig, mean_codes: float, **arguments: Any) -> None:
        """mean_codes: how many codes a usual clip has."""
        self._config = config
        self._mean_codes = mean_codes
        super().__init__(**arguments)

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """Returns our loss of the passes that the stock computation makes."""
        stock = {name: value for name, value in inputs.items() if name != TARGETS}
        with recorded_passes(self) as passes:
            returned = super()._compute_loss(model, stock, return_outputs)
        policy, parent = passes[:2]
        targets = PairTargets(**inputs[TARGETS])
        losses = self._losses(policy, parent, inputs["completion_mask"][:, 1:], targets)
        return (losses.total, returned[1]) if return_outputs else losses.total

    def _losses(
        self,
        policy: Tensor,
        parent: Tensor,
        mask: Tensor,
        targets: PairTargets,
    ) -> PairLosses:
        """Returns the losses of a batch and logs its figures.

        policy and parent: log-probabilities, 0 where the mask of codes is, [2 B, L - 1] each.
        """
        means = code_means(policy, mask)
        per_code = means - code_means(parent, mask)
        ratios = per_code
        if self._config.loss is PairLoss.SIGMOID:
            ratios = (policy - parent).sum(1) / self._mean_codes
        losses = pair_losses(
            self._config.loss,
            LogRatios(*ratios.chunk(2)),
            targets,
            -means.chunk(2)[0],
            beta=self._config.beta_norm,
            sft_weight=self._config.sft_weight,
            label_smoothing=self._config.label_smoothing,
            tie_share=self._config.tie_share,
        )
        chosen, rejected = per_code.detach().chunk(2)
        decided = targets.imitated > 0
        margins = torch.where(decided, chosen - rejected, torch.nan)
        wins = (margins > 0).float() + 0.5 * (margins == 0).float()
        log_figures(
            self,
            margin=margins,
            accuracy=torch.where(decided, wins, torch.nan),
            chosen_logp=means.chunk(2)[0],
            rejected_logp=means.chunk(2)[1],
            kl=divergence(policy, parent, mask),
        )
        return losses


def trainer_arguments(config: DpoConfig, folder: Path, device: str) -> DPOConfig:
    """Returns the arguments of the stock trainer; every length limit is off."""
    return DPOConfig(
        **shared_arguments(config, folder, device),
        loss_type=["sigmoid_norm"],  # computed and thrown away
        beta=config.beta_norm,
        max_length=None,
        precompute_ref_log_probs=False,
        per_device_train_batch_size=config.batch_pairs,
        num_train_epochs=config.n_epochs,
    )


def build_trainer(
    model: FlatAudioLM,
    preferences: Sequence[Preference],
    config: DpoConfig,
    *,
    folder: Path,
    mean_codes: float,
    device: str = "cpu",
) -> PairTrainer:
    """Returns a DPO trainer of a new adapter on a model, for preferences in order."""
    trainer = PairTrainer(
        config=config,
        mean_codes=mean_codes,
        model=model,
        args=trainer_arguments(config, folder, device),
        data_collator=PreferenceCollator(
            model.vocabulary,
            preferences,
            model.core.frame_rate_hz,
            soft_labels=config.soft_labels,
            reads_ties=config.loss.reads_ties,
        ),
        train_dataset=row_dataset(len(preferences)),
        processing_class=structural_tokenizer(model.vocabulary),
        peft_config=lora_config(config),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def rows_to_learn(material: Material, stop: StopSwitch) -> Sequence[Preference]:
    """Returns the pairs that are trained on: the rated ones, or what a reward model makes of them.

    RunFolderError where the settings and the reward model do not go together.
    """
    run, config = material.run, material.run.config
    assert isinstance(config, DpoConfig)
    if run.reward_model is None:
        return material.train
    if config.loss.reads_ties:
        raise RunFolderError(
            f"{config.loss.value} learns from ties, and a reward model names none; "
            "take another loss or leave the reward model out"
        )
    reward = model_reward(run.reward_model, run.base, 0.0, material.device)
    if not config.n_drawn:
        return label_by_reward(material.train, reward, is_soft=config.soft_reward_labels)
    drawn = draw_clips(
        material.train,
        Rollouts(material.model.core, interrupt=stop.raise_if_requested),
        usual_sampling(run.base),
        n_drawn=config.n_drawn,
        folder=run.path / DRAWN_FOLDER,
        seed=config.seed,
    )
    return label_by_reward(material.train, reward, drawn, is_soft=config.soft_reward_labels)


def train_dpo(run: RunFolder, *, stop: StopSwitch, device: str) -> dict[str, Any]:
    """Trains a run by direct preference optimisation and returns its summary."""

    def build(material: Material) -> PairTrainer:
        assert isinstance(run.config, DpoConfig)
        return build_trainer(
            material.model,
            rows_to_learn(material, stop),
            run.config,
            folder=material.checkpoints,
            mean_codes=material.mean_codes,
            device=material.device,
        )

    return train_adapter(run, build, stop=stop, device=device)
