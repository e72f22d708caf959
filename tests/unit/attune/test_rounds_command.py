"""`manage.py rounds` and `manage.py score`: the same as the site, in a terminal."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from attune.catalog.services import add_checkpoint
from attune.jobs.models import Job, JobKind
from attune.ratings.choices import Choice
from attune.rounds.models import Round, RoundMethod, RoundSchedule, RoundState
from attune.rounds.run_files import round_folder
from tests.unit.attune.rated import RatedStudy, rated_study, write_checkpoint

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(tmp_path: Path, settings: Any) -> RatedStudy:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    return rated_study(tmp_path)


def run(*words: str, command: str = "rounds") -> str:
    stdout = io.StringIO()
    call_command(command, *words, stdout=stdout)
    return stdout.getvalue()


def test_a_round_is_examined_started_shown_listed_exported_and_cancelled(
    world: RatedStudy, tmp_path: Path
) -> None:
    world.rate_pairs([Choice.A] * 10 + [Choice.TIE])
    plan = ("--study", "first", "--set", "loss=rao_kupper", "--set", "soft_labels=false")
    told = run("preflight", *plan)
    assert "11 usable (8 needed)" in told
    assert "can start" in told
    assert not Round.objects.exists()
    assert "dataset" in run("start", *plan, "--name", "mine")
    round = Round.objects.get()
    assert round.config == {"loss": "rao_kupper", "soft_labels": False}
    assert round.started_because == "manage.py rounds start"
    assert "mine\tdpo\tfrozen\tfirst\tbase" in run("list", "--study", "first")
    assert "exclusion_rules: on-policy-3" in run("show", "mine")
    file = tmp_path / "rows.jsonl"
    run("export", "mine", "--out", str(file))
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 11
    assert "cancelled" in run("cancel", "mine")
    round.refresh_from_db()
    assert round.state == RoundState.CANCELLED
    with pytest.raises(CommandError, match="is cancelled already") as refused:
        run("cancel", "mine")
    assert refused.value.returncode == 1
    with pytest.raises(CommandError, match="there is nothing to resume; start one like it"):
        run("resume", "mine")
    whole = round_folder(round) / "checkpoints" / "checkpoint-10" / "complete"
    whole.parent.mkdir(parents=True)
    whole.touch()
    assert "can be resumed: its training goes on after step 10" in run("show", "mine")
    assert "Resumed: its training goes on after step 10" in run("resume", "mine")
    run("cancel", "mine")
    run("start", *plan, "--set", "n_epochs=1", "--name", "yours")
    compared = run("compare", "mine", "yours")
    assert "n_epochs\t-\t1" in compared
    assert "Method" not in compared


def test_a_preflight_that_finds_too_little_ends_with_code_1(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 3)
    with pytest.raises(CommandError, match="3 usable preferences, 8 needed") as caught:
        run("preflight", "--study", "first")
    assert caught.value.returncode == 1


def test_what_does_not_exist_is_named_with_what_does(world: RatedStudy) -> None:
    for words, message in (
        (["show", "gone"], "no round 'gone'; the newest are: none"),
        (["preflight", "--study", "gone"], "no study 'gone'; there are: first"),
        (["preflight", "--study", "first", "--group", "gone"], "there are: none"),
        (["mix", "--study", "first", "base"], "expected CHECKPOINT=WEIGHT"),
    ):
        with pytest.raises(CommandError, match=message):
            run(*words)


def test_adapters_are_mixed_and_rounds_scheduled(world: RatedStudy) -> None:
    for name in ("calm", "busy"):
        world.add_checkpoint(name, parent=world.base)
    assert "a mix of 2 adapters of base" in run(
        "mix", "--study", "first", "calm=0.5", "busy=0.5", "--name", "both"
    )
    assert Round.objects.get(name="both").method == RoundMethod.MIX
    assert "  calm\tadapter\ttrained base" in run("lineage")
    assert "has no schedule" in run("schedule", "--study", "first")
    assert "on, a kto round every 20" in run(
        "schedule", "--study", "first", "--every", "20", "--method", "kto"
    )
    assert "off, a kto round" in run("schedule", "--study", "first", "--off")
    assert not RoundSchedule.objects.get().is_on


def test_a_reward_model_is_asked_to_score(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A])
    add_checkpoint(folder=write_checkpoint(world.folder / "r", name="r", kind="reward"))
    assert "scores with r" in run("r", "--made-by", "base", command="score")
    assert Job.objects.get().kind == JobKind.SCORE_CLIPS
    assert run("r", "--list", "5", command="score").splitlines() == [
        "clip\tmean\tstd\tcheckpoint\tprompt"
    ]
    with pytest.raises(CommandError, match="only a reward model scores"):
        run("base", command="score")
