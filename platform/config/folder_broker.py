"""The embedded broker: kombu's folder of messages, with files that are whole or not there.

kombu's own filesystem transport creates a file first and fills it then, and a worker that
reads in between ends with a JSON error. Here every file is written beside its place and
renamed into it, and a message belongs to the one reader whose rename succeeded.
"""

import fcntl
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

import structlog
from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

logger = structlog.get_logger(__name__)
_binding = threading.Lock()


def write_whole(path: Path, text: str) -> None:
    """Writes a file that readers see complete or not at all."""
    draft = path.with_name(f".{uuid.uuid4().hex}.draft")
    draft.write_text(text)
    draft.rename(path)


class Channel(filesystem.Channel):
    """A channel whose messages and exchange tables are renamed into place."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]
        name = f"{round(time.monotonic() * 1000):016d}_{uuid.uuid4()}.{queue}.msg"
        write_whole(Path(self.data_folder_out) / name, dumps(payload))

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002 (kombu's)
        folder = Path(self.data_folder_in)
        for file in sorted(folder.iterdir()):
            if file.name.partition(".")[2] != f"{queue}.msg":
                continue
            claimed = folder / f".{uuid.uuid4().hex}.claimed"
            try:
                file.rename(claimed)
            except FileNotFoundError:
                continue  # another reader was first
            text = claimed.read_text()
            claimed.unlink()
            try:
                return loads(text)
            except ValueError:
                logger.warning("message_unreadable", file=file.name)
        raise Empty

    def get_table(self, exchange: str) -> list[filesystem.exchange_queue_t]:
        """Returns who is bound to an exchange."""
        try:
            text = self._exchange_file(exchange).read_text()
        except FileNotFoundError:
            return []
        return [filesystem.exchange_queue_t(*row) for row in json.loads(text)]

    def queue_bind(self, *arguments: Any, **options: Any) -> None:
        """Binds a queue; no thread goes on before the table on disk says so.

        kombu notes a binding for the whole process before it is written, and what another
        thread sends in between would find no queue.
        """
        with _binding:
            super().queue_bind(*arguments, **options)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        with self._tables_locked():
            bound = self.get_table(exchange)
            row = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
            if row not in bound:
                write_whole(self._exchange_file(exchange), json.dumps([row, *bound]))

    def _delete(
        self, queue: str, exchange: str, routing_key: str, pattern: str, *_: Any, **__: Any
    ) -> None:
        self._purge(queue)
        with self._tables_locked():
            bound = self.get_table(exchange)
            row = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
            if row in bound:
                bound.remove(row)
                write_whole(self._exchange_file(exchange), json.dumps(bound))

    @contextmanager
    def _tables_locked(self) -> Iterator[None]:
        """Lets one process at a time change the tables of exchanges."""
        folder = Path(self.control_folder)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class Transport(filesystem.Transport):
    """kombu's filesystem transport with the channel above."""

    Channel = Channel
