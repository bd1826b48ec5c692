"""Lag is measured: what is said about a stream while something keeps its rows from being
complete.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from durable_state import operations
from durable_state.consumer.lag import Lag
from durable_state.consumer.run import consume_slice
from durable_state.errors import Unavailable
from durable_state.models import Lease, Status, Stream
from durable_state.operations import StreamReport
from tests.app.state_mappings import ScoreMapping
from tests.servers.misbehaving import Asked, MisbehavingServer, Reply
from tests.servers.process import StreamServer
from tests.wire import insert

from .support.consuming import consuming, in_threads, is_live, wait_until
from .support.remote import RemoteStream
from .support.serving import good, quiet

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    """More than 0.67 s is lag, and more than 3 s is stuck."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 2, "STUCK_SECONDS": 3}


@contextmanager
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Scores are prepared once the event is set."""
    go_on, prepare = threading.Event(), ScoreMapping.prepare

    def wait(self: ScoreMapping, change: Any) -> Any:
        assert go_on.wait(20)
        return prepare(self, change)

    monkeypatch.setattr(ScoreMapping, "prepare", wait)
    try:
        yield go_on
    finally:
        go_on.set()


def seen(stream: Stream, status: str) -> StreamReport:
    """Returns the report once it has this status."""
    wait_until(lambda: operations.report(stream).status == status)
    return operations.report(stream)


def long_quiet(stream: Stream) -> None:
    """Nothing has come for an hour; the stream's holder is still there."""
    hour_ago = timezone.now() - HOUR
    Stream.objects.filter(pk=stream.pk).update(
        created_at=hour_ago, since=hour_ago, up_to_date_at=hour_ago
    )


