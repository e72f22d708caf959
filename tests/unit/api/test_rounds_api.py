"""Rounds over HTTP beyond starting one: preflight, files, samples, comparison, schedule, mixes."""

import json
from pathlib import Path
from typing import Any

import pytest

from attune.ratings.choices import Choice
from attune.rounds.models import Round
from attune.rounds.run_files import round_folder
from attune.rounds.services import record_round_sample
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy, rated_study


@pytest.fixture
def world(db: None, tmp_path: Path, settings: Any) -> RatedStudy:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    rated = rated_study(tmp_path)
    rated.rate_pairs([Choice.A] * 10 + [Choice.BOTH_BAD] * 2)
    return rated


def test_a_preflight_tells_the_same_as_the_round_that_follows(
    world: RatedStudy, engineer: Person, reviewer: Person
) -> None:
    body = {"study": "first", "method": "kto", "config": {"gradient_checkpointing": True}}
    found = engineer.api("POST", "rounds/preflight", body).json()
    assert (found["n_usable"], found["can_start"], found["method"]) == (12, True, "kto")
    assert found["estimate"]["time_source"] == "formula"
    assert found["worker"]["is_alive"] is False
    seen = reviewer.api("GET", "studies/first/preflight?method=kto").json()
    assert seen["counts"] == found["counts"]
    stored = engineer.api("POST", "rounds", body).json()
    assert stored["counts"] == found["counts"]
    assert stored["config"] == {"gradient_checkpointing": True}
    assert stored["created_by"] == engineer.user.get_username()
    refused = engineer.api("POST", "rounds/preflight", {"study": "first", "method": "grpo"}).json()
    assert "grpo needs a reward model; 0 reward models are stored" in refused["refusals"]


def test_a_dataset_and_samples_are_downloaded(
    world: RatedStudy, engineer: Person, reviewer: Person
) -> None:
    name = engineer.api("POST", "rounds", {"study": "first"}).json()["name"]
    for format in ("jsonl", "parquet"):
        first = reviewer.api("GET", f"rounds/{name}/dataset?format={format}")
        again = reviewer.api("GET", f"rounds/{name}/dataset?format={format}")
        assert first.status_code == 200
        assert first.content == again.content
        assert first["Content-Disposition"].endswith(f'.{format}"')
    rows = [
        json.loads(line)
        for line in reviewer.api("GET", f"rounds/{name}/dataset").content.splitlines()
    ]
    assert len(rows) == 10

    round = Round.objects.get(name=name)
    file = round_folder(round) / "samples" / "step-1-0.wav"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"RIFF" + bytes(96))
    (round_folder(round) / "training.log").write_text("step 1\nstep 2\n")
    for number, path in enumerate(["samples/step-1-0.wav", "../../attune.sqlite3"]):
        record_round_sample(
            round=round,
            step=1,
            number=number,
            prompt="a waltz",
            seed=7,
            audio_path=path,
            duration_s=1.0,
        )
    detail = reviewer.api("GET", f"rounds/{name}").json()
    assert detail["log_tail"] == "step 1\nstep 2"
    good, bad = detail["samples"]
    part = reviewer.api("GET", good["audio"], None, Range="bytes=0-3")
    assert (part.status_code, b"".join(part.streaming_content)) == (206, b"RIFF")
    assert reviewer.api("GET", bad["audio"]).status_code == 404


