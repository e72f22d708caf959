"""Run folders of random clips: how long a training takes does not depend on what they play."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignment.runs import RUN_FILE, SUMMARY_FILE
from generator.families import load_parts
from tests.unit.alignment.planted import random_headers


def children_cpu_s() -> float:
    """Returns the processor time of all programs that this one started and that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Trained:
    """What a training took."""

    wall_s: float
    """From the start of the program to its end."""
    cpu_s: float
    """Processor time of the program and its children."""
    summary: dict[str, Any]


def train_on_random_pairs(
    folder: Path,
    base: Path,
    *,
    n_pairs: int,
    duration_s: float,
    config: Mapping[str, Any],
    n_threads: int = 1,
) -> Trained:
    """Returns what `python -m alignment dpo` took for random pairs of a full checkpoint."""
    core = load_parts(base).core
    n_frames = round(duration_s * core.frame_rate_hz)
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows = []
    for number, header in enumerate(random_headers(n_pairs, seed=0).tolist()):
        files = [f"{number}-{side}.npy" for side in "ab"]
        for name in files:
            shape = (core.n_codebooks, n_frames)
            np.save(folder / name, rng.integers(core.codebook_size, size=shape, dtype=np.int16))
        row = {"pair": str(number), "header": header, "chosen": files[0], "rejected": files[1]}
        rows.append(json.dumps({**row, "split": "train"}))
    (folder / "preferences.jsonl").write_text("\n".join(rows))
    described = {
        "name": folder.name,
        "method": "dpo",
        "base": str(base.resolve()),
        "preferences": "preferences.jsonl",
        "codes_root": ".",
        "config": dict(config),
    }
    (folder / RUN_FILE).write_text(json.dumps(described))
    command = [sys.executable, "-m", "alignment", "dpo", str(folder), "--threads", str(n_threads)]
    began_at, cpu_before_s = time.monotonic(), children_cpu_s()
    subprocess.run(command, check=True, capture_output=True)
    wall_s = time.monotonic() - began_at
    cpu_s = children_cpu_s() - cpu_before_s
    return Trained(wall_s, cpu_s, json.loads((folder / SUMMARY_FILE).read_text()))
