"""The embedded broker under several writers and readers at once."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from celery import current_app
from kombu.connection import Connection
from kombu.exceptions import ChannelError

from config.folder_broker import Channel, Transport

N_WRITERS, N_READERS, N_MESSAGES = 3, 3, 60


@pytest.fixture
def name() -> str:
    """A queue of its own: kombu remembers bindings for the length of a process."""
    return uuid.uuid4().hex


def connect(folder: Path) -> Connection:
    (folder / "control").mkdir(exist_ok=True)
    options = {
        "data_folder_in": str(folder),
        "data_folder_out": str(folder),
        "control_folder": str(folder / "control"),
    }
    return Connection(transport=Transport, transport_options=options)


def test_the_site_uses_it() -> None:
    with Connection("filesystem://") as connection:
        assert connection.get_transport_cls() is Transport
    assert current_app.main == "attune"


def test_each_message_reaches_one_reader_whole(tmp_path: Path, name: str) -> None:
    got: Counter[tuple[int, int]] = Counter()
    errors: list[BaseException] = []
    has_ended = threading.Event()

    def write(writer: int) -> None:
        with connect(tmp_path) as connection, connection.SimpleQueue(name) as queue:
            for number in range(N_MESSAGES):
                queue.put([writer, number])

    def read() -> None:
        with connect(tmp_path) as connection, connection.SimpleQueue(name) as queue:
            while not has_ended.is_set():
                try:
                    message = queue.get(block=False)
                except queue.Empty:
                    time.sleep(0.002)
                    continue
                got[tuple(message.payload)] += 1
                message.ack()

    def run(work: Callable[[], None]) -> threading.Thread:
        def call() -> None:
            try:
                work()
            except Exception as exc:
                errors.append(exc)

        thread = threading.Thread(target=call)
        thread.start()
        return thread

    readers = [run(read) for _ in range(N_READERS)]
    writers = [run(partial(write, writer)) for writer in range(N_WRITERS)]
    for thread in writers:
        thread.join()
    deadline = time.monotonic() + 30
    while sum(got.values()) < N_WRITERS * N_MESSAGES and time.monotonic() < deadline:
        time.sleep(0.01)
    has_ended.set()
    for thread in readers:
        thread.join()
    assert errors == []
    assert set(got.values()) == {1}
    assert len(got) == N_WRITERS * N_MESSAGES
    assert [path.name for path in tmp_path.iterdir()] == ["control"]


def test_a_thread_waits_until_a_binding_is_on_disk(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_binding = threading.Event()
    bind = Channel._queue_bind

    def bind_slowly(self: Channel, *arguments: str) -> None:
        is_binding.set()
        time.sleep(0.2)
        bind(self, *arguments)

    monkeypatch.setattr(Channel, "_queue_bind", bind_slowly)

    def declare() -> None:
        with connect(tmp_path) as connection, connection.SimpleQueue(name):
            pass

    first = threading.Thread(target=declare)
    first.start()
    assert is_binding.wait(10)
    with connect(tmp_path) as connection, connection.SimpleQueue(name) as queue:
        queue.put("sent while another thread binds the queue")
        assert queue.get(block=True, timeout=5).payload.startswith("sent while")
    first.join()


def test_a_damaged_message_is_passed_over(tmp_path: Path, name: str) -> None:
    with connect(tmp_path) as connection, connection.SimpleQueue(name) as queue:
        (tmp_path / f"0000_damaged.{name}.msg").write_text("")
        queue.put("sound")
        assert queue.get(block=True, timeout=5).payload == "sound"


def test_messages_come_in_the_order_they_were_sent(tmp_path: Path, name: str) -> None:
    with connect(tmp_path) as connection, connection.SimpleQueue(name) as queue:
        for number in range(5):
            queue.put(number)
            time.sleep(0.002)
        assert [queue.get(block=True, timeout=5).payload for _ in range(5)] == list(range(5))


def test_processes_that_bind_at_once_lose_no_binding(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        channel = connection.channel()
        assert isinstance(channel, Channel)

        def bind(number: int) -> None:
            channel._queue_bind("celery.pidbox", "", "", f"queue-{number}")

        threads = [threading.Thread(target=bind, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        bound = {row.queue for row in channel.get_table("celery.pidbox")}
        assert bound == {f"queue-{number}" for number in range(12)}
        channel._delete("queue-3", "celery.pidbox", "", "")
        assert len(channel.get_table("celery.pidbox")) == 11


@pytest.mark.parametrize("exchange", ["../outside", "a/b"])
def test_an_exchange_cannot_name_a_file_elsewhere(tmp_path: Path, exchange: str) -> None:
    with connect(tmp_path) as connection, pytest.raises(ChannelError):
        connection.channel()._queue_bind(exchange, "", "", "q")
