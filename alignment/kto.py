"""Kahneman-Tversky optimisation: clips that are good or bad, each on its own.

Ethayarajh et al. 2024, eq. 7, arXiv:2402.01306, by TRL's trainer. It needs no pair: a clip that
was preferred is desirable, one that was not is undesirable, and both clips of a pair that raters
found bad are undesirable. Clips that never had a partner may be among them. The stock loss is
about sums over codes; clips are scaled to a common number of codes, so that long and short ones
count alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PrinterCallback
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from alignment.arguments import lora_config, shared_arguments
from alignment.collation import ROW, ClipRows, clip_dataset, structural_tokenizer
from alignment.config import KtoConfig
from alignment.errors import RunFolderError
from alignment.outcomes import Outcome
from alignment.passes import divergence, figures, log_figures, recorded_passes
from alignment.runs import LabelledClip, Preference, RunFolder
from alignment.stopping import StopSwitch
from alignment.training import Material, train_adapter

POLICY_PASS, PARENT_PASS = 1, 3
"""Among the four passes of a step; the others are those of mismatched prompts and clips."""


def rated_clips(rows: Sequence[Preference]) -> list[LabelledClip]:
    """Returns the clips of rows, chosen first; ties say of neither clip whether it is good."""
    clips: list[LabelledClip] = []
    for row in rows:
        match row.outcome:
            case Outcome.CHOSEN:
                clips.append(LabelledClip(row.header, row.chosen, True, row.weight))
                clips.append(LabelledClip(row.header, row.rejected, False, row.weight))
            case Outcome.BOTH_BAD:
                clips.append(LabelledClip(row.header, row.chosen, False, row.weight))
                clips.append(LabelledClip(row.header, row.rejected, False, row.weight))
            case Outcome.TIE:
                continue
            case _:
                assert_never(row.outcome)
    return clips


class RatedClipCollator:
    """Makes the batch a KTO trainer reads: clips, and the same clips after other prompts.

    The mismatched pairs estimate how far the policy has moved: each prompt of the batch is
    followed by the clip of the one before it.
    """

    def __init__(self, rows: ClipRows, clips: Sequence[LabelledClip], mean_codes: float) -> None:
        self.rows = rows
        self.clips = clips
        self._mean_codes = mean_codes
        self._mean_weight = float(np.mean([clip.weight for clip in clips]))

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        clips = [self.clips[example[ROW]] for example in examples]
        headers, files = [clip.header for clip in clips], [clip.codes for clip in clips]
        mismatched = self.rows.batch(headers, [files[-1], *files[:-1]])
        return {
            **self.rows.batch(headers, files),
            **{f"KL_{name}": value for name, value in mismatched.items()},
            "label": torch.tensor([clip.is_desirable for clip in clips]),
            "weights": torch.tensor([clip.weight for clip in clips]) / self._mean_weight,
            "codes_per_row": torch.full((len(clips),), self._mean_codes),
        }


class ClipTrainer(KTOTrainer):
    """TRL's KTO trainer, which also logs the figures every method has."""

    def __init__(self, *, mean_codes: float, **arguments: Any) -> None:
        self._mean_codes = mean_codes
        super().__init__(**arguments)

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """Returns the stock loss."""
        with recorded_passes(self) as passes:
            returned = super()._compute_loss(model, inputs, return_outputs)
        policy, parent = passes[POLICY_PASS], passes[PARENT_PASS]
        mask = inputs["completion_mask"][:, 1:]
        scale = mask.sum(1, keepdim=True) / self._mean_codes  # back to single codes
        means = policy.detach().sum(1) / self._mean_codes
        ratios = means - parent.sum(1) / self._mean_codes
        is_good = inputs["label"]
        wins = (ratios > 0).float() + 0.5 * (ratios == 0).float()
        nothing = torch.full_like(means, torch.nan)
        log_figures(
            self,
            accuracy=torch.where(is_good, wins, 1 - wins),
            chosen_logp=torch.where(is_good, means, nothing),
            rejected_logp=torch.where(is_good, nothing, means),
            kl=divergence(policy * scale, parent * scale, mask),
            chosen_ratio=torch.where(is_good, ratios, nothing),
            rejected_ratio=torch.where(is_good, nothing, ratios),
        )
        return returned


def read_figures(logs: Mapping[str, float]) -> dict[str, float]:
    """Returns the figures of a logged step; the margin is that of good clips over bad ones."""
    found = figures(logs)
    chosen, rejected = found.pop("chosen_ratio", None), found.pop("rejected_ratio", None)
    if chosen is not None and rejected is not None:
        found["margin"] = chosen - rejected
    return found


def trainer_arguments(
    config: KtoConfig, clips: Sequence[LabelledClip], folder: Path, mean_codes: float, device: str
) -> KTOConfig:
    """Returns the arguments of the stock trainer; every length limit is off.

    Bad clips count as much as good ones in total, before the settings' own weights.
    """
    n_good = sum(clip.is_desirable for clip in clips)
    n_bad = len(clips) - n_good
    balance = n_good / n_bad if n_good and n_bad else 1.0
    return KTOConfig(
        **shared_arguments(config, folder, device),
        loss_type="kto",
        beta=config.beta_norm / mean_codes,
        desirable_weight=config.desirable_weight,
        undesirable_weight=config.undesirable_weight * balance,
        max_length=None,
        precompute_ref_log_probs=False,
        per_device_train_batch_size=config.batch_clips,
        num_train_epochs=config.n_epochs,
    )


def build_trainer(material: Material) -> ClipTrainer:
    """Returns a KTO trainer of a new adapter; the clips are in one random order."""
    config = material.config
    assert isinstance(config, KtoConfig)
    clips = [*rated_clips(material.train), *material.clips]
    if not clips:
        raise RunFolderError("KTO needs a clip that was preferred or found bad, got only ties")
    order = np.random.default_rng(config.seed).permutation(len(clips))
    clips = [clips[place] for place in order]
    model = material.model
    trainer = ClipTrainer(
        mean_codes=material.mean_codes,
        model=model,
        args=trainer_arguments(
            config, clips, material.checkpoints, material.mean_codes, material.device
        ),
        data_collator=RatedClipCollator(
            ClipRows(model.vocabulary, model.core.frame_rate_hz), clips, material.mean_codes
        ),
        train_dataset=clip_dataset(len(clips), [clip.is_desirable for clip in clips]),
        processing_class=structural_tokenizer(model.vocabulary),
        peft_config=lora_config(config),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def train_kto(run: RunFolder, *, stop: StopSwitch, device: str) -> dict[str, Any]:
    """Trains a run by Kahneman-Tversky optimisation and returns its summary."""
    return train_adapter(run, build_trainer, stop=stop, device=device, read=read_figures)
