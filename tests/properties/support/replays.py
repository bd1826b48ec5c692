"""Sends a stream again in each possible way, and checks that nothing is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connections, models
from django.test import TestCase

from durable_state.models import DeadLetter, FeedEntry, Stream
from durable_state.signals import changes_committed
from tests.tables import apply_batch, replay
from tests.wire import END, RESET, START

__all__ = ["WAYS", "Way", "check_replays"]


Way = Callable[[Stream, list[bytes], Callable[[Sequence[Any]], None]], None]


@contextmanager
def nothing_written(stream: Stream, *tables: type[models.Model]) -> Iterator[None]:
    """No statement writes the tables, no row moves, no entry of the feed lists a change, and
    nobody is told of one.
    """
    alias = stream.using
    names = "|".join(re.escape(table._meta.db_table) for table in tables)
    writes = re.compile(rf"\s*(?!SELECT\b).*\b({names})\b", re.DOTALL | re.IGNORECASE)
    told: list[Any] = []
    before, revision = [rows(table, alias) for table in tables], stream.revision

    def watch(execute: Any, sql: str, *rest: Any) -> Any:
        assert not writes.match(sql), sql
        return execute(sql, *rest)

    def hear(sender: Any, **facts: Any) -> None:
        told.append((sender, facts))

    changes_committed.connect(hear)
    try:
        with (
            TestCase.captureOnCommitCallbacks(using=alias, execute=True),
            connections[alias].execute_wrapper(watch),
        ):
            yield
    finally:
        changes_committed.disconnect(hear)
    assert told == []
    entries = FeedEntry.objects.using(alias).filter(stream=stream, revision__gt=revision)
    assert {(bytes(entry.changes), entry.snapshot) for entry in entries} == {(b"[]", False)}
    assert [rows(table, alias) for table in tables] == before


def rows(table: type[models.Model], alias: str) -> list[Any]:
    """All columns of all rows; on PostgreSQL also the version of the row, and its place on disk."""
    where = "xmin, ctid, " if alias == "postgres" else ""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            f"SELECT {where}{table._meta.db_table}.* FROM {table._meta.db_table} ORDER BY"
            f" {table._meta.pk.column}"
        )
        return list(cursor.fetchall())


def once_more(
    stream: Stream, messages: list[bytes], bring: Callable[[Sequence[Any]], None]
) -> None:
    """The same changes again."""
    bring(messages)


def as_a_snapshot(
    stream: Stream, messages: list[bytes], bring: Callable[[Sequence[Any]], None]
) -> None:
    """A complete dump of the current state."""
    bring([START, *messages, END])


def after_a_reset(
    stream: Stream, messages: list[bytes], bring: Callable[[Sequence[Any]], None]
) -> None:
    """Everything is void, and comes again."""
    bring([RESET, *messages])


def as_a_snapshot_after_a_reset(
    stream: Stream, messages: list[bytes], bring: Callable[[Sequence[Any]], None]
) -> None:
    """Both."""
    bring([RESET, START, *messages, END])


def from_the_start(
    stream: Stream, messages: list[bytes], bring: Callable[[Sequence[Any]], None]
) -> None:
    """The verb `reset`."""
    replay(stream.name, stream.using)
    stream.refresh_from_db()
    bring(messages)


WAYS = [once_more, as_a_snapshot, after_a_reset, as_a_snapshot_after_a_reset, from_the_start]


def check_replays(
    alias: str,
    messages: list[bytes],
    sizes: Iterator[int],
    *tables: type[models.Model],
    ways: Sequence[Way] = WAYS,
) -> Stream:
    """Sends the messages, then again in each way; yields the stream, with the state it left."""
    stream = Stream.objects.using(alias).create(name="office", url="http://tests.invalid/office")

    def bring(some: Sequence[Any]) -> None:
        left = list(some)
        while left:
            batch, left = left[: (size := next(sizes))], left[size:]
            apply_batch(stream, batch, not left)

    bring(messages)
    assert (
        sum(len(rows(table, alias)) for table in tables) > 0
        or DeadLetter.objects.using(alias).exists()
    )
    for way in ways:
        with nothing_written(stream, *tables):
            way(stream, messages, bring)
    return stream
