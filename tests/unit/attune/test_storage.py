"""Paths of clips and checkpoints, and files that are whole or absent."""

from pathlib import Path
from uuid import UUID

import pytest
from django.conf import LazySettings

from attune.catalog.errors import CatalogError
from attune.catalog.storage import (
    checkpoint_chain,
    checkpoint_folder,
    clip_audio_file,
    clip_codes_file,
    media_file,
    stored_folder,
    write_atomically,
)
from tests.factories import make_checkpoint

CLIP = UUID("ab123456-0000-4000-8000-000000000000")


def test_clips_lie_in_folders_by_the_start_of_their_id() -> None:
    assert clip_codes_file(CLIP) == f"clips/ab/{CLIP}.npy"
    assert clip_audio_file(CLIP) == f"clips/ab/{CLIP}.wav"


def test_media_files_stay_inside_the_media_store(settings: LazySettings) -> None:
    assert media_file("clips/ab/x.wav") == settings.ATTUNE_MEDIA / "clips/ab/x.wav"
    for path in ("", "/etc/passwd", "../secret", "clips/../../secret"):
        with pytest.raises(CatalogError, match="media path"):
            media_file(path)


def test_a_folder_inside_the_store_is_kept_relative(settings: LazySettings, tmp_path: Path) -> None:
    assert stored_folder(settings.ATTUNE_CHECKPOINTS / "round-1") == "round-1"
    assert stored_folder(tmp_path / "elsewhere") == str(tmp_path / "elsewhere")


@pytest.mark.django_db
def test_a_chain_runs_from_the_full_checkpoint_to_the_newest_adapter(
    settings: LazySettings,
) -> None:
    full = make_checkpoint("full")
    first = make_checkpoint("first", parent=full)
    second = make_checkpoint("second", parent=first)
    store = settings.ATTUNE_CHECKPOINTS
    assert checkpoint_chain(second) == (store / "full", [store / "first", store / "second"])
    assert checkpoint_chain(full) == (store / "full", [])
    full.folder = "/srv/starter"
    assert checkpoint_folder(full) == Path("/srv/starter")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "new" / "clip.wav"
    write_atomically(file, b"first")
    write_atomically(file, b"second")
    assert file.read_bytes() == b"second"
    assert list(file.parent.iterdir()) == [file]


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    file = tmp_path / "clip.wav"
    file.mkdir()
    (file / "content").touch()
    with pytest.raises(OSError):
        write_atomically(file, b"data")
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path) -> None:
    (tmp_path / ".clip.wav.abc123").write_bytes(b"half")
    (tmp_path / ".clip.wavelet.abc123").write_bytes(b"another file's")
    write_atomically(tmp_path / "clip.wav", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"clip.wav", ".clip.wavelet.abc123"}
    assert (tmp_path / "clip.wav").read_bytes() == b"whole"