def test_what_was_read_and_is_not_committed_is_lag(
    reference_server: StreamServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    """It grows from the arrival of the oldest message, says why, and ends with the commit."""
    # A call that hangs for a lease time is given up, which is tested elsewhere.
    settings.DURABLE_STATE = {"LEASE_SECONDS": 8, "STUCK_SECONDS": 4}
    remote = RemoteStream(reference_server.stream())
    stream = add_stream(remote.url)
    with held_up(monkeypatch) as go_on, consuming(stream):
        wait_until(lambda: is_live(stream))
        long_quiet(stream)
        wait_until(lambda: operations.report(stream).lag_seconds == 0)

        remote.append([insert("score", "1", {"points": 1})])
        report = seen(stream, "lagging")
        assert not report.stuck
        assert report.why.endswith("is not committed yet")
        assert "prepare" in report.action
        assert 2 < report.lag_seconds < 4

        wait_until(lambda: operations.report(stream).stuck)
        assert operations.report(stream).lag_seconds < 10

        go_on.set()
        report = seen(stream, "live")
        wait_until(lambda: operations.report(stream).lag_seconds == 0)
    assert Stream.objects.get().applied_count == 1


def test_who_takes_over_does_not_say_that_nothing_has_come(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """The rows were up to date when the last worker left; the server has not answered since."""
    replies = good([])
    misbehaving_server.reply = lambda asked: quiet(asked, replies)
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    with consuming(stream):
        wait_until(lambda: is_live(stream))
    operations.resume(stream, actor="test")
    long_quiet(stream)
    Lease.objects.update(seen_at=timezone.now() - HOUR, lags_since=None)
    assert operations.report(stream).status == "no-worker"

    misbehaving_server.reply = lambda asked: replace(
        replies(asked), silent=True, framing="chunked", pieces=()
    )
    with consuming(stream):
        report = seen(stream, "lagging")
        assert report.lag_seconds == pytest.approx(3600, abs=10)
        assert (report.stuck, bool(report.holder)) == (False, True)
        assert "has not reached the tail yet" in report.why
        misbehaving_server.reply = lambda asked: quiet(asked, replies)
        misbehaving_server.abort()
        wait_until(lambda: operations.report(stream).lag_seconds == 0)
        assert operations.report(stream).status == "live"


def test_an_outage_is_lag_from_its_beginning(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """Not from the last event of a stream that was quiet before."""
    replies = good([])
    misbehaving_server.reply = lambda asked: quiet(asked, replies)
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        long_quiet(stream)
        misbehaving_server.reply = lambda asked: Reply(503)
        misbehaving_server.abort()
        wait_until(lambda: operations.report(stream).stuck)
        report = operations.report(stream)
        assert (report.status, report.why[:11]) == ("retrying", "failing for")
        assert 2 < report.lag_seconds < 20


def test_a_connection_that_is_silent_for_too_long_is_lag(
    misbehaving_server: MisbehavingServer, add_stream: Add, settings: Any
) -> None:
    """From the last sign of the server, even before anything is known to have failed."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 2}
    replies, is_gone = good([]), threading.Event()

    def reply(asked: Asked) -> Reply:
        is_silent = "live" in asked.query or is_gone.is_set()
        return replace(replies(asked), head_pause=60 if is_silent else 0)

    misbehaving_server.reply = reply
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll", heartbeat_seconds=3)
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        wait_until(lambda: operations.report(stream).lag_seconds == 0)
        is_gone.set()  # from now on, nobody answers any request
        report = seen(stream, "lagging")
        assert report.why.startswith("nothing was heard from the server for ")
        assert 2.5 < report.lag_seconds < 6


def test_a_stream_that_the_server_does_not_have_is_missing(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """Nobody has to act at first: its writer may be about to create it."""
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    with consuming(stream):
        report = seen(stream, "missing")
        assert not report.stuck
        assert "answered 404" in report.last_error
        assert "created" in report.action
        wait_until(lambda: operations.report(stream).stuck)
        report = operations.report(stream)
        assert (report.status, report.why[:11]) == ("missing", "missing for")

        replies = good([])
        misbehaving_server.reply = lambda asked: quiet(asked, replies)
        operations.resume(stream, actor="test")
        assert seen(stream, "live").last_error == ""


def test_a_quiet_stream_that_changes_hands_is_never_missed(
    misbehaving_server: MisbehavingServer, add_stream: Add, settings: Any
) -> None:
    """Slice after slice, each check says that it is live, and by how little it may lag."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 30, "SLICE_SECONDS": 0.4}
    replies = good([])
    misbehaving_server.reply = lambda asked: quiet(asked, replies)
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    consume_slice("default")
    assert is_live(stream)
    long_quiet(stream)
    looks: list[StreamReport] = []

    def consume() -> None:
        for _ in range(4):
            consume_slice("default")

    def look() -> None:
        until = timezone.now() + timedelta(seconds=2)
        while timezone.now() < until:
            looks.append(operations.report(stream))

    assert in_threads(consume, look) == [None, None]
    assert {(each.status, each.stuck) for each in looks} == {("live", False)}
    assert max(each.lag_seconds for each in looks) < 10
    assert all(each.holder for each in looks)


def test_nothing_is_written_of_a_stream_that_does_not_lag(add_stream: Add) -> None:
    """The same for one that catches up: its lag is written with its lease."""
    lag = Lag(add_stream(), token=1)
    assert not lag.is_news
    lag.settle(at_tail=True, waiting_since=None)
    assert lag.is_news
    assert lag.note().seconds is None
    assert not lag.is_news

    # A batch that is committed at once is not worth a statement.
    lag.begin(time.monotonic(), Lease.Lag.COMMIT)
    assert not lag.is_news
    assert lag.has_changed
    lag.settle(at_tail=True, waiting_since=None)
    assert not lag.is_news
    assert not lag.has_changed


def test_a_stopped_worker_leaves_word_of_what_it_had_in_hand(
    misbehaving_server: MisbehavingServer, add_stream: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the next one, and whoever checks until then, know since when the rows lag."""
    replies = good([])
    misbehaving_server.reply = lambda asked: quiet(asked, replies)
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        misbehaving_server.reply = lambda asked: Reply(503)
        misbehaving_server.abort()
        wait_until(lambda: Stream.objects.get().status == Status.RETRYING)
    lease = Lease.objects.get()
    assert lease.seat is None
    assert lease.lags_since is not None
    assert lease.seen_at is not None
    assert lease.lags_since < lease.seen_at


def test_a_lock_is_blamed_for_as_long_as_it_is_in_the_way(add_stream: Add) -> None:
    """Not once a batch went through, nor if the server is the problem by then."""
    lag = Lag(add_stream(), 1)
    locked = OperationalError("database is locked")
    lag.settle(at_tail=True, waiting_since=None)

    lag.lose_touch(locked)
    assert lag.note().because == Lease.Lag.LOCKED
    lag.settle(at_tail=False, waiting_since=None)
    assert lag.note().because == Lease.Lag.COMMIT

    lag.lose_touch(locked)
    lag.lose_touch(Unavailable("The server does not answer.", "Retrying automatically."))
    assert lag.note().because == Lease.Lag.SILENCE


def test_live_requests_that_keep_failing_do_not_look_live_in_between(
    misbehaving_server: MisbehavingServer, add_stream: Add
) -> None:
    """The GET before each of them finds nothing new, which says nothing about the next one."""
    replies = good()
    misbehaving_server.reply = lambda asked: Reply(500) if "live" in asked.query else replies(asked)
    stream = add_stream(misbehaving_server.url + "/s", live="long-poll")
    with consuming(stream):
        wait_until(lambda: Stream.objects.get().failures == 2, 20)
        revision = Stream.objects.get().revision
        wait_until(lambda: Stream.objects.get().failures == 3, 20)
        later = Stream.objects.get()
    assert (later.status, later.revision) == (Status.RETRYING, revision)
