"""The unseen judge: measures the policy every few steps, keeps the best and ends a run that turns.

A policy that is trained for long enough finds what its reward model overrates; another reward
model, which it never learns from, sees it turn (Gao et al. 2022, arXiv:2210.10760).
"""

# ruff: noqa: ARG002 - the trainer gives every event the same arguments

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import peft
from peft import PeftModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignment.errors import RunFolderError
from alignment.progress import ProgressWriter
from alignment.ranks import Ranks
from alignment.rl.config import RlConfig
from alignment.rl.held_out import SELECTION, HeldOutClips, HeldOutPrompts
from generator.files import read_tensors, write_atomically, write_tensors

JUDGED_FOLDER = "judged"
ENTRIES_FILE = "judged.jsonl"
WEIGHTS_FILE = "adapter.safetensors"


@dataclass(frozen=True)
class Judged:
    """What one measurement found, as means over clips."""

    step: int
    """0 is the parent."""
    judge: float
    reward: float
    diversity: float
    n_clips: int

    @classmethod
    def of(cls, step: int, found: HeldOutClips) -> Judged:
        """Returns the entry of clips of a step."""
        return cls(
            step=step,
            judge=float(found.judgements.mean()),
            reward=float(found.rewards.mean()),
            diversity=found.diversity,
            n_clips=len(found.clips),
        )


def best_step(entries: Sequence[Judged]) -> int:
    """Returns the trained step that the judge liked best, the first of several."""
    trained = [entry for entry in entries if entry.step > 0]
    if not trained:
        raise RunFolderError(f"no trained step was judged, {len(entries)} measurements in all")
    return max(trained, key=lambda entry: (entry.judge, -entry.step)).step


def has_turned(entries: Sequence[Judged], patience: int) -> bool:
    """Returns whether the last `patience` measurements brought no new best; the parent counts."""
    if len(entries) <= patience:
        return False
    earlier = max(entry.judge for entry in entries[:-patience])
    return max(entry.judge for entry in entries[-patience:]) <= earlier


class Judge(TrainerCallback):
    """Measures at every judge_steps and at the end, and keeps the best adapter on disk.

    A measured step is also saved, so that a resumed run knows all measurements up to its step.
    """

    def __init__(
        self,
        held_out: HeldOutPrompts,
        policy: PeftModel,
        config: RlConfig,
        *,
        folder: Path,
        progress: ProgressWriter,
        ranks: Ranks,
    ) -> None:
        self.held_out = held_out
        self.policy = policy
        self.config = config
        self.folder = folder
        self.progress = progress
        self.ranks = ranks
        self.entries: list[Judged] = []

    def read(self, step: int) -> None:
        """Takes over the measurements up to a step and forgets later ones."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / ENTRIES_FILE
        lines = path.read_text().splitlines() if path.is_file() else []
        stored = [Judged(**json.loads(line)) for line in lines]
        self.entries = [entry for entry in stored if entry.step <= step]
        self._write()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Measures the parent, or makes up for a measurement that a stop prevented."""
        self._measure_if_due(state, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Measures where it is time to."""
        self._measure_if_due(state, control)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Removes adapters that are not the best: what is left belongs to a saved step."""
        if not self.ranks.is_first or all(entry.step == 0 for entry in self.entries):
            return
        kept = self._place(best_step(self.entries))
        for place in self.folder.glob("step-*"):
            if place != kept:
                shutil.rmtree(place)

    def load_best(self) -> int:
        """Gives the policy the weights of the best step and returns that step."""
        step = best_step(self.entries)
        weights = read_tensors(self._place(step) / WEIGHTS_FILE)
        device = next(self.policy.parameters()).device
        peft.set_peft_model_state_dict(
            self.policy, {name: weight.to(device) for name, weight in weights.items()}
        )
        return step

    @property
    def is_over(self) -> bool:
        """Whether the judge has turned."""
        return has_turned(self.entries, self.config.judge_patience)

    def _measure_if_due(self, state: TrainerState, control: TrainerControl) -> None:
        """Measures in the first process; all of them save and stop alike."""
        step = state.global_step
        if step % self.config.judge_steps and step != state.max_steps:
            return
        if self.ranks.is_first and all(entry.step != step for entry in self.entries):
            self._measure(state)
        control.should_save = control.should_save or step > 0
        if self.ranks.agree(self.is_over):
            control.should_training_stop = True

    def _measure(self, state: TrainerState) -> None:
        step = state.global_step
        if step > 0:
            place = self._place(step)
            place.mkdir(exist_ok=True)
            write_tensors(place / WEIGHTS_FILE, peft.get_peft_model_state_dict(self.policy))
        self.held_out.rollouts.follow(self.policy)
        found = self.held_out.measure(self.config.held_out_clips, SELECTION)
        entry = Judged.of(step, found)
        self.entries.append(entry)
        self._write()
        self.progress.write(
            state,
            {
                "judge_reward": entry.judge,
                "held_out_reward": entry.reward,
                "held_out_clips": entry.n_clips,
                "diversity": entry.diversity,
            },
        )

    def _place(self, step: int) -> Path:
        return self.folder / f"step-{step}"

    def _write(self) -> None:
        lines = "".join(json.dumps(asdict(entry)) + "\n" for entry in self.entries)
        write_atomically(self.folder / ENTRIES_FILE, lines.encode())
