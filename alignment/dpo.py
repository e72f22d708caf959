"""Direct preference optimisation: the stock trainer, its arguments and its loss.

Rafailov et al. 2023, eq. 7, arXiv:2305.18290, with log-ratios averaged over a clip's codes and a
small likelihood term on the chosen clip. The trainer is TRL's own. The reference model is the
policy with its adapter switched off, so that both see the same batch and the margin of the first
step is exactly 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import datasets
import torch
from peft import LoraConfig
from transformers import PrinterCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from alignment.collation import PreferenceCollator, row_dataset, structural_tokenizer
from alignment.config import DpoConfig, Precision
from alignment.errors import RunFolderError
from alignment.face import FlatAudioLM
from alignment.runs import Preference

KEPT_CHECKPOINTS = 2


@dataclass(frozen=True)
class Lengths:
    """How many codes the training clips have."""

    mean_codes: float
    is_uniform: bool

    @classmethod
    def of(cls, n_frames: Sequence[int], n_codebooks: int) -> Lengths:
        """Returns the lengths of clips with these numbers of frames."""
        mean_codes = n_codebooks * sum(n_frames) / len(n_frames)
        return cls(mean_codes=mean_codes, is_uniform=len(set(n_frames)) == 1)


def lora_config(config: DpoConfig) -> LoraConfig:
    """Returns the adapter's configuration."""
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules=list(config.lora_targets),
        bias="none",
    )


def loss_arguments(config: DpoConfig, lengths: Lengths) -> dict[str, Any]:
    """Returns the trainer's loss, its weights and beta.

    Stock robust DPO works on sums of log-ratios. With clips of one length a mean is a sum by
    another beta; with several lengths it is not, and that is refused.
    """
    weights = [1.0, config.sft_weight]
    if config.label_smoothing == 0.0:
        return {
            "loss_type": ["sigmoid_norm", "sft"],
            "loss_weights": weights,
            "beta": config.beta_norm,
        }
    if not lengths.is_uniform:
        raise RunFolderError(
            f"label_smoothing {config.label_smoothing} needs clips of one length, "
            "the preferences have several; set it to 0"
        )
    return {
        "loss_type": ["robust", "sft"],
        "loss_weights": weights,
        "beta": config.beta_norm / lengths.mean_codes,
        "label_smoothing": config.label_smoothing,
    }


def uses_bfloat16(precision: Precision, device: str) -> bool:
    """Returns whether matrix products are to be computed in bfloat16 on a device.

    A processor without instructions for it computes it too, but slower than float32.
    """
    match precision:
        case Precision.FLOAT32:
            return False
        case Precision.BFLOAT16:
            return True
        case Precision.AUTO if device == "cpu":
            able = torch.cpu.get_capabilities()
            return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
        case Precision.AUTO:
            return torch.cuda.is_bf16_supported(including_emulation=False)
        case _:
            assert_never(precision)


def trainer_arguments(config: DpoConfig, folder: Path, lengths: Lengths, device: str) -> DPOConfig:
    """Returns the arguments of the stock trainer; every length limit is off."""
    return DPOConfig(
        output_dir=str(folder),
        **loss_arguments(config, lengths),
        max_length=None,
        precompute_ref_log_probs=False,
        remove_unused_columns=False,
        gradient_checkpointing=False,
        bf16=uses_bfloat16(config.precision, device),
        use_cpu=device == "cpu",
        per_device_train_batch_size=config.batch_pairs,
        num_train_epochs=config.n_epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_share,
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=config.seed,
        data_seed=config.seed,
        logging_steps=config.logging_steps,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=config.save_steps,
        save_total_limit=KEPT_CHECKPOINTS,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=device != "cpu",
    )


def build_trainer(
    model: FlatAudioLM,
    preferences: Sequence[Preference],
    config: DpoConfig,
    *,
    folder: Path,
    lengths: Lengths,
    device: str = "cpu",
) -> DPOTrainer:
    """Returns a stock DPO trainer of a new adapter on a model, for preferences in order."""
    datasets.disable_progress_bars()
    collator = PreferenceCollator(model.vocabulary, preferences, model.core.frame_rate_hz)
    trainer = DPOTrainer(
        model=model,
        args=trainer_arguments(config, folder, lengths, device),
        data_collator=collator,
        train_dataset=row_dataset(len(preferences)),
        processing_class=structural_tokenizer(model.vocabulary),
        peft_config=lora_config(config),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
