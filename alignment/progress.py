"""What a run tells while it trains, and which of its checkpoints are whole."""

# ruff: noqa: ARG002 - the trainer gives every event the same arguments

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignment.scoring import Agreement
from alignment.stopping import StopSwitch

COMPLETE_FILE = "complete"
CHECKPOINT_PREFIX = "checkpoint-"


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
            shutil.rmtree(place)
    return max(complete, key=_step_of, default=None)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(CHECKPOINT_PREFIX))


class ProgressWriter(TrainerCallback):
    """Writes a line a logged step and one a held-out measurement, and stops when asked to.

    A step may be written twice when a run is resumed; the later line holds.
    """

    def __init__(
        self,
        path: Path,
        *,
        stop: StopSwitch,
        codes_per_clip: float,
        measure: Callable[[], Agreement] | None,
    ) -> None:
        self.path = path
        self.stop = stop
        self.codes_per_clip = codes_per_clip
        self.measure = measure
        self.agreement: Agreement | None = None
        self._began_at = 0.0
        self._first_step = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Notes where this process began, for the time that remains."""
        self._began_at = time.monotonic()
        self._first_step = state.global_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Writes what the trainer logged; log-probabilities and margin are means per code.

        Where policy and parent are the same the margin is 0 and the accuracy that of a coin.
        """
        if logs is None or "rewards/margins" not in logs:
            return
        margin = logs["rewards/margins"] / self.codes_per_clip
        elapsed_s = time.monotonic() - self._began_at
        done = max(state.global_step - self._first_step, 1)
        append_line(
            self.path,
            {
                "step": state.global_step,
                "n_steps": state.max_steps,
                "loss": logs["loss"],
                "margin": margin,
                "accuracy": logs["rewards/accuracies"] if margin else 0.5,
                "chosen_logp": logs["logps/chosen"] / self.codes_per_clip,
                "rejected_logp": logs["logps/rejected"] / self.codes_per_clip,
                "grad_norm": logs.get("grad_norm"),
                "learning_rate": logs.get("learning_rate"),
                "eta_s": round(elapsed_s / done * (state.max_steps - state.global_step), 1),
            },
        )

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Writes how the policy agrees with held-out preferences."""
        if self.measure is None or self.stop.requested:
            return
        self.agreement = self.measure()
        append_line(
            self.path,
            {
                "step": state.global_step,
                "n_steps": state.max_steps,
                "held_out_accuracy": self.agreement.accuracy,
                "held_out_n": self.agreement.n,
                "held_out_chosen_nll": self.agreement.chosen_nll,
            },
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Has the trainer save and stop after this step when a signal came."""
        if self.stop.requested and state.global_step < state.max_steps:
            control.should_save = True
            control.should_training_stop = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Marks the checkpoint as whole."""
        assert args.output_dir is not None
        place = Path(args.output_dir) / f"{CHECKPOINT_PREFIX}{state.global_step}"
        (place / COMPLETE_FILE).touch()