def test_a_cancelled_round_tells_whether_it_can_go_on_and_is_resumed(
    world: RatedStudy, engineer: Person, reviewer: Person
) -> None:
    name = engineer.api("POST", "rounds", {"study": "first"}).json()["name"]
    assert engineer.api("POST", f"rounds/{name}/resume").status_code == 409
    ended = engineer.api("POST", f"rounds/{name}/cancel").json()
    assert ended["resumption"]["is_possible"] is False
    assert "nothing to resume" in ended["resumption"]["refusal"]
    assert "nothing to resume" in engineer.api("POST", f"rounds/{name}/resume").json()["detail"]

    save = round_folder(Round.objects.get(name=name)) / "checkpoints" / "checkpoint-40"
    save.mkdir(parents=True)
    (save / "complete").touch()
    told = reviewer.api("GET", f"rounds/{name}").json()["resumption"]
    assert (told["is_possible"], told["stage"], told["step"]) == (True, "training", 40)
    assert reviewer.api("POST", f"rounds/{name}/resume").status_code == 403
    resumed = engineer.api("POST", f"rounds/{name}/resume").json()
    assert (resumed["state"], resumed["finished_at"]) == ("frozen", None)
    assert [(event["kind"], event["actor"]) for event in resumed["events"]] == [
        ("cancelled", engineer.user.get_username()),
        ("resumed", engineer.user.get_username()),
    ]


def test_rounds_are_compared_mixed_and_scheduled(
    world: RatedStudy, engineer: Person, reviewer: Person
) -> None:
    names = []
    for seed in (1, 2):
        answer = engineer.api("POST", "rounds", {"study": "first", "config": {"seed": seed}})
        names.append(answer.json()["name"])
        engineer.api("POST", f"rounds/{names[-1]}/cancel")
    found = reviewer.api("GET", f"round-comparison?round={names[0]}&round={names[1]}").json()
    assert found["has_same_dataset"]
    assert [row["name"] for row in found["settings"] if row["is_different"]] == ["seed"]
    assert reviewer.api("GET", f"round-comparison?round={names[0]}").status_code == 409

    for name in ("calm", "busy"):
        world.add_checkpoint(name, parent=world.base)
    parts = [{"checkpoint": "calm", "weight": 0.5}, {"checkpoint": "busy", "weight": 0.5}]
    mixed = engineer.api("POST", "rounds/mix", {"study": "first", "parts": parts})
    assert (mixed.status_code, mixed.json()["method"]) == (201, "mix")
    nodes = reviewer.api("GET", "lineage").json()["nodes"]
    assert [node["name"] for node in nodes] == ["base", "calm", "busy"]

    body = {"is_on": True, "every_n_preferences": 50}
    assert reviewer.api("GET", "studies/first/schedule").status_code == 404
    stored = engineer.api("PUT", "studies/first/schedule", body).json()
    assert stored["changed_by"] == engineer.user.get_username()
    assert stored["running_round"] == mixed.json()["name"]
    assert reviewer.api("GET", "studies/first/schedule").json() == stored


def test_a_group_of_raters_is_named_and_learned_from(world: RatedStudy, engineer: Person) -> None:
    pseudonym = str(world.rater().pseudonym)
    stored = engineer.api("PUT", "rater-groups/owls", {"raters": [pseudonym]})
    assert stored.json() == {"name": "owls", "raters": [pseudonym]}
    body = {"study": "first", "rater_group": "owls"}
    assert engineer.api("POST", "rounds", body).json()["filters"]["raters"] == [pseudonym]
    assert engineer.api("POST", "rounds", {**body, "rater_group": "larks"}).status_code == 404


def test_no_preflight_speaks_for_a_method_that_does_not_exist(
    world: RatedStudy, engineer: Person
) -> None:
    body = {"study": "first", "method": "ppo"}
    for path in ("rounds/preflight", "rounds"):
        answer = engineer.api("POST", path, body)
        assert (answer.status_code, answer.json()["detail"]) == (
            409,
            "unknown method 'ppo'; known are dpo, kto, expert, grpo, rloo, reward, mix",
        )


def test_a_round_is_not_named_like_the_id_of_another_one(
    world: RatedStudy, engineer: Person
) -> None:
    answer = engineer.api("POST", "rounds", {"study": "first", "name": "12"})
    assert answer.status_code == 409
    assert "not a number" in answer.json()["detail"]
    assert not Round.objects.exists()
