"""Where clips and checkpoints lie on disk. Rows hold relative paths; this makes them absolute."""

import glob
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from uuid import UUID

from django.conf import settings
from django.utils.text import slugify

from attune.catalog.cards import CARD_FILE, read_card
from attune.catalog.errors import CatalogError, CheckpointError
from attune.catalog.models import Checkpoint, CheckpointKind


def clip_codes_file(clip_id: UUID) -> str:
    """The path of a clip's codes (.npy, int16, [K, T]), relative to the media store."""
    return f"clips/{clip_id.hex[:2]}/{clip_id}.npy"


def clip_audio_file(clip_id: UUID) -> str:
    """The path of a clip's audio (WAV, int16), relative to the media store."""
    return f"clips/{clip_id.hex[:2]}/{clip_id}.wav"


def melody_file(sha256: str, ending: str) -> str:
    """The path of a recording to follow, named by its content, relative to the media store."""
    return f"melodies/{sha256[:2]}/{sha256}.{ending}"


def media_file(relative: str) -> Path:
    """The absolute path of a stored file; refuses a path that leaves the media store."""
    parts = PurePosixPath(relative)
    if not relative or parts.is_absolute() or ".." in parts.parts:
        raise CatalogError(f"media path {relative!r}: expected one inside the media store")
    return Path(settings.ATTUNE_MEDIA) / parts


def checkpoint_folder(checkpoint: Checkpoint) -> Path:
    """The absolute folder of a checkpoint; a relative one lies in the checkpoint store."""
    return Path(settings.ATTUNE_CHECKPOINTS) / checkpoint.folder


def stored_folder(folder: Path) -> str:
    """How a folder is written in a row: relative inside the checkpoint store, else absolute."""
    store = Path(settings.ATTUNE_CHECKPOINTS).resolve()
    absolute = folder.resolve()
    return str(absolute.relative_to(store) if absolute.is_relative_to(store) else absolute)


def keep_checkpoint(folder: Path) -> Path:
    """The store's own copy of a checkpoint folder, made once for each content.

    What lies outside may be replaced by a newer version; checkpoints that were trained on the
    older one still need it.
    """
    card = read_card(folder)
    store = Path(settings.ATTUNE_CHECKPOINTS)
    kept = store / f"{slugify(card.name) or 'checkpoint'}-{card.content_hash[:12]}"
    if kept.is_dir():
        return kept
    store.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{kept.name}.", dir=store))
    try:
        for name in (CARD_FILE, *card.content["files"]):
            shutil.copyfile(folder / name, draft / name)
        if read_card(draft).content_hash != card.content_hash:
            raise CheckpointError(f"{folder} changed while it was copied", folder=folder)
        draft.chmod(0o755)
        draft.rename(kept)
    except OSError as exc:
        if not kept.is_dir():  # another start was first: its copy is as good
            raise CheckpointError(
                f"{folder} cannot be copied to {kept}: {exc}", folder=folder
            ) from exc
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return kept


def full_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """The full checkpoint that a checkpoint adapts, or is."""
    current = checkpoint
    while current.kind != CheckpointKind.FULL and current.parent is not None:
        current = current.parent
    return current


def checkpoint_chain(checkpoint: Checkpoint) -> tuple[Path, list[Path]]:
    """(full checkpoint's folder, adapter folders from the oldest to this checkpoint's own)."""
    adapters: list[Path] = []
    current = checkpoint
    while current.kind != CheckpointKind.FULL:
        adapters.append(checkpoint_folder(current))
        if current.parent is None:
            raise CheckpointError(
                f"adapter checkpoint {current.name!r} has no parent", folder=adapters[-1]
            )
        current = current.parent
    return checkpoint_folder(current), adapters[::-1]


def write_atomically(path: Path, data: bytes) -> None:
    """Store the bytes so that a reader sees the whole file or none.

    A draft that a killed writer of the same file left is removed. Writers of one file write the
    same bytes: whoever finds its own draft gone and the file there is done.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        left.unlink(missing_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except FileNotFoundError:
        if not path.is_file():
            raise
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
