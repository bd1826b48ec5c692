"""A replay, the live reader and operators at the same moment: who waits for whom, and that nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction

from durable_state import operations
from durable_state.consumer.replay import advance
from durable_state.models import Replay, Stream
from durable_state.protocol import Position, decode

VERBS: dict[str, Callable[[Stream], object]] = {
    "reset": lambda stream: operations.reset(stream, actor="test"),
    "resume": lambda stream: operations.resume(stream, actor="test"),
    "remove": lambda stream: operations.remove(stream, actor="test"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_operator_waits_for_the_replay(server_database: str, add_stream: Callable[..., Stream], verb: str) -> None:
    """It is not in the way of a batch that has still to write its letters, which touch the stream's row: that would be a deadlock."""
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
            advance(replay, stream, [], Position("a", 0, 0), token=None)  # holds the row from here on
            asking = others.submit(ask)
            asked.wait(5)
            with pytest.raises(TimeoutError):
                asking.result(0.3)
            advance(replay, stream, [decode(b"5")], Position("b", 0, 1), token=None)
        asking.result(5)
