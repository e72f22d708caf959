"""`manage.py catalog` verifies and registers checkpoints, and lists them."""

from io import StringIO
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from attune.catalog.adoption import name_of
from attune.catalog.models import Checkpoint
from tests.factories import make_anchor, make_checkpoint, write_checkpoint
from tests.tiny_musicgen import write_tiny_musicgen

pytestmark = pytest.mark.django_db


def catalog(*arguments: str) -> str:
    out = StringIO()
    call_command("catalog", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_musicgen(tmp_path_factory.mktemp("pretrained") / "musicgen-tiny")


def test_a_musicgen_folder_becomes_a_checkpoint_in_the_store(
    pretrained: Path, settings: LazySettings
) -> None:
    assert "'musicgen-tiny' (musicgen) is registered" in catalog("add", str(pretrained))
    checkpoint = Checkpoint.objects.get()
    assert (checkpoint.kind, checkpoint.family, checkpoint.folder) == (
        "full",
        "musicgen",
        "musicgen-tiny",
    )
    stored = Path(settings.ATTUNE_CHECKPOINTS) / "musicgen-tiny"
    assert {file.name for file in stored.iterdir()} == {
        "card.json",
        *(file.name for file in pretrained.iterdir()),
    }
    assert not (pretrained / "card.json").exists()
    assert checkpoint.card["recipe"]["n_codebooks"] == 4

    catalog("add", str(pretrained))  # once more changes nothing
    assert Checkpoint.objects.get() == checkpoint


def test_a_half_downloaded_folder_is_refused_and_leaves_nothing(
    tmp_path: Path, settings: LazySettings
) -> None:
    folder = write_tiny_musicgen(tmp_path / "half")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(CommandError, match=r"half cannot be adopted: .* half downloaded"):
        catalog("add", str(folder))
    assert not Checkpoint.objects.exists()
    assert list(Path(settings.ATTUNE_CHECKPOINTS).iterdir()) == []


def test_an_unreachable_hub_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(
        CommandError, match=r"hub:facebook/musicgen-small .* the hub cannot be reached"
    ):
        catalog("add", "hub:facebook/musicgen-small")
    assert not Checkpoint.objects.exists()


def test_a_folder_with_a_card_is_registered_where_it_lies(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "ours", name="ours")
    assert "'ours' (starter) is registered" in catalog("add", str(folder))
    assert Checkpoint.objects.get().folder == str(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nowhere is not a folder"):
        catalog("add", str(tmp_path / "nowhere"))


def test_a_name_is_given_once(pretrained: Path) -> None:
    make_checkpoint("musicgen-tiny")
    with pytest.raises(CommandError, match="'musicgen-tiny' is taken by a checkpoint made of"):
        catalog("add", str(pretrained))


@pytest.mark.parametrize("name", ["../outside", "a b", "", "x" * 121])
def test_a_name_that_is_no_folder_name_is_refused(pretrained: Path, name: str) -> None:
    with pytest.raises(CommandError, match="expected letters, digits"):
        catalog("add", str(pretrained), "--name", name or " ")


@pytest.mark.parametrize(
    ("source", "name"),
    [("hub:facebook/musicgen-small", "musicgen-small"), ("/models/mine/", "mine")],
)
def test_a_source_suggests_a_name(source: str, name: str) -> None:
    assert name_of(source) == name


def test_the_list_tells_family_parent_and_rotation() -> None:
    anchor = make_anchor()
    child = make_checkpoint("child", parent=anchor)
    retired = make_checkpoint("old")
    Checkpoint.objects.filter(pk=retired.pk).update(is_retired=True)
    lines = [line.split("\t") for line in catalog("list").splitlines()]
    assert lines[0] == ["name", "kind", "family", "parent", "rotation", "hash"]
    assert lines[1][:5] == [anchor.name, "full", "starter", "-", "anchor 1.00 for people"]
    assert lines[2][:5] == [child.name, "adapter", "starter", anchor.name, "-"]
    assert lines[3][4] == "retired"
    assert lines[1][5] == anchor.content_hash[:12]
