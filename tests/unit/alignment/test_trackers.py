"""Trackers beside TensorBoard: only where they are installed and set up."""

import json
import sys
from pathlib import Path

import pytest

from alignment.trackers import open_trackers

FAKE_MLFLOW = """
import json
import sys
from pathlib import Path
calls = []
def start_run(run_name): calls.append(["start", run_name])
def log_params(params): calls.append(["params", params])
def log_metrics(metrics, step): calls.append(["metrics", metrics, step])
def end_run(): Path({place!r}).write_text(json.dumps(calls))
"""


def kinds(folder: Path, environment: dict[str, str]) -> list[str]:
    """Returns the names of the trackers that are opened."""
    opened = open_trackers(
        folder, name="round-1", config={"seed": 0}, first_step=0, environment=environment
    )
    for tracker in opened:
        tracker.close()
    return [type(tracker).__name__ for tracker in opened]


def test_tensorboard_needs_no_setting_up(tmp_path: Path) -> None:
    assert kinds(tmp_path, {}) == ["TensorBoard"]
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_server_that_is_named_is_not_asked_without_its_package(tmp_path: Path) -> None:
    asked = {"MLFLOW_TRACKING_URI": "http://localhost:1", "WANDB_MODE": "offline"}
    assert kinds(tmp_path, asked) == ["TensorBoard"]


def test_mlflow_gets_every_figure_by_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "calls.json"
    (tmp_path / "mlflow.py").write_text(FAKE_MLFLOW.format(place=str(place)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    assert kinds(tmp_path, {}) == ["TensorBoard"]  # installed, but not set up
    opened = open_trackers(
        tmp_path,
        name="round-1",
        config={"seed": 3},
        first_step=0,
        environment={"MLFLOW_TRACKING_URI": "http://localhost:1"},
    )
    for tracker in opened:
        tracker.log(5, {"loss": 0.25})
        tracker.close()
    assert json.loads(place.read_text()) == [
        ["start", "round-1"],
        ["params", {"seed": 3}],
        ["metrics", {"loss": 0.25}, 5],
    ]


@pytest.mark.parametrize(
    "module",
    [
        "def start_run(run_name): raise ConnectionError('no route to the server')",
        "def start_run(run_name): pass\n"
        "def log_params(params): pass\n"
        "def log_metrics(metrics, step): raise ConnectionError('no route to the server')\n",
    ],
)
def test_a_server_that_is_away_is_told_once_and_ends_no_training(
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "mlflow.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    opened = open_trackers(
        tmp_path,
        name="round-1",
        config={},
        first_step=0,
        environment={"MLFLOW_TRACKING_URI": "http://localhost:1"},
    )
    for tracker in opened:
        for step in (1, 2):
            tracker.log(step, {"loss": 0.25})
        tracker.close()
    told = [record.getMessage() for record in caplog.records]
    assert told == ["MLflow gets no more figures: ConnectionError: no route to the server"]
