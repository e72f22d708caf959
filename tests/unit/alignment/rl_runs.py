"""Prompts, a planted taste and run folders for tests of learning from a reward."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignment.rl.prompts import PromptRow
from alignment.rl.rewards import Codes
from alignment.runs import Split
from generator.checkpoints import content_hash
from tests.unit.alignment.planted import FEW_CODES, random_headers

DURATION_S = 1.0


def lowness(codes: Sequence[Codes]) -> NDArray[np.float64]:
    """Returns the share of codes of the first codebook in its lower half, [N]."""
    return np.array([(clip[0] < FEW_CODES // 2).mean() for clip in codes])


def highness(codes: Sequence[Codes]) -> NDArray[np.float64]:
    """Returns the share of codes of the first codebook in its upper half, [N]."""
    return 1.0 - lowness(codes)


def prompt_rows(
    n_train: int, n_held_out: int = 0, duration_s: float = DURATION_S
) -> list[PromptRow]:
    """Returns prompts with random headers; the last ones are held out."""
    headers = random_headers(n_train + n_held_out, seed=0).tolist()
    return [
        PromptRow(
            prompt=f"prompt {number}",
            header=tuple(header),
            duration_s=duration_s,
            split=Split.TRAIN if number < n_train else Split.HELD_OUT,
        )
        for number, header in enumerate(headers)
    ]


def write_rl_run(
    folder: Path,
    *,
    base: Path,
    rows: Sequence[PromptRow],
    config: Mapping[str, Any],
    method: str = "grpo",
    reward_model: Path | None = None,
    judge_model: Path | None = None,
) -> Path:
    """Writes the folder of a run against a reward model; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(
            {
                "prompt": row.prompt,
                "header": list(row.header),
                "duration_s": row.duration_s,
                "split": row.split.value,
            }
        )
        for row in rows
    ]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "preferences.jsonl").write_text("")
    run = {
        "base": str(base),
        "preferences": "preferences.jsonl",
        "codes_root": ".",
        "prompts": "prompts.jsonl",
        "reward_model": str(reward_model or base),
        "method": method,
        "config": dict(config),
        "name": "tiny-rl",
        "parent": "small",
        "parent_hash": content_hash(base),
    }
    if judge_model is not None:
        run["judge_model"] = str(judge_model)
    (folder / "run.json").write_text(json.dumps(run))
    return folder
