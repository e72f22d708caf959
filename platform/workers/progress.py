"""What a training child writes line by line, read as it grows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

logger = structlog.get_logger(__name__)


class ProgressTail:
    """Reads whole lines of a JSON Lines file as they appear; a half-written one waits.

    A step may be told about in several lines (training, then a held-out measurement) and
    again by a resumed run; its values are merged, the later ones holding.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._values_of_step: dict[int, dict[str, Any]] = {}

    def read_new(self) -> list[Mapping[str, Any]]:
        """Returns the merged values of every step that new lines speak of, in step order."""
        changed: set[int] = set()
        for line in self._new_lines():
            try:
                values = json.loads(line)
                step = int(values["step"])
            except (ValueError, KeyError, TypeError) as exc:
                logger.warning("progress_line_unreadable", path=str(self._path), error=str(exc))
                continue
            self._values_of_step.setdefault(step, {}).update(values)
            changed.add(step)
        return [self._values_of_step[step] for step in sorted(changed)]

    def _new_lines(self) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole, newline, _ = content.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [line for line in whole.split(b"\n") if line.strip()]


def drop_half_written_line(path: Path) -> None:
    """Cuts what follows the last newline, left by a child that was killed while writing."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
