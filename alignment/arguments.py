"""What every trainer of an adapter is told, whatever its loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_never

import torch
from peft import LoraConfig

from alignment.config import Precision, TrainingConfig
from alignment.ranks import Ranks

KEPT_CHECKPOINTS = 2


def lora_config(config: TrainingConfig) -> LoraConfig:
    """Returns the adapter's configuration."""
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules=list(config.lora_targets),
        bias="none",
    )


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


def _between_ranks(device: str) -> dict[str, Any]:
    if Ranks.of_environment().n_ranks == 1:
        return {}
    backend = "gloo" if device == "cpu" else "nccl"
    return {"ddp_backend": backend, "ddp_find_unused_parameters": False}


def shared_arguments(config: TrainingConfig, folder: Path, device: str) -> dict[str, Any]:
    """Returns the arguments that all stock trainers have; loss, length and batch are their own."""
    return {
        "output_dir": str(folder),
        "remove_unused_columns": False,
        "gradient_accumulation_steps": config.accumulation_steps,
        "gradient_checkpointing": config.gradient_checkpointing,
        "bf16": uses_bfloat16(config.precision, device),
        "use_cpu": device == "cpu",
        **_between_ranks(device),
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": config.warmup_share,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "seed": config.seed,
        "data_seed": config.seed,
        "logging_steps": config.logging_steps,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "save_total_limit": KEPT_CHECKPOINTS,
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": device != "cpu",
    }
