"""What `write` puts into the log, and what `entries` returns of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.test.utils import CaptureQueriesContext

from durable_state.feed import FeedTxid, LoggedChange, compose, write
from durable_state.feed.frames import stream_identity
from durable_state.feed.log import entries, unpack_bell
from durable_state.models import FeedEntry
from tests.app.models import Person, Room
from tests.app.state_mappings import MessageMapping

from .support.commits import commit, make_stream, message

pytestmark = pytest.mark.django_db(transaction=True)
every_database = pytest.mark.django_db(transaction=True, databases="__all__")


def changes_of(revision: int, using: str = "default") -> list[Any]:
    return list(json.loads(bytes(FeedEntry.objects.using(using).get(revision=revision).changes)))


@every_database
def test_few_changes_keep_their_committed_values(database: str) -> None:
    """Upserted rows are logged with their value as `represent` gives it, deleted ones without."""
    stream = make_stream(using=database)
    commit(stream, {("message", "a"): message("one"), ("setting", "s"): None})
    commit(
        stream,
        {
            ("message", "a"): message("two", 3),
            ("setting", "s"): [1, {"x": None}],
            ("message", "b"): None,
        },
    )
    assert changes_of(2, database) == [
        ["message", "a", "update", message("two", 3)],
        ["setting", "s", "update", [1, {"x": None}]],
        ["message", "b", "delete"],
    ]


def test_many_changes_keep_only_keys(configure: Callable[..., None]) -> None:
    """Beyond feed_value_rows, an entry needs no read of rows and holds no values."""
    configure(FEED_VALUE_ROWS=2)
    stream = make_stream()
    commit(stream, {("message", str(n)): message("x") for n in range(3)})
    assert changes_of(1) == [["message", str(n), "update"] for n in range(3)]


def test_too_many_changes_are_a_snapshot(configure: Callable[..., None]) -> None:
    """Beyond feed_entry_rows, and if the caller says so, the entry tells subscribers to take a
    snapshot.
    """
    configure(FEED_ENTRY_ROWS=2)
    stream = make_stream()
    commit(stream, {("message", str(n)): message("x") for n in range(3)})
    commit(stream, {("message", "n"): message("x")}, snapshot=True)
    assert [(each.snapshot, each.changes) for each in entries(stream.pk, 0, "default")] == [
        (True, []),
        (True, []),
    ]


def test_large_values_stay_out_of_the_log() -> None:
    """Values beyond 256 KB are read from the rows when served; the bell carries no entry beyond
    8 KB.
    """
    stream = make_stream()
    _, small = commit(stream, {("setting", "s"): "x" * 1000})
    _, larger = commit(stream, {("setting", "s"): "x" * 10_000})
    commit(stream, {("setting", "s"): "x" * 300_000})
    assert len(changes_of(2)[0]) == 4
    assert len(changes_of(3)[0]) == 3
    assert len(small) <= 8192
    assert larger == b""


def test_compressed_transaction_ids_stay_out_of_the_bell() -> None:
    """However short they are then: a bell is text."""
    stream = make_stream()
    txids = [("t" * 900, "message", str(number)) for number in range(80)]
    entry = compose(stream, 1, [], txids=txids, up_to_date=True)
    assert len(entry.columns["txids"]) < 8192
    assert entry.payload == b""


def test_an_upsert_without_row_is_a_delete() -> None:
    """A change that left no row to show (parked, say) is reported as a delete."""
    stream = make_stream()
    commit(
        stream,
        {},
        tell=[
            LoggedChange("message", "ghost", "update"),
            LoggedChange("nobody-maps-this", "x", "update"),
        ],
    )
    assert changes_of(1) == [["message", "ghost", "delete"], ["nobody-maps-this", "x", "delete"]]


def test_values_cost_one_query_per_type(django_assert_max_num_queries: Any) -> None:
    """Parents whose keys are shown are read by the children's query."""
    stream = make_stream()
    room = Room.objects.create(title="r", stream=stream)
    boss = Person.objects.create(room=room, key="boss")
    for n in range(20):
        Person.objects.create(room=room, key=str(n), email=f"{n}@x", boss=boss)
    changes = [LoggedChange("person", str(n), "update") for n in range(20)]
    with CaptureQueriesContext(connections["default"]) as queries, transaction.atomic():
        write(stream, compose(stream, 1, changes, txids=(), up_to_date=True))
    assert (
        len(
            [
                each
                for each in queries.captured_queries
                if each["sql"].startswith('SELECT "app_person"')
            ]
        )
        == 1
    )
    assert changes_of(1)[5] == ["person", "5", "update", {"email": "5@x", "boss": "boss"}]


