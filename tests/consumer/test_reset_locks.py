"""A replay, the live reader and operators at the same moment: who waits for whom, and that
nobody waits for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections, transaction

from durable_state import operations
from durable_state.consumer import replay_target
from durable_state.consumer.replay import advance, hand_over
from durable_state.consumer.run import sync
from durable_state.errors import OperationRefused
from durable_state.materializer import prepare_batch
from durable_state.models import Replay, Stream
from durable_state.protocol import Position, decode
from durable_state.transport import Batch
from tests.app.models import Message
from tests.servers.process import StreamServer
from tests.wire import insert

from .support.consuming import consuming, is_live, replay_of, wait_until
from .support.remote import RemoteStream

Add = Callable[..., Stream]

VERBS: dict[str, Callable[[Stream], object]] = {
    "reset": lambda stream: operations.reset(stream, actor="test"),
    "resume": lambda stream: operations.resume(stream, actor="test"),
    "remove": lambda stream: operations.remove(stream, actor="test"),
}


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("verb", VERBS)
def test_an_operator_waits_for_the_replay(
    server_database: str, add_stream: Add, verb: str, ends: bool
) -> None:
    """The one who waits does not block a batch that still has to write its letters, which lock
    the stream's row, nor the hand-over, which deletes the replay's row: that would be a
    deadlock.
    """
    stream = add_stream(using=server_database)
    operations.reset(stream, actor="test")
    replay = Replay.objects.using(server_database).get()
    asked = threading.Event()

    def ask() -> None:
        try:
            asked.set()
            VERBS[verb](Stream.objects.using(server_database).get(pk=stream.pk))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as others:
        with transaction.atomic(using=server_database):
            advance(
                replay,
                stream,
                prepare_batch(stream, [], 0),
                Batch([], Position("a", 0, 0)),
                token=None,
            )  # holds the row from here on
            asking = others.submit(ask)
            asked.wait(5)
            with pytest.raises(TimeoutError):
                asking.result(0.3)
            advance(
                replay,
                stream,
                prepare_batch(stream, [decode(b"5")], 0),
                Batch([], Position("b", 0, 1)),
                token=None,
            )
            if ends:
                assert hand_over(stream, replay, stream.revision, token=None) is not None
        asking.result(5)


def test_a_halted_stream_is_resumed_beside_its_replay(
    server_database: str,
    reference_server: StreamServer,
    add_stream: Add,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its rows do not wait for the replay's end."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "DEAD_LETTER_LIMIT": 1}
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", key, {"text": "x" * 21}) for key in "ab"])
    stream = add_stream(remote.url, using=server_database)
    with pytest.raises(OperationRefused, match="halted"):
        sync(stream)
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1}
    operations.reset(stream, actor="test")
    begun, shown = threading.Event(), threading.Event()

    def held_up(*given: Any, **named: Any) -> Any:
        begun.set()
        assert shown.wait(15)
        return advance(*given, **named)

    monkeypatch.setattr(replay_target, "advance", held_up)
    with consuming(stream):
        try:
            assert begun.wait(15)
            operations.resume(stream, actor="test")
            remote.append([insert("message", "c", {"text": "fits"})])
            wait_until(Message.objects.using(server_database).filter(key="c").exists, 10)
        finally:
            shown.set()
        wait_until(lambda: replay_of(stream) is None)


def test_the_live_reader_waits_for_the_switch(
    server_database: str,
    reference_server: StreamServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A hand-over may take longer than a transaction may wait for a lock, which is not a failure
    of the stream.
    """
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", "a", {"text": "one"})])
    stream = add_stream(remote.url, using=server_database)
    switching = threading.Event()

    def long(*given: Any, **named: Any) -> Any:
        rows = Stream.objects.using(server_database)
        with transaction.atomic(using=server_database):
            rows.select_for_update().get(pk=stream.pk)
            switching.set()
            # In the server: code that sleeps here would be given up.
            sleep = "SLEEP" if server_database == "mysql" else "pg_sleep"
            with connections[server_database].cursor() as cursor:
                for _ in range(5):
                    cursor.execute(f"SELECT {sleep}(0.5)")
            return hand_over(*given, **named)

    monkeypatch.setattr(replay_target, "hand_over", long)
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        operations.reset(stream, actor="test")
        assert switching.wait(15)
        remote.append([insert("message", "b", {"text": "two"})])
        wait_until(Message.objects.using(server_database).filter(key="b").exists)
        wait_until(lambda: replay_of(stream) is None)
    assert "Trying again" not in caplog.text
