"""What a run tells while it trains, and which of its checkpoints are whole."""

# ruff: noqa: ARG002 - the trainer gives every event the same arguments

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignment.memory import peak_memory_mb
from alignment.passes import figures
from alignment.ranks import Ranks
from alignment.scoring import Agreement
from alignment.stopping import StopSwitch
from alignment.trackers import Tracker

COMPLETE_FILE = "complete"
CHECKPOINT_PREFIX = "checkpoint-"
OF_EVERY_TRAINER = ("loss", "grad_norm", "learning_rate")

ReadFigures = Callable[[Mapping[str, float]], dict[str, float]]
MakeSamples = Callable[[int], list[str]]


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Appends one JSON line that readers see as soon as it is written."""
    with path.open("a") as file:
        file.write(json.dumps(values) + "\n")


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the last checkpoint that was saved whole; half-saved ones are removed."""
    complete = []
    for place in folder.glob(f"{CHECKPOINT_PREFIX}*"):
        if (place / COMPLETE_FILE).is_file():
            complete.append(place)
        else:
            shutil.rmtree(place, ignore_errors=True)  # another rank may remove it too
    return max(complete, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """Returns the step after which a checkpoint was saved."""
    return int(checkpoint.name.removeprefix(CHECKPOINT_PREFIX))


def mark_whole(checkpoint: Path) -> None:
    """Marks a checkpoint as whole, once all of it has reached the disk.

    Without that order a machine that loses its power could keep the mark and lose the weights.
    """
    for place in sorted(checkpoint.rglob("*"), reverse=True):
        _reach_disk(place)  # what is in a folder before the folder
    _reach_disk(checkpoint)
    mark = checkpoint / COMPLETE_FILE
    mark.touch()
    for place in (mark, checkpoint, checkpoint.parent):
        _reach_disk(place)


def _reach_disk(place: Path) -> None:
    """Waits until the disk has a file, or the names in a folder."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def earlier_wall_s(progress: Path) -> float:
    """Returns how long the earlier attempts of a run took, as far as they told; 0 without any."""
    try:
        lines = progress.read_text().splitlines()
    except FileNotFoundError:
        return 0.0
    told = []
    for line in lines:
        try:
            told.append(float(json.loads(line)["wall_s"]))
        except (ValueError, KeyError, TypeError):
            continue  # a line without it, or one that a killed attempt left half-written
    return max(told, default=0.0)


class ProgressWriter(TrainerCallback):
    """Writes a line a logged step and one a held-out measurement, and stops when asked to.

    A step may be written twice when a run is resumed; the later line holds. With several ranks
    the first one writes, and its being asked to stop stops all of them after the same step.
    """

    def __init__(
        self,
        path: Path,
        *,
        stop: StopSwitch,
        measure: Callable[[], Agreement] | None = None,
        read: ReadFigures = figures,
        device: str = "cpu",
        began_at: float | None = None,
        ranks: Ranks | None = None,
        trackers: Sequence[Tracker] = (),
        sample: MakeSamples | None = None,
        sample_steps: int = 0,
    ) -> None:
        """read: the figures among what the trainer logs; sample: makes clips of a step.

        began_at: on the monotonic clock, less what earlier attempts took; now where not given.
        """
        self.path = path
        self.stop = stop
        self.measure = measure
        self.agreement: Agreement | None = None
        self._read = read
        self._device = device
        self._ranks = ranks or Ranks.of_environment()
        self._trackers = trackers
        self._sample = sample
        self._sample_steps = sample_steps
        self._run_began_at = time.monotonic() if began_at is None else began_at
        self._began_at = 0.0
        self._first_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Notes where this process began, for the time that remains; samples the parent."""
        self._began_at = time.monotonic()
        self._first_step = state.global_step
        if state.global_step == 0:
            self._write_samples(state)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Writes what the trainer logged; log-probabilities and margin are means per code."""
        if logs is None or "loss" not in logs:
            return
        now = time.monotonic()
        elapsed_s = now - self._began_at
        done = max(state.global_step - self._first_step, 1)
        self.write(
            state,
            {
                **{name: logs[name] for name in OF_EVERY_TRAINER if name in logs},
                **self._read(logs),
                "memory_mb": peak_memory_mb(self._device),
                "eta_s": round(elapsed_s / done * (state.max_steps - state.global_step), 1),
                "wall_s": round(now - self._run_began_at, 1),
            },
        )

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Writes how the policy agrees with held-out preferences."""
        if self.measure is None or self.stop.requested or not self._ranks.is_first:
            return
        self.agreement = self.measure()
        self.write(
            state,
            {
                "held_out_accuracy": self.agreement.accuracy,
                "held_out_n": self.agreement.n,
                "held_out_chosen_nll": self.agreement.chosen_nll,
                "held_out_nll_increase": self.agreement.nll_increase,
            },
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Samples clips when it is time, and has the trainer save and stop when a signal came."""
        is_last = state.global_step >= state.max_steps
        if self._ranks.agree(self.stop.requested) and not is_last:
            control.should_save = True
            control.should_training_stop = True
        elif self._sample_steps and (is_last or state.global_step % self._sample_steps == 0):
            self._write_samples(state)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Marks the checkpoint as whole, once every rank has written its part of it."""
        assert args.output_dir is not None
        self._ranks.wait()
        if self._ranks.is_first:
            mark_whole(Path(args.output_dir) / f"{CHECKPOINT_PREFIX}{state.global_step}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Closes the trackers."""
        for tracker in self._trackers:
            tracker.close()

    def write(self, state: TrainerState, values: Mapping[str, Any]) -> None:
        """Appends a line about the trainer's step and tells the trackers; first rank only.

        A number that is not finite becomes null, which JSON has a word for.
        """
        if not self._ranks.is_first:
            return
        told = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }
        append_line(self.path, {"step": state.global_step, "n_steps": state.max_steps, **told})
        for tracker in self._trackers:
            tracker.log(
                state.global_step,
                {name: float(v) for name, v in told.items() if isinstance(v, int | float)},
            )

    def _write_samples(self, state: TrainerState) -> None:
        if self._sample is None or not self._sample_steps or not self._ranks.is_first:
            return
        self.write(state, {"samples": self._sample(state.global_step)})
