"""Generations of several streams that are staged at the same time, with the locks of MySQL and
MariaDB.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from durable_state import operations
from durable_state.databases.transaction import commit_transaction
from durable_state.models import Stream
from tests.tables import apply_batch
from tests.wire import END, RESET, START, insert

from .support.consuming import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


def some(random_: random.Random) -> list[Any]:
    """Changes of a few entities, over and over, so that staged rows are replaced."""
    keys = [f"k{random_.randrange(40)}" for _ in range(30)]
    return [
        insert("message", key, {"text": str(random_.random())[:9]})
        if random_.random() < 0.8
        else {"type": "message", "key": key, "headers": {"operation": "delete"}}
        for key in keys
    ]


def test_a_generation_does_not_wait_for_another(add_stream: Add, server_database: str) -> None:
    """While one transaction has replaced, deleted and dropped, another does the same, and ends."""
    database = server_database
    streams = [add_stream(using=database) for _ in range(2)]
    first = [START, *(insert("message", f"k{number}", {"text": "a"}) for number in range(40))]
    again = [insert("message", f"k{number}", {"text": "b"}) for number in range(0, 40, 2)]
    gone = [
        {"type": "message", "key": f"k{number}", "headers": {"operation": "delete"}}
        for number in range(1, 40, 4)
    ]
    back = [insert("message", f"k{number}", {"text": "c"}) for number in range(1, 40, 4)]
    for stream in streams:
        apply_batch(stream, first, False)
        apply_batch(stream, again, False)
    held, done = threading.Event(), threading.Event()

    def hold() -> bool:
        with commit_transaction(database):
            apply_batch(streams[0], [*again, *gone], False)
            apply_batch(streams[0], back, False)
            apply_batch(streams[0], first, False)
            apply_batch(streams[0], again, False)
            held.set()
            return done.wait(8)

    def go_on() -> None:
        assert held.wait(8)
        apply_batch(streams[1], [*again, *gone], False)
        apply_batch(streams[1], back, False)
        apply_batch(streams[1], first, False)
        apply_batch(streams[1], [*again, END], True)
        done.set()

    assert in_threads(hold, go_on) == [True, None]


def test_generations_are_staged_side_by_side(database: str, add_stream: Add) -> None:
    """Lock waits between them never end in a failure: snapshots, resets and replays."""
    streams = [add_stream(using=database) for _ in range(4)]

    def work(number: int) -> Callable[[], None]:
        def run() -> None:
            chosen = random.Random(number)
            stream = Stream.objects.using(database).get(pk=streams[number].pk)
            for turn in range(6):
                if number % 2 == 0:
                    apply_batch(stream, [START if turn % 3 else RESET, *some(chosen)], False)
                    apply_batch(stream, some(chosen), False)
                    apply_batch(stream, [*some(chosen), END], True)
                else:
                    operations.reset(stream, actor="test")
                    for _ in range(3):
                        apply_batch(stream, some(chosen), False)
                    apply_batch(stream, some(chosen), True)

        return run

    assert in_threads(*(work(number) for number in range(4))) == [None] * 4
