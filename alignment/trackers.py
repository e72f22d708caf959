"""Where a run's figures go beside its progress file: TensorBoard always, others where set up."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

TENSORBOARD_FOLDER = "tensorboard"
MLFLOW_VARIABLE = "MLFLOW_TRACKING_URI"
WANDB_VARIABLES = ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL")

logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """Something that keeps figures by step."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Keeps the figures of a step; a step may come again when a run is resumed."""
        ...

    def close(self) -> None:
        """Writes what is still held back."""
        ...


class TensorBoard:
    """Event files of TensorBoard."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """first_step: later steps of an earlier process are forgotten, they come again."""
        from torch.utils.tensorboard import SummaryWriter

        purge = first_step + 1 if first_step else None
        self._writer = SummaryWriter(str(folder), purge_step=purge, flush_secs=10)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Adds a scalar for each figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()


class MlFlow:
    """A run of an MLflow server."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self._mlflow = import_module("mlflow")
        self._mlflow.start_run(run_name=name)
        self._mlflow.log_params(dict(config))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Sends the figures."""
        self._mlflow.log_metrics(dict(figures), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._mlflow.end_run()


class WeightsAndBiases:
    """A run of Weights & Biases."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        self._run = import_module("wandb").init(
            name=name, id=name, resume="allow", dir=str(folder), config=dict(config)
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Sends the figures."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


class Remote:
    """A tracker on another machine: what goes wrong there is told once and ends no training."""

    def __init__(self, title: str, opened: Callable[[], Tracker]) -> None:
        """opened: connects, and may fail as well."""
        self._title = title
        self._tracker: Tracker | None = None
        self._try(lambda: self._open(opened))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Sends the figures, unless something has gone wrong before."""
        if (tracker := self._tracker) is not None:
            self._try(lambda: tracker.log(step, figures))

    def close(self) -> None:
        """Ends the run there."""
        if (tracker := self._tracker) is not None:
            self._try(tracker.close)

    def _open(self, opened: Callable[[], Tracker]) -> None:
        self._tracker = opened()

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as exc:  # each library has errors of its own, and those of its transport
            self._tracker = None
            logger.warning("%s gets no more figures: %s: %s", self._title, type(exc).__name__, exc)


def open_trackers(
    folder: Path,
    *,
    name: str,
    config: Mapping[str, Any],
    first_step: int,
    environment: Mapping[str, str] = os.environ,
) -> list[Tracker]:
    """Returns the trackers of a run: TensorBoard, and those installed and set up elsewhere."""
    trackers: list[Tracker] = [TensorBoard(folder / TENSORBOARD_FOLDER, first_step)]
    if environment.get(MLFLOW_VARIABLE) and find_spec("mlflow"):
        trackers.append(Remote("MLflow", lambda: MlFlow(name, config)))
    if any(environment.get(variable) for variable in WANDB_VARIABLES) and find_spec("wandb"):
        trackers.append(Remote("Weights & Biases", lambda: WeightsAndBiases(folder, name, config)))
    return trackers
