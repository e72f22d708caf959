"""Adapters of one parent, interpolated with weights into a new adapter of that parent.

The mix adds to every projection the weighted sum of what its parts add. A sum of products of
thin matrices is one such product over all their ranks, so that nothing is approximated. Mixing
tunings of one model in weight space: Ramé et al. 2023, eq. 1, arXiv:2306.04488.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from peft import LoraConfig
from torch import Tensor

from alignment.collation import PreferenceCollator
from alignment.errors import ConfigError, RunFolderError
from alignment.face import FlatAudioLM
from alignment.outcomes import Outcome
from alignment.runs import (
    PARTIAL_FOLDER,
    Preference,
    RunFolder,
    Split,
    check_lengths,
    read_preferences,
)
from alignment.scoring import measure_agreement, score_preferences
from alignment.settings import Settings
from alignment.stopping import StopSwitch
from alignment.training import load_parent, published_summary
from generator.checkpoints import (
    ADAPTER_FILES,
    chain_hash,
    merge_adapter,
    read_card,
    verify_folder,
    write_card,
)
from generator.errors import CheckpointError
from generator.files import write_tensors
from generator.lm.adapters import PEFT_PREFIX, WEIGHTS_FILE, Adapter, LowRank, read_adapter
from generator.lm.core import text_lengths

LARGEST_WEIGHT = 2.0


@dataclass(frozen=True, kw_only=True)
class MixConfig(Settings):
    """Which adapters are mixed, by their folders, and how much each counts."""

    adapters: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.adapters) != len(self.weights) or len(self.adapters) < 2:
            raise ConfigError(
                f"a mix has at least 2 adapters and a weight for each, "
                f"got {len(self.adapters)} and {len(self.weights)}"
            )
        for weight in self.weights:
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise ConfigError(f"a weight is a number, got {weight!r}")
            if not (math.isfinite(weight) and abs(weight) <= LARGEST_WEIGHT):
                raise ConfigError(
                    f"a weight is {-LARGEST_WEIGHT:g} to {LARGEST_WEIGHT:g}, got {weight}"
                )
        if not any(self.weights):
            raise ConfigError("all weights are 0: that is the parent itself")

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Self:
        """Returns the settings of a JSON object."""
        if unknown := sorted(set(mapping) - {"adapters", "weights"}):
            raise ConfigError(f"unknown settings {unknown}; allowed are ['adapters', 'weights']")
        return cls(
            adapters=tuple(str(folder) for folder in mapping.get("adapters", [])),
            weights=tuple(mapping.get("weights", [])),
        )


def mix_adapters(parts: Sequence[tuple[Adapter, float]]) -> Adapter:
    """Returns the adapter that adds the weighted sum of what the parts add.

    A part of weight 0 leaves no trace, and one of weight 1 is taken as it is.
    """
    mixed: dict[str, LowRank] = {}
    for adapter, weight in parts:
        if weight == 0:
            continue
        for path, delta in adapter.deltas.items():
            up = delta.up if weight == 1 else delta.up * weight
            before = mixed.get(path)
            mixed[path] = (
                LowRank(delta.down, up)
                if before is None
                else LowRank(
                    torch.cat([before.down, delta.down]), torch.cat([before.up, up], dim=1)
                )
            )
    return Adapter(mixed)


def save_low_rank(adapter: Adapter, folder: Path) -> None:
    """Writes an adapter as a PEFT folder with a scale of 1.

    All pairs of matrices get the rank of the largest, the missing rows and columns being zeros.
    """
    rank = max(len(delta.down) for delta in adapter.deltas.values())
    weights: dict[str, Tensor] = {}
    for path, delta in sorted(adapter.deltas.items()):
        n_missing = rank - len(delta.down)
        name = f"{PEFT_PREFIX}{path}"
        weights[f"{name}.lora_A.weight"] = torch.nn.functional.pad(delta.down, (0, 0, 0, n_missing))
        weights[f"{name}.lora_B.weight"] = torch.nn.functional.pad(delta.up, (0, n_missing))
    folder.mkdir(parents=True, exist_ok=True)
    config = LoraConfig(
        r=rank, lora_alpha=rank, target_modules=sorted(adapter.deltas), inference_mode=True
    )
    config.save_pretrained(str(folder))
    write_tensors(folder / WEIGHTS_FILE, weights)


def train_mix(run: RunFolder, *, stop: StopSwitch, device: str) -> dict[str, Any]:
    """Mixes the adapters of a run, measures the mix and returns the summary.

    May be called again at any time: it takes seconds and starts anew.
    """
    if run.result.is_dir():
        return published_summary(run)
    config = run.config
    assert isinstance(config, MixConfig)
    began_at = time.monotonic()
    core, parent_hash = load_parent(run)
    folders = [run.path / folder for folder in config.adapters]
    partial = run.path / PARTIAL_FOLDER
    if partial.exists():
        shutil.rmtree(partial)
    try:
        for folder in folders:
            _check_parent(folder, {parent_hash, chain_hash(run.chain)})
        kept = [(folder, w) for folder, w in zip(folders, config.weights, strict=True) if w != 0]
        if len(kept) == 1 and kept[0][1] == 1:
            partial.mkdir()
            for name in ADAPTER_FILES:
                shutil.copyfile(kept[0][0] / name, partial / name)
        else:
            save_low_rank(
                mix_adapters([(read_adapter(core, folder), weight) for folder, weight in kept]),
                partial,
            )
    except CheckpointError as exc:
        raise RunFolderError(f"the adapters cannot be mixed: {exc}") from exc
    stop.raise_if_requested()
    held_out = _held_out_rows(run)
    summary = {
        "n_train": 0,
        "n_held_out": len(held_out),
        "held_out": _measure(run, partial, held_out, device) if held_out else None,
        "training": {},
        "n_steps": 0,
        "weights": list(config.weights),
        "wall_s": round(time.monotonic() - began_at, 1),
    }
    stop.raise_if_requested()
    parent = read_card(run.chain[-1])
    write_card(
        partial,
        name=run.name,
        kind="adapter",
        licence=parent.licence,
        family=parent.family,
        parent=parent.name,
        parent_hash=parent_hash,
        recipe={
            "method": run.method,
            "parts": [
                {"name": read_card(folder).name, "weight": weight}
                for folder, weight in zip(folders, config.weights, strict=True)
            ],
            "dataset_sha256": run.dataset_sha256,
        },
        metrics=summary,
    )
    partial.rename(run.result)
    return published_summary(run)


def _check_parent(folder: Path, allowed: set[str]) -> None:
    card = verify_folder(folder)
    if card.kind != "adapter" or card.parent_hash not in allowed:
        raise CheckpointError(
            f"{folder} is {card.kind} on {str(card.parent_hash)[:12]}..., expected an adapter on "
            f"{' or '.join(sorted(one[:12] for one in allowed))}"
        )


def _held_out_rows(run: RunFolder) -> list[Preference]:
    """Returns the preferences that measure: held out, with a clip that was preferred."""
    rows = read_preferences(run, needs_train=False)
    return [row for row in rows if row.split is Split.HELD_OUT and row.outcome is Outcome.CHOSEN]


def _measure(
    run: RunFolder, adapter: Path, rows: Sequence[Preference], device: str
) -> dict[str, float]:
    """Returns how the mix agrees with preferences, beside its parent."""
    core, _ = load_parent(run)
    check_lengths(
        rows,
        n_codebooks=core.n_codebooks,
        codebook_size=core.codebook_size,
        text_lengths=text_lengths(core),
    )
    face = FlatAudioLM(core.to(device))
    collator = PreferenceCollator(face.vocabulary, rows, core.frame_rate_hz)
    before = score_preferences(face, rows, collator)
    mixed = FlatAudioLM(merge_adapter(core, adapter).to(device))
    agreement = measure_agreement(score_preferences(mixed, rows, collator), before)
    return {**asdict(agreement), "nll_increase": agreement.nll_increase}
