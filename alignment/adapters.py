"""Adapter checkpoints: a trained policy's LoRA weights as a folder the generator can merge."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
from peft import LoraConfig, PeftModel

from alignment.errors import AlignmentError
from generator.checkpoints import Card, write_card
from generator.files import write_tensors

WEIGHTS_FILE = "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
FACE_PREFIX = f"{PEFT_PREFIX}core."


def save_adapter(policy: PeftModel, folder: Path) -> None:
    """Writes a policy's adapter with keys relative to the core, not to its face."""
    weights = {}
    for name, tensor in peft.get_peft_model_state_dict(policy).items():
        if not name.startswith(FACE_PREFIX):
            raise AlignmentError(f"the adapter has weights outside the core: {name}")
        weights[PEFT_PREFIX + name.removeprefix(FACE_PREFIX)] = tensor
    config = copy.deepcopy(policy.peft_config["default"])
    assert isinstance(config, LoraConfig)
    config.task_type = None
    config.inference_mode = True
    config.base_model_name_or_path = None
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(folder))
    write_tensors(folder / WEIGHTS_FILE, weights)


def publish_adapter(
    policy: PeftModel,
    folder: Path,
    *,
    partial: Path,
    name: str,
    parent: Card,
    parent_hash: str,
    recipe: Mapping[str, Any],
    metrics: Mapping[str, Any],
) -> Card:
    """Writes the adapter checkpoint of a parent; it is in `folder` whole or not at all."""
    if partial.exists():
        shutil.rmtree(partial)
    save_adapter(policy, partial)
    card = write_card(
        partial,
        name=name,
        kind="adapter",
        licence=parent.licence,
        family=parent.family,
        parent=parent.name,
        parent_hash=parent_hash,
        recipe=recipe,
        metrics=metrics,
    )
    partial.rename(folder)
    return card
