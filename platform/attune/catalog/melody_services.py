"""Writes of recordings whose tunes clips follow."""

from pathlib import PurePath
from typing import IO

import structlog
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from attune.catalog.errors import MelodyError
from attune.catalog.melodies import (
    MAXIMUM_BYTES,
    Recording,
    check_size,
    inspect_recording,
)
from attune.catalog.models import Melody
from attune.catalog.storage import media_file, melody_file, write_atomically

NAME_CHARACTERS = 120
HASH_CHARACTERS = 8

log = structlog.get_logger(__name__)


def add_melody(
    *,
    file: IO[bytes],
    n_bytes: int,
    name: str = "",
    file_name: str = "",
    created_by: User | None = None,
) -> tuple[Melody, bool]:
    """The melody that a file holds, and whether it is new: the same content is one melody.

    `n_bytes` is the size that was announced, so that a file far too large is not read. Without
    a name it is called as its file was, which is all that the file's name is used for. Raises
    MelodyError before anything is written.
    """
    check_size(n_bytes)
    content = file.read(MAXIMUM_BYTES + 1)
    recording = inspect_recording(content)
    known = Melody.objects.filter(sha256=recording.sha256).first()
    if known is not None:
        if not media_file(known.path).is_file():
            write_atomically(media_file(known.path), content)
        return known, False
    name = _check_name(name) if name.strip() else _free_name(file_name, recording)
    path = melody_file(recording.sha256, recording.format)
    write_atomically(media_file(path), content)
    try:
        with transaction.atomic():
            melody, is_new = Melody.objects.get_or_create(
                sha256=recording.sha256,
                defaults={
                    "name": name,
                    "path": path,
                    "format": recording.format.value,
                    "n_bytes": len(content),
                    "duration_s": recording.duration_s,
                    "sample_rate_hz": recording.sample_rate_hz,
                    "created_by": created_by,
                },
            )
    except IntegrityError as exc:
        raise MelodyError(_taken(name)) from exc
    if is_new:
        log.info("melody_added", melody=melody.name, duration_s=round(melody.duration_s, 1))
    return melody, is_new


def _check_name(name: str) -> str:
    """The name without blanks around it, if it can be shown and no other recording has it."""
    name = name.strip()
    if len(name) > NAME_CHARACTERS or not name.isprintable():
        raise MelodyError(
            f"a recording's name has 1 to {NAME_CHARACTERS} printable characters, "
            f"got {name[:40]!r} of {len(name)}"
        )
    if Melody.objects.filter(name=name).exists():
        raise MelodyError(_taken(name))
    return name


def _taken(name: str) -> str:
    return f"the name {name!r} is taken by another recording: give one that is free"


def _free_name(file_name: str, recording: Recording) -> str:
    """A name that no recording has, after the file's where that can be shown."""
    digits = recording.sha256[:HASH_CHARACTERS]
    stem = PurePath(file_name.replace("\\", "/")).stem
    shown = "".join(character if character.isprintable() else " " for character in stem)
    name = " ".join(shown.split())[: NAME_CHARACTERS - HASH_CHARACTERS - 1].rstrip()
    if not name:
        return f"recording {digits}"
    return f"{name} {digits}" if Melody.objects.filter(name=name).exists() else name
