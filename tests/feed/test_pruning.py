"""The log stays within its bounds, however fast it grows, and nobody scans it for that."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections
from django.db.models.functions import Length
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from durable_state.consumer.run import sync
from durable_state.feed import FeedTxid, LogKeeper, prune, subscribe
from durable_state.models import FeedEntry, Status, Stream
from tests.consumer.support.remote import RemoteStream
from tests.servers.process import StreamServer
from tests.wire import insert

from .support.commits import commit, make_stream

pytestmark = pytest.mark.django_db(transaction=True)
every_database = pytest.mark.django_db(transaction=True, databases="__all__")


def revisions(stream: Stream) -> list[int]:
    log = FeedEntry.objects.using(stream.using).filter(stream=stream)
    return list(log.order_by("revision").values_list("revision", flat=True))


def commit_and_keep(stream: Stream, keeper: LogKeeper, **details: Any) -> None:
    commit(stream, {}, **details)
    stream.refresh_from_db()
    keeper.keep()


def age(stream: Stream, hours: int, **which: Any) -> None:
    log = FeedEntry.objects.using(stream.using).filter(stream=stream, **which)
    log.update(created_at=timezone.now() - datetime.timedelta(hours=hours))


def test_entries_go_as_they_come(database: str, configure: Callable[..., None]) -> None:
    """At any pace, the log is at most a tenth longer than FEED_KEEP_ROWS, without a gap, and
    another stream's is not touched.
    """
    configure(FEED_KEEP_ROWS=20)
    stream, other = make_stream("one", database), make_stream("other", database)
    for _ in range(30):
        commit(other, {})
    keeper = LogKeeper(stream)
    for number in range(1, 61):
        commit_and_keep(stream, keeper)
        kept = revisions(stream)
        assert kept == list(range(kept[0], number + 1))
        assert min(number, 20) <= len(kept) <= 22
    assert len(revisions(other)) == 30


def test_transaction_ids_count_as_bytes(database: str, configure: Callable[..., None]) -> None:
    """FEED_KEEP_BYTES bounds the stored log, give or take a sixteenth."""
    configure(FEED_KEEP_BYTES=16_000)
    stream = make_stream(using=database)
    keeper = LogKeeper(stream)
    log = FeedEntry.objects.using(database)
    lengths = log.annotate(length=Length("changes") + Length("txids"))
    for number in range(40):
        told = FeedTxid("t" * 900, "message", str(number))
        commit_and_keep(stream, keeper, txids=[told])
        kept = sum(lengths.values_list("length", flat=True))
        assert kept <= 16_000 + 1000 + 950
    assert kept > 14_000

    newest = log.latest("revision")
    assert newest.log_bytes == stream.log_bytes
    assert newest.log_bytes - log.earliest("revision").log_bytes == kept - lengths[0].length


def test_old_entries_of_a_busy_stream_go_with_its_commits(configure: Callable[..., None]) -> None:
    """Age is a bound like the others."""
    configure(FEED_KEEP_ROWS=20)
    stream = make_stream()
    for _ in range(6):
        commit(stream, {})
    age(stream, 2, revision__lte=5)
    commit_and_keep(stream, LogKeeper(stream))
    assert revisions(stream) == [6, 7]


def test_a_backlog_becomes_smaller(configure: Callable[..., None]) -> None:
    """A log that grew while the bounds were wider is back within them before it has grown by
    half.
    """
    stream = make_stream()
    for _ in range(120):
        commit(stream, {})
    configure(FEED_KEEP_ROWS=20)
    keeper = LogKeeper(stream)
    for _ in range(60):
        commit_and_keep(stream, keeper)
    assert len(revisions(stream)) <= 22


@every_database
def test_what_is_old_goes_whoever_wrote_it(database: str) -> None:
    """For all streams; the state after their last commit is known without its entry."""
    one, other = make_stream("one", database), make_stream("other", database)
    for stream in (one, other):
        for _ in range(3):
            commit(stream, {})
        age(stream, 2)
    commit(one, {})
    assert prune(database) == 6
    assert revisions(one) == [4]
    assert revisions(other) == []
    assert prune(database) == 0


def test_pruning_is_bounded() -> None:
    """What is left waits for the next call."""
    stream = make_stream()
    FeedEntry.objects.bulk_create(FeedEntry(stream=stream, revision=n) for n in range(2500))
    age(stream, 2)
    assert [prune("default", 2000), prune("default", 2000)] == [2000, 500]


@pytest.mark.parametrize(
    ("status", "up_to_date"),
    [(Status.LIVE, True), (Status.CLOSED, True), (Status.RETRYING, False)],
)
async def test_a_subscriber_needs_no_entry(status: str, up_to_date: bool) -> None:
    """If the newest entry is gone, the stream's status says whether it was up to date."""
    from asgiref.sync import sync_to_async

    stream = await sync_to_async(make_stream)()
    await sync_to_async(commit)(stream, {})
    await FeedEntry.objects.all().adelete()
    await Stream.objects.aupdate(status=status)
    async with subscribe(stream) as hub:
        await hub.refresh()
        assert (hub.revision, hub.up_to_date) == (1, up_to_date)


def test_no_query_scans_the_log(configure: Callable[..., None]) -> None:
    """Each statement of the pruning finds its rows by an index."""
    configure(FEED_KEEP_ROWS=20)
    stream = make_stream()
    for _ in range(40):
        commit(stream, {})
    age(stream, 2, revision__lte=3)
    stream.refresh_from_db()
    connection = connections["default"]
    with CaptureQueriesContext(connection) as queries:
        prune("default")
        LogKeeper(stream).keep()

    statements = [query["sql"] for query in queries.captured_queries]
    statements = [sql for sql in statements if sql.startswith(("SELECT", "DELETE"))]
    plans = []
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plans += [row[3] for row in cursor.fetchall()]
    assert len(statements) == 4
    assert all("USING" in plan for plan in plans), plans
    assert revisions(stream) == list(range(12, 41))


def test_who_consumes_prunes(
    rakaia_server: StreamServer, database: str, configure: Callable[..., None]
) -> None:
    """`sync` too: after a catch-up in commits of one message, the log holds its newest end, and
    the running total is correct.
    """
    configure(FEED_KEEP_ROWS=20, BATCH_ROWS=1, LEASE_SECONDS=5)
    remote = RemoteStream(rakaia_server.stream())
    remote.append([insert("message", str(n), {"text": "x"}) for n in range(70)])
    stream = Stream.objects.using(database).create(name="chat", url=remote.url)
    sync(stream, until_up_to_date=True)

    stream.refresh_from_db()
    kept = revisions(stream)
    assert stream.revision >= 70
    assert kept == list(range(kept[0], stream.revision + 1))
    assert 20 <= len(kept) <= 22
    newest = FeedEntry.objects.using(database).latest("revision")
    assert newest.log_bytes == stream.log_bytes > 70 * 20
