"""The whole loop on the tiny checkpoint: real web, workers and trainer, simulated raters."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from attune.rounds.gate import CHECKS
from tests.tiny import write_tiny_checkpoint, write_tiny_encoder

ROOT = Path(__file__).resolve().parents[2]
N_PAIRS, N_JUDGEMENTS = 24, 8
pytestmark = [pytest.mark.processes, pytest.mark.slow]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site on which one small rehearsal was run, its report under report/."""
    folder = tmp_path_factory.mktemp("rehearsal")
    starter = write_tiny_checkpoint(folder / "starter")
    environment = {
        **os.environ,
        "PORT": str(free_port()),
        "ATTUNE_HOME": str(folder / "home"),
        "ATTUNE_STARTER": str(starter),
        "ATTUNE_ENCODER": str(write_tiny_encoder(folder / "encoder", starter)),
        "ATTUNE_MINIMUM_PREFERENCES": "8",
        "ATTUNE_DEVICE": "cpu",
        "DATABASE_URL": "",
        "BROKER_URL": "",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "deploy" / "commands.py"), "rehearse"),
            *("--taste", "darker", "--agreement", "1", "--duration", "1"),
            *("--pairs", str(N_PAIRS), "--judgements", str(N_JUDGEMENTS)),
            *("--out", str(folder / "report")),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (folder / "output.txt").write_text(done.stdout)
    return folder


def test_it_reports_every_part_of_the_loop(home: Path) -> None:
    report = json.loads((home / "report" / "report.json").read_text())
    assert report["n_ratings"] == N_PAIRS
    assert report["training_agreement"] == 1.0
    assert report["metrics"] and report["metrics"][0]["margin"] == pytest.approx(0.0, abs=1e-4)
    assert {check["name"] for check in report["gate"]} == set(CHECKS)
    assert report["n_judgements"] == N_JUDGEMENTS == len(report["scores"])
    assert report["by_taste"]["low"] <= report["by_taste"]["figure"] <= report["by_taste"]["high"]
    assert report["as_rated"]["n"] == N_JUDGEMENTS
    # Judges who never err rate exactly as the taste scores.
    assert report["as_rated"]["figure"] == pytest.approx(report["by_taste"]["figure"], abs=1e-9)
    assert (home / "report" / "report.png").stat().st_size > 10_000


def test_it_says_how_far_it_is_and_ends_with_the_table(home: Path) -> None:
    output = (home / "output.txt").read_text()
    assert "margin" in output and "gate: integrity passed" in output
    assert (home / "report" / "report.txt").read_text().strip() in output


def test_everything_it_left_is_marked_as_simulated_and_its_study_is_closed(home: Path) -> None:
    with sqlite3.connect(home / "home" / "attune.sqlite3") as database:

        def count(query: str) -> int:
            return int(database.execute(query).fetchone()[0])

        assert count("SELECT count(*) FROM ratings_rating") == N_PAIRS + N_JUDGEMENTS
        assert count("SELECT count(*) FROM ratings_rating WHERE NOT is_simulated") == 0
        assert (
            count("SELECT count(*) FROM catalog_checkpoint WHERE parent_id IS NOT NULL"),
            count("SELECT count(*) FROM catalog_checkpoint WHERE is_simulated"),
        ) == (1, 1)
        in_people = (
            "SELECT count(*) FROM catalog_rotationentry entry JOIN catalog_checkpoint checkpoint "
            "ON entry.checkpoint_id = checkpoint.id "
            "WHERE entry.population = 'people' AND checkpoint.is_simulated"
        )
        assert count(in_people) == 0
        assert count("SELECT count(*) FROM leaderboard_standing WHERE population = 'people'") == 0
        opened = "SELECT count(*) FROM ratings_study WHERE population = 'rehearsal' AND is_open"
        assert count(opened) == 0


def test_held_out_prompts_judged_and_did_not_train(home: Path) -> None:
    with sqlite3.connect(home / "home" / "attune.sqlite3") as database:
        rows = database.execute(
            "SELECT DISTINCT pair.purpose, prompt.is_held_out FROM ratings_pair pair "
            "JOIN ratings_study study ON pair.study_id = study.id "
            "JOIN catalog_prompt prompt ON pair.prompt_id = prompt.id "
            "WHERE study.population = 'rehearsal'"
        ).fetchall()
    assert sorted(rows) == [("judging", 1), ("training", 0)]