def test_a_value_that_cannot_be_read_back_stays_out_of_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lone surrogate, which JSON can spell and msgspec refuses: the entry can be read, and the
    row is read when it is served. A text that only looks like one is kept.
    """
    texts = {"a": "\ud800", "b": r"\ud800", "c": "\U0001f600"}
    monkeypatch.setattr(MessageMapping, "represent", lambda self, row: texts[row.key])
    stream = make_stream()
    _, payload = commit(stream, {("message", key): message("x") for key in texts})
    assert changes_of(1) == [
        ["message", "a", "update"],
        ["message", "b", "update", texts["b"]],
        ["message", "c", "update", texts["c"]],
    ]
    (entry,) = entries(stream.pk, 0, "default")
    assert [each.key for each in entry.changes] == ["a", "b", "c"]
    bell = unpack_bell(payload.decode(), stream_identity(stream))
    assert bell is not None
    assert [each.key for each in bell.changes] == ["a", "b", "c"]


@every_database
def test_a_failing_represent_spoils_no_commit(
    monkeypatch: pytest.MonkeyPatch, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What `represent` raises, database errors included, is logged; the commit goes through with
    keys only.
    """

    def bad(self: Any, row: Any) -> Any:
        with connections[database].cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")

    monkeypatch.setattr(MessageMapping, "represent", bad)
    stream = make_stream(using=database)
    commit(stream, {("message", "a"): message("one")})
    assert changes_of(1, database) == [["message", "a", "update"]]
    assert "could not be represented" in caplog.text


def test_one_revision_has_one_entry() -> None:
    """No number is used twice, whoever writes."""
    stream = make_stream()
    commit(stream, {})
    with pytest.raises(IntegrityError), transaction.atomic():
        write(stream, compose(stream, 1, [], txids=(), up_to_date=True))


def test_entries_end_at_a_hole() -> None:
    """Only entries without a gap are returned, so that nobody skips a commit unknowingly."""
    stream = make_stream()
    for n in range(6):
        told = FeedTxid(str(n), "message", "a")
        commit(stream, {}, txids=[told], up_to_date=n == 5)
    FeedEntry.objects.filter(revision=4).delete()
    assert [each.revision for each in entries(stream.pk, 0, "default")] == [1, 2, 3]
    assert entries(stream.pk, 3, "default") == []
    assert [
        (each.revision, each.txids, each.up_to_date) for each in entries(stream.pk, 4, "default")
    ] == [
        (5, [("4", "message", "a")], False),
        (6, [("5", "message", "a")], True),
    ]


def test_the_bell_takes_the_entry_along() -> None:
    """A small entry travels with the bell; another stream's, or junk, is not taken for ours."""
    stream = make_stream()
    _, payload = commit(stream, {("message", "a"): message("one")}, txids=["t"])
    entry = unpack_bell(payload.decode(), stream_identity(stream))
    assert entry is not None
    assert (entry.revision, entry.changes[0].key) == (1, "a")
    assert entry.txids == [("t", "message", "a")]
    assert unpack_bell(payload.decode(), "1-other") is None
    assert unpack_bell("junk", stream_identity(stream)) is None


def test_very_many_transactions_are_listed_all_the_same(database: str) -> None:
    """They are stored compressed; the entry's size is that of the served data."""
    stream = make_stream(using=database)
    told = [(f"transaction {number}", "message", f"m{number}") for number in range(5000)]
    with transaction.atomic(using=database):
        write(stream, compose(stream, 1, [], txids=told, up_to_date=True))
    (entry,) = entries(stream.pk, 0, database)
    assert entry.txids == told
    assert len(FeedEntry.objects.using(database).get().txids) < entry.size
