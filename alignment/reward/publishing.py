"""The checkpoint of a fitted reward model: what it scores with, and what it is worth."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alignment.reward.agreement import self_agreement
from alignment.reward.material import Material
from alignment.reward.model import HEADS_FILE, KIND, REWARD_FILE, RewardModel, save_reward
from alignment.reward.report import Measured, draw_calibration, measure
from alignment.reward.splits import resampled_unit
from alignment.runs import PARTIAL_FOLDER, Preference
from generator.checkpoints import ENCODER_FILES, write_card
from generator.files import write_json

PICTURE_FILE, REPORT_FILE = "calibration.png", "report.json"
MEMBERS_STREAM = 2


@dataclass(frozen=True)
class Chosen:
    """What cross-validation on the training pairs decided."""

    penalty: float
    temperature: float
    measured: Measured | None
    """On training pairs, each by heads that never saw its prompt."""


def publish(material: Material, model: RewardModel, chosen: Chosen, began_at: float) -> None:
    """Measures the ensemble and writes its checkpoint, whole or not at all."""
    run, config, split = material.run, material.config, material.split
    agreement = self_agreement(config, (*split.train, *split.held_out))
    disjoint = _measured(material, model, split.disjoint)
    held_out = _measured(material, model, split.held_out)
    report = {
        "disjoint": disjoint and disjoint.to_json(),
        "held_out": held_out and held_out.to_json(),
        "cross_validated": chosen.measured and chosen.measured.to_json(),
        "self_agreement": agreement.to_json(),
    }
    settled = {
        "penalty": chosen.penalty,
        "temperature": chosen.temperature,
        "resampled": resampled_unit(split.train).value,
        "seeds": [[config.seed, MEMBERS_STREAM, n] for n in range(config.n_members)],
    }
    partial = run.path / PARTIAL_FOLDER
    if partial.exists():
        shutil.rmtree(partial)
    save_reward(model, partial, {**settled, **material.sources, "config": config.to_mapping()})
    write_json(partial / REPORT_FILE, report)
    files = [REWARD_FILE, HEADS_FILE, *ENCODER_FILES, REPORT_FILE]
    shown = disjoint or held_out or chosen.measured
    if shown is not None:
        draw_calibration(partial / PICTURE_FILE, shown, agreement)
        files.append(PICTURE_FILE)
    write_card(
        partial,
        name=run.name,
        kind=KIND,
        licence=material.licence,
        files=files,
        recipe={
            "method": run.method,
            "config": config.to_mapping(),
            "dataset_sha256": run.dataset_sha256,
            **settled,
            **material.sources,
        },
        metrics={
            "n_train": len(split.train),
            "n_held_out": len(split.held_out),
            "n_disjoint": len(split.disjoint),
            "n_both_bad": split.n_both_bad,
            "n_prompts_shared": split.n_prompts_shared,
            "n_raters_shared": split.n_raters_shared,
            "n_raters_unknown": split.n_raters_unknown,
            "held_out": _brief(disjoint or held_out),
            "cross_validated": _brief(chosen.measured),
            "self_agreement": agreement.to_json(),
            "n_steps": config.n_members,
            "wall_s": round(time.monotonic() - began_at, 1),
        },
    )
    partial.rename(run.result)


def _measured(
    material: Material, model: RewardModel, rows: Sequence[Preference]
) -> Measured | None:
    if not rows:
        return None
    chosen, rejected = (
        model.score_features(material.values[[material.places[path] for path in paths]]).mean
        for paths in ([row.chosen for row in rows], [row.rejected for row in rows])
    )
    return measure(
        chosen - rejected,
        material.counts(rows),
        model.heads,
        material.config.tie_model,
        model.temperature,
    )


def _brief(measured: Measured | None) -> dict[str, Any] | None:
    """Returns the figures without the bins, which stand in the report."""
    if measured is None:
        return None
    return {name: value for name, value in measured.to_json().items() if name != "bins"}
