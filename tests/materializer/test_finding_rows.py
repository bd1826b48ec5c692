"""Rows are found by an index, however many others there are."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from durable_state.materializer.rows import rows
from durable_state.materializer.shown import placement
from durable_state.models import Stream
from durable_state.testing import apply
from tests.app.models import Message, Room
from tests.wire import END, START, change


@pytest.fixture
def crowd(database: str) -> str:
    """A table with 3,000 rows of one stream, and statistics of them."""
    apply(
        "crowd",
        [change("message", f"m{number}", text="x") for number in range(3000)],
        using=database,
    )
    with connections[database].cursor() as cursor:
        cursor.execute(f"ANALYZE {'TABLE ' if database == 'mysql' else ''}{Message._meta.db_table}")
    return database


def plan(using: str, statement: str) -> list[dict[str, Any]]:
    """The query plan, in a table that is too large to be read as a whole."""
    with connections[using].cursor() as cursor:
        if using == "postgres":
            cursor.execute("SET enable_seqscan = off")
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if using == 'default' else ''}{statement}")
        assert cursor.description is not None
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_no_statement_of_a_small_batch_looks_at_every_row(crowd: str) -> None:
    """Updates and deletions of a few keys, in a table of many."""
    table = Message._meta.db_table
    with CaptureQueriesContext(connections[crowd]) as queries:
        apply(
            "crowd",
            [change("message", f"m{n}", "update", text="y") for n in range(0, 60, 2)]
            + [change("message", f"m{n}", "delete") for n in range(1, 60, 2)],
            using=crowd,
        )
    assert Message.objects.using(crowd).filter(text="y").count() == 30
    assert Stream.objects.using(crowd).get(name="crowd").ordinal == 3060
    asked = [
        query["sql"]
        for query in queries
        if table in query["sql"]
        and query["sql"].startswith(("SELECT", "DELETE"))
        and " IN (" in query["sql"].replace("ANY(", "IN (")
    ]
    assert len(asked) >= 3
    for statement in asked:
        for step in plan(crowd, statement):
            text = " ".join(str(value) for value in step.values())
            match crowd:
                case "mysql":
                    assert step["table"] != table or int(step["rows"]) < 300, (statement, step)
                case "postgres":
                    assert f"Seq Scan on {table}" not in text, (statement, text)
                case _:
                    assert f"SCAN {table}" not in text, (statement, text)
                    assert table not in text or "=?" in text, (statement, text)


def test_what_stands_for_the_stream_is_looked_up_once(database: str) -> None:
    """A mapping that many streams share finds nothing for most of them, and asks once per
    commit.
    """
    apply("crowd", [change("message", "a", text="x")], using=database)
    with CaptureQueriesContext(connections[database]) as queries:
        apply("crowd", [START, change("message", "a", text="y"), END], using=database)
    assert sum(Room._meta.db_table in query["sql"] for query in queries) == 1


def test_rows_are_read_and_written_slice_by_slice(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a part of a large batch has its shown rows in memory at a time; each row is still
    written.
    """
    read: list[int] = []
    original = rows.read_rows

    def counted(plan: Any, keys: Any) -> Any:
        read.append(len(keys))
        return original(plan, keys)

    monkeypatch.setattr(placement, "SLICE", 25)
    monkeypatch.setattr(placement, "read_rows", counted)
    for text in ("x", "y"):
        applied = apply(
            "crowd",
            [change("message", f"m{number}", text=text) for number in range(60)],
            using=database,
        )
        assert applied == (60, 0, 0)
        assert Message.objects.using(database).filter(text=text).count() == 60
    assert read == [25, 25, 10] * 2
