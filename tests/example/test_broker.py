"""The example's broker of files: many processes write and read, nobody sees half a message."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu import Connection, Exchange, Producer, Queue

WRITERS = 4
MESSAGES = 250
"""Of each writer."""

processes = multiprocessing.get_context("spawn")


@contextmanager
def open_channel(folder: str) -> Iterator[Any]:
    """A channel of the broker with its files in the folder."""
    queue = os.path.join(folder, "queue")
    options = {
        "data_folder_in": queue,
        "data_folder_out": queue,
        "control_folder": os.path.join(folder, "control"),
    }
    transport = "example_project.broker:Transport"
    with Connection(transport=transport, transport_options=options) as connection:
        yield connection.channel()


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """The broker's folders."""
    for name in ("queue", "control"):
        (tmp_path / name).mkdir()
    return str(tmp_path)


def write(folder: str, writer: int) -> None:
    """Puts the writer's numbered messages, as fast as it can."""
    with open_channel(folder) as channel:
        for number in range(MESSAGES):
            channel._put("work", {"writer": writer, "number": number, "padding": "x" * 3000})


def read(folder: str, found: Any) -> None:
    """Takes messages without a pause; reports them, and what it could not read."""
    mine, unreadable = [], []
    with open_channel(folder) as channel:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                message = channel._get("work")
            except Empty:
                if os.path.exists(os.path.join(folder, "written")):
                    break
            except ValueError as error:
                unreadable.append(repr(error))
            else:
                mine.append((message["writer"], message["number"]))
    found.put((mine, unreadable))


def run_all(*calls: tuple[Callable[..., None], tuple[Any, ...]]) -> None:
    """Runs the functions at once, in separate processes, all of which must succeed."""
    started = [processes.Process(target=function, args=arguments) for function, arguments in calls]
    for process in started:
        process.start()
    for process in started:
        process.join(90)
    assert [process.exitcode for process in started] == [0] * len(started)


def test_every_message_is_read_once_and_whole(folder: str) -> None:
    """Four writers, two readers that never pause: no message is unreadable, lost or doubled."""
    found = processes.Queue()
    readers = [processes.Process(target=read, args=(folder, found)) for _ in range(2)]
    for reader in readers:
        reader.start()

    run_all(*((write, (folder, writer)) for writer in range(WRITERS)))
    Path(folder, "written").touch()
    results = [found.get(timeout=120) for _ in readers]
    for reader in readers:
        reader.join(30)

    assert [unreadable for _, unreadable in results] == [[], []]
    taken = Counter(message for mine, _ in results for message in mine)
    assert taken == Counter((w, n) for w in range(WRITERS) for n in range(MESSAGES))
    for mine, _ in results:
        for writer in range(WRITERS):
            numbers = [number for by, number in mine if by == writer]
            assert numbers == sorted(numbers), "a writer's messages come in its order"
    assert os.listdir(Path(folder, "queue")) == []


def look(folder: str, found: Any) -> None:
    """Reads every message and table that it sees, without a pause; reports what it could not
    read.
    """
    seen, unreadable = 0, []
    while not os.path.exists(os.path.join(folder, "written")):
        for part, ending in (("queue", ".msg"), ("control", ".exchange")):
            for name in os.listdir(os.path.join(folder, part)):
                if name.endswith(ending):
                    text = Path(folder, part, name).read_bytes()
                    seen += 1
                    try:
                        json.loads(text)
                    except ValueError:
                        unreadable.append(name)
    found.put((seen, unreadable))


def bind(folder: str, binder: int) -> None:
    """Binds its own queues to the exchange that all share, and unbinds every second one again."""
    with open_channel(folder) as channel:
        for number in range(40):
            channel._queue_bind("everybody", "", "", f"queue-{binder}-{number}")
            if number % 2:
                channel._delete(f"queue-{binder}-{number}", "everybody", "", "")


def test_nothing_is_seen_before_it_is_whole(folder: str) -> None:
    """Nobody ever sees a part of a message or of a table, and no binding is lost."""
    found = processes.Queue()
    looker = processes.Process(target=look, args=(folder, found))
    looker.start()

    run_all(
        *((write, (folder, writer)) for writer in range(2)),
        *((bind, (folder, binder)) for binder in range(3)),
    )
    Path(folder, "written").touch()
    seen, unreadable = found.get(timeout=60)
    looker.join(30)

    assert seen > 100
    assert unreadable == []
    with open_channel(folder) as channel:
        bound = {binding.queue for binding in channel.get_table("everybody")}
    assert bound == {f"queue-{b}-{n}" for b in range(3) for n in range(0, 40, 2)}


def test_fanout_reaches_every_queue(folder: str) -> None:
    """A broadcast, such as Celery's remote control, arrives in each bound queue, and in no
    other.
    """
    exchange = Exchange("news", type="fanout")
    with open_channel(folder) as channel:
        for name in ("one", "two"):
            Queue(name, exchange, channel=channel).declare()
        Queue("other", Exchange("other", type="fanout"), channel=channel).declare()
        Producer(channel, exchange=exchange).publish({"hello": "all"})
        received = {name: _drain(channel, name) for name in ("one", "two", "other")}
    assert {name: len(messages) for name, messages in received.items()} == {
        "one": 1,
        "two": 1,
        "other": 0,
    }


def _drain(channel: Any, queue: str) -> list[Any]:
    messages = []
    while True:
        try:
            messages.append(channel._get(queue))
        except Empty:
            return messages


def test_a_message_that_cannot_be_written_leaves_nothing(folder: str) -> None:
    """A payload that is not JSON fails in the writer, and no reader ever sees a part of it."""
    with open_channel(folder) as channel:
        with pytest.raises(TypeError):
            channel._put("work", {"begun": "x" * 100_000, "broken": object()})
        assert os.listdir(Path(folder, "queue")) == []


def test_settings_use_it() -> None:
    """The example's broker URL leads to this transport."""
    done = processes.Queue()
    asking = processes.Process(target=_tell_transport, args=(done,))
    asking.start()
    assert done.get(timeout=60) == "example_project.broker.Transport"
    asking.join(30)


def _tell_transport(done: Any) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as state:
        os.environ["EXAMPLE_STATE_DIR"] = state
        for name in ("EXAMPLE_BROKER_URL", "EXAMPLE_REDIS_URL"):
            os.environ.pop(name, None)
        os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
        from example_project.celery import app

        kind = type(app.connection_for_write().transport)
        done.put(f"{kind.__module__}.{kind.__qualname__}")
