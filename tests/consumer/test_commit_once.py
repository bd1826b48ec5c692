"""Of two workers with the same batch, one commits it; and nobody waits for a frozen one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import Error, connections

from durable_state.consumer import commit
from durable_state.consumer.committing import Commit
from durable_state.databases.contention import retry_on_deadlocks
from durable_state.databases.faults import is_outage
from durable_state.databases.transaction import commit_transaction
from durable_state.materializer import prepare_batch
from durable_state.models import FeedEntry, Stream
from durable_state.protocol import Position, decode
from durable_state.transport import Batch
from tests import leases
from tests.app.models import Message
from tests.tables import check
from tests.wire import encode, insert

from .support.consuming import in_threads
from .support.remote import random_items

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


def fold_in(stream: Stream, items: list[Any], token: int | None = None) -> Commit:
    """Commits the items as the next batch."""
    ordinal = stream.ordinal + len(items)
    position = Position(f"o{ordinal}", 0, ordinal)
    prepared = prepare_batch(stream, [decode(encode(item)) for item in items], stream.ordinal)
    return commit(stream, prepared, Batch([], position, True), token=token)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_batch_twice_at_once_is_committed_once(
    database: str, add_stream: Add, seed: int
) -> None:
    """Whatever it holds; the others are told why not."""
    stream = add_stream(using=database)
    items = random_items(seed, 90)
    for start in range(0, len(items), 30):
        copies = [Stream.objects.using(database).get(pk=stream.pk) for _ in range(3)]
        results = in_threads(
            *(partial(fold_in, copy, items[start : start + 30]) for copy in copies)
        )
        assert sorted(type(result).__name__ for result in results) == [
            "Commit",
            "RevisionConflict",
            "RevisionConflict",
        ]
    check(stream, items)


def test_streams_in_one_table_commit_side_by_side(database: str, add_stream: Add) -> None:
    """Workers of different streams do not disturb each other's rows, letters or counters."""
    streams = [add_stream(using=database) for _ in range(3)]
    histories = [random_items(seed, 60) for seed in range(3)]

    def consume(stream: Stream, items: list[Any]) -> None:
        # MariaDB scans the whole of so small a table, and locks what it scans: of two transactions
        # that meet there, one has to be retried, as the loop does.
        for start in range(0, len(items), 6):
            retry_on_deadlocks(partial(fold_in, stream, items[start : start + 6]))

    assert (
        in_threads(*(partial(consume, *pair) for pair in zip(streams, histories, strict=True)))
        == [None] * 3
    )
    for stream, items in zip(streams, histories, strict=True):
        check(stream, items)


def test_a_worker_frozen_in_its_transaction_blocks_nobody(
    server_database: str, add_stream: Add, settings: Any
) -> None:
    """The server ends its transaction before the lease ends, and when it wakes it commits
    nothing.
    """
    settings.DURABLE_STATE = {"LEASE_SECONDS": 2}
    stream = add_stream(using=server_database)
    frozen = Stream.objects.using(server_database).get(pk=stream.pk)
    old = leases.acquire(stream, "elsewhere:1:a:x")
    inside, wake = threading.Event(), threading.Event()

    def freeze(execute: Any, sql: str, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if sql.startswith(("INSERT", "COPY")) and "app_message" in sql:
            inside.set()
            wake.wait(20)
        return result

    def sleep_inside() -> None:
        with connections[server_database].execute_wrapper(freeze):
            fold_in(frozen, [insert("message", "a", {"text": "old"})], old)

    def take_over() -> float:
        assert inside.wait(10)
        started = time.monotonic()
        while (new := leases.acquire(stream, "elsewhere:2:b:y")) is None:
            time.sleep(0.1)
        fold_in(stream, [insert("message", "a", {"text": "new"})], new)
        wake.set()
        return time.monotonic() - started

    frozen_outcome, seconds = in_threads(sleep_inside, take_over)
    assert isinstance(frozen_outcome, Error), frozen_outcome
    assert isinstance(seconds, float), seconds
    assert seconds < 4
    assert Message.objects.using(server_database).get(room=stream.name).text == "new"
    entries = FeedEntry.objects.using(server_database).filter(stream=stream)
    assert list(entries.values_list("revision", flat=True)) == [1]


@pytest.mark.parametrize("ending", ["commit", "error"])
def test_a_commit_leaves_its_connection_as_it_was(database: str, ending: str) -> None:
    """Timeouts for the commit are not left on a connection that the application continues to
    use.
    """
    asked = {
        "default": "PRAGMA busy_timeout",
        "postgres": "SELECT current_setting('lock_timeout'),"
        " current_setting('idle_in_transaction_session_timeout')",
        "mysql": "SELECT @@SESSION.innodb_lock_wait_timeout, @@SESSION.wait_timeout,"
        " @@SESSION.idle_transaction_timeout",
    }[database]
    connection = connections[database]
    if database == "mysql" and not connection.mysql_is_mariadb:  # type: ignore[attr-defined]
        asked = asked.rpartition(",")[0]

    def ask() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(asked)
            return cursor.fetchall()

    before = ask()
    try:
        with commit_transaction(database):
            if database != "default":
                assert ask() != before
            if ending == "error":
                raise ValueError
    except ValueError:
        pass
    assert ask() == before


def test_a_transaction_that_was_idle_for_too_long_is_tried_again(server_database: str) -> None:
    """Whatever a database calls it: it does not count as a refusal of the batch, several of
    which would halt the stream.
    """

    def dawdle() -> None:
        with commit_transaction(server_database):
            Stream.objects.using(server_database).exists()
            time.sleep(1.5)
            Stream.objects.using(server_database).exists()

    with pytest.raises(Error) as ended:
        dawdle()
    connections[server_database].close()
    assert is_outage(ended.value)
