"""Clips to listen to while a run trains: the same prompts and seeds, the policy as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

import numpy as np
from peft import PeftModel

from alignment.progress import append_line
from alignment.rl.prompts import PromptRow
from alignment.rl.rollouts import Rollouts
from alignment.runs import Preference, Split, load_codes
from generator.checkpoints import Family
from generator.families import MUSICGEN_SAMPLING, STARTER_SAMPLING, family_of
from generator.lm.sampling import SamplingSettings

SAMPLES_FOLDER = "samples"
SAMPLES_FILE = "samples.jsonl"
FIRST_SEED = 20_000
LONGEST_S = 10.0


def sampled_prompts(rows: Sequence[Preference], n_prompts: int, rate_hz: int) -> list[PromptRow]:
    """Returns the first prompts of rows, held-out ones first, at most LONGEST_S long."""
    found: dict[tuple[int, ...], PromptRow] = {}
    for row in sorted(rows, key=lambda row: row.split is not Split.HELD_OUT):
        if len(found) == n_prompts:
            break
        if row.header not in found:
            duration_s = min(load_codes(row.chosen).shape[1] / rate_hz, LONGEST_S)
            found[row.header] = PromptRow(row.prompt, row.header, duration_s, row.split)
    return list(found.values())


def usual_sampling(base: Path) -> SamplingSettings:
    """Returns how clips of a full checkpoint are drawn where nothing else is asked for."""
    family = family_of(base)
    match family:
        case Family.STARTER:
            return STARTER_SAMPLING
        case Family.MUSICGEN:
            return MUSICGEN_SAMPLING
        case _:
            assert_never(family)


class SampleWriter:
    """Writes the codes of a few clips of the policy into a run's folder."""

    def __init__(
        self,
        folder: Path,
        *,
        rollouts: Rollouts,
        policy: PeftModel,
        prompts: Sequence[PromptRow],
        settings: SamplingSettings,
    ) -> None:
        """rollouts: of the policy's parent."""
        self._folder = folder
        self._rollouts = rollouts
        self._policy = policy
        self._prompts = prompts
        self._settings = settings

    def __call__(self, step: int) -> list[str]:
        """Returns the files of a step's clips, relative to the run's folder.

        A step that comes again writes the same clips; its later lines hold.
        """
        (self._folder / SAMPLES_FOLDER).mkdir(exist_ok=True)
        self._rollouts.follow(self._policy)
        seeds = [FIRST_SEED + place for place in range(len(self._prompts))]
        names = []
        for place, clip in enumerate(self._rollouts.sample(self._prompts, seeds, self._settings)):
            name = f"{SAMPLES_FOLDER}/step-{step}-{place}.npy"
            np.save(self._folder / name, clip.codes)
            append_line(
                self._folder / SAMPLES_FILE,
                {
                    "step": step,
                    "prompt": clip.row.prompt,
                    "header": list(clip.row.header),
                    "seed": clip.seed,
                    "codes": name,
                },
            )
            names.append(name)
        return names
