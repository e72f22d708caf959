"""The demo is set up from the starter folder, once, or says what is missing."""

import shutil
from io import StringIO
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from attune.catalog.cards import read_card
from attune.catalog.models import Checkpoint, Population, Prompt, RotationEntry
from attune.catalog.storage import checkpoint_folder
from attune.ratings.arrival import asked_steps
from attune.ratings.models import Study
from tests.factories import write_checkpoint

pytestmark = pytest.mark.django_db


def setup_demo() -> str:
    out = StringIO()
    call_command("setup_demo", stdout=out)
    return out.getvalue()


def test_the_demo_is_set_up_once(settings: LazySettings, tmp_path: Path) -> None:
    settings.ATTUNE_STARTER = write_checkpoint(tmp_path / "starter", name="starter")
    assert "'first-listen' is open" in setup_demo()
    assert "is there already" in setup_demo()
    study = Study.objects.get()
    assert (study.population, study.pool_target, study.overlap) == ("people", 12, 1)
    assert (study.clip_duration_s, study.minimum_listening_s) == (10.0, 5.0)
    assert [step.value for step in asked_steps(study)] == [
        "consent", "volume", "device_check", "practice",
    ]  # fmt: skip
    assert (study.device_check, study.n_practice) == ("record", 3)
    roles = set(RotationEntry.objects.values_list("population", "role"))
    assert roles == {(population.value, "anchor") for population in Population}
    n_prompts = Prompt.objects.count()
    assert n_prompts == study.prompt_set.prompts.count() > 75


def test_a_newer_starter_is_added_beside_the_older_which_stays_whole(
    settings: LazySettings, tmp_path: Path
) -> None:
    settings.ATTUNE_STARTER = write_checkpoint(tmp_path / "starter", name="starter")
    setup_demo()
    older = Checkpoint.objects.get()
    shutil.rmtree(settings.ATTUNE_STARTER)
    write_checkpoint(settings.ATTUNE_STARTER, name="starter", content="newer weights")
    assert "'starter' stays the anchor of" in setup_demo()
    newer = Checkpoint.objects.exclude(pk=older.pk).get()
    assert newer.name == f"starter-{newer.content_hash[:8]}"
    assert {e.checkpoint for e in RotationEntry.objects.all()} == {older}
    for checkpoint in (older, newer):
        assert read_card(checkpoint_folder(checkpoint)).content_hash == checkpoint.content_hash
    setup_demo()
    assert Checkpoint.objects.count() == 2
    assert len(list(settings.ATTUNE_CHECKPOINTS.iterdir())) == 2


def test_an_incomplete_starter_is_refused_by_file(settings: LazySettings, tmp_path: Path) -> None:
    settings.ATTUNE_STARTER = write_checkpoint(tmp_path / "starter", name="starter")
    (tmp_path / "starter" / "lm.safetensors").unlink()
    with pytest.raises(CommandError, match=r"lm\.safetensors is missing"):
        setup_demo()
    assert not Checkpoint.objects.exists()
    assert not Study.objects.exists()


def test_a_missing_starter_is_refused(settings: LazySettings, tmp_path: Path) -> None:
    settings.ATTUNE_STARTER = tmp_path / "nowhere"
    with pytest.raises(CommandError, match=r"no card\.json in .*nowhere"):
        setup_demo()
