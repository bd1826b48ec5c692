"""Consumes from real servers: whatever they hold and however it arrives, the rows equal the
fold.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from durable_state import operations
from durable_state.consumer import cleanup
from durable_state.consumer.run import sync
from durable_state.consumer.watcher import Watcher
from durable_state.errors import OperationRefused
from durable_state.materializer.staged import generations
from durable_state.models import DeadLetter, Generation, Progress, Replay, Status, Stream
from tests import leases
from tests.app.models import Message
from tests.servers.process import StreamServer
from tests.tables import check, rows_of
from tests.wire import insert

from .support.consuming import Running, consuming, wait_until
from .support.remote import RemoteStream, random_groups, random_items

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]
LIVE = ["sse", "long-poll"]


def ordinal(stream: Stream) -> int:
    """How many messages were committed."""
    return Stream.objects.using(stream.using).values_list("ordinal", flat=True).get(pk=stream.pk)


def is_live(stream: Stream) -> bool:
    """Whether the tail was reached."""
    return Stream.objects.filter(pk=stream.pk, status=Status.LIVE).exists()


@pytest.mark.parametrize("rows", [1, 7, 5000])
def test_any_batch_size_gives_the_fold(
    stream_server: StreamServer, add_stream: Add, settings: Any, rows: int
) -> None:
    """Rows, letters, counters and feed, after a catch-up that was stopped and resumed again and
    again.
    """
    settings.DURABLE_STATE = {"BATCH_ROWS": rows}
    remote = RemoteStream(stream_server.stream())
    for group in random_groups(random_items(rows, 120), rows):
        remote.append(group)
    stream, commits = add_stream(remote.url), 0

    def stop_now_and_then(at: Progress) -> None:
        nonlocal commits
        commits += 1
        if commits % 3 == 0:
            os.kill(os.getpid(), signal.SIGINT)

    while ordinal(stream) < 120:
        before = ordinal(stream)
        sync(stream, until_up_to_date=True, watcher=Watcher(progressed=stop_now_and_then))
        assert ordinal(stream) > before
    sync(stream, until_up_to_date=True)
    check(stream, remote.items)
    assert stream.status == Status.LIVE
    assert not leases.holders()


@pytest.mark.parametrize("live", LIVE)
def test_what_is_appended_is_shown_at_once(
    stream_server: StreamServer, add_stream: Add, live: str
) -> None:
    """In a thread, where signals cannot be caught; first one append at a time, then many in
    quick succession.
    """
    remote = RemoteStream(stream_server.stream())
    stream = add_stream(remote.url, live=live)
    items = random_items(len(live), 150)
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        for text in ("hi", "ünï😀"):
            remote.append([insert("message", "a", {"text": text})])
            shown = Message.objects.filter(room=stream.name, text=text)
            wait_until(shown.all().exists, 3)
        for group in random_groups(items, len(live), 30):
            remote.append(group)
            time.sleep(0.02)
        wait_until(lambda: ordinal(stream) == 152)
    check(stream, remote.items)


@pytest.mark.parametrize("live", LIVE)
def test_an_operator_is_noticed_while_nothing_happens(
    reference_server: StreamServer, add_stream: Add, live: str
) -> None:
    """Pause ends the consumer, resume lets it continue, reset folds again; all on a quiet
    stream.
    """
    remote = RemoteStream(reference_server.stream())
    remote.append(random_items(5, 60))
    stream = add_stream(remote.url, live=live)
    running = Running(stream)
    wait_until(lambda: is_live(stream))
    operations.pause(stream, actor="test")
    assert "is paused" in str(running.end(5))
    operations.resume(stream, actor="test")
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        stream.refresh_from_db()
        pks, revision = rows_of(stream, pks=True), stream.revision
        stray = Message.objects.create(room=stream.name, key="stray", text="not in the stream")
        operations.reset(stream, actor="test")
        wait_until(lambda: not Replay.objects.exists(), 5)
        assert not Message.objects.filter(pk=stray.pk).exists()
        assert rows_of(stream, pks=True) == pks
        stream.refresh_from_db()
        assert stream.revision > revision
    check(stream, remote.items)


def test_a_removed_stream_ends_its_consumer(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """With one clear line."""
    remote = RemoteStream(reference_server.stream())
    remote.append(random_items(5, 20))
    stream = add_stream(remote.url)
    running = Running(stream)
    wait_until(lambda: is_live(stream))
    operations.remove(Stream.objects.get(), actor="test")
    error = running.end(5)
    assert isinstance(error, OperationRefused), error
    assert stream.name in str(error)
    assert not Message.objects.exists()


@pytest.mark.parametrize("live", LIVE)
def test_a_closed_stream_is_complete(
    stream_server: StreamServer, add_stream: Add, live: str
) -> None:
    """The consumer ends by itself."""
    remote = RemoteStream(stream_server.stream())
    remote.append(random_items(1, 30))
    stream = add_stream(remote.url, live=live)
    running = Running(stream)
    wait_until(lambda: is_live(stream))
    remote.append(random_items(2, 30))
    remote.close()
    assert running.end() is None
    check(stream, remote.items)
    assert (stream.status, stream.last_error) == (Status.CLOSED, "")
    assert operations.report(stream).lag_seconds == 0


@pytest.mark.parametrize("live", LIVE)
def test_a_deleted_stream_keeps_its_rows(
    stream_server: StreamServer, add_stream: Add, live: str
) -> None:
    """It is requested, slowly; if it is created again it is another stream, which replaces the
    rows in one switch.
    """
    # The reference server leaves the event streams of a deleted stream open, and silent.
    remote = RemoteStream(stream_server.stream())
    remote.append(
        [*random_items(3, 50), {"type": "message", "key": "a", "headers": {"operation": "odd"}}]
    )
    stream = add_stream(remote.url, live=live, heartbeat_seconds=2)
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        before = rows_of(stream)
        assert before
        remote.delete()
        wait_until(lambda: "404" in operations.report(stream).last_error)
        report = operations.report(stream)
        assert (report.status, report.stuck) == ("missing", False)
        assert "kept" in report.action
        assert rows_of(stream) == before
        remote.create()
        remote.append(random_items(4, 40))
        wait_until(
            lambda: Stream.objects.filter(pk=stream.pk, status=Status.LIVE, ordinal=40).exists()
        )
    check(stream, remote.items)


@pytest.mark.parametrize("others", [0, 1, 51, 90])
def test_another_stream_under_the_url_is_noticed_at_the_next_start(
    reference_server: StreamServer, add_stream: Add, others: int
) -> None:
    """However long it is; nothing of the old one is left, not even letters of items that named
    no entity.
    """
    remote = RemoteStream(reference_server.stream())
    remote.append(
        [*random_items(3, 50), {"type": "message", "key": "a", "headers": {"operation": "odd"}}]
    )
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    check(stream, remote.items)
    remote.delete()
    remote.create()
    if others:
        remote.append(random_items(6, others))
    sync(stream, until_up_to_date=True)
    check(stream, remote.items)


def test_a_stream_that_is_no_json_halts(stream_server: StreamServer, add_stream: Add) -> None:
    """One clear line, and no request until somebody resumes it."""
    remote = RemoteStream(stream_server.stream(), "text/plain")
    stream = add_stream(remote.url)
    for _ in range(2):
        with pytest.raises(OperationRefused, match="application/json") as refused:
            sync(stream, until_up_to_date=True)
        assert "\n" not in str(refused.value)
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("halted", True)
    assert "text/plain" in report.last_error
    assert "Check the URL" in report.action


def test_replaying_many_letters_does_not_count_them_twice(
    reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """A reset of a stream below DEAD_LETTER_LIMIT stays below it."""
    settings.DURABLE_STATE = {"DEAD_LETTER_LIMIT": 12, "BATCH_ROWS": 4}
    remote = RemoteStream(reference_server.stream())
    remote.append(
        [insert("message", f"k{n}", {"text": "x" * 21}) for n in range(10)]
        + [insert("message", "good", {"text": ""})]
    )
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    operations.reset(stream, actor="test")
    sync(stream, until_up_to_date=True)
    assert (stream.status, stream.ordinal, stream.dead_letter_count) == (Status.LIVE, 11, 10)
    assert DeadLetter.objects.filter(stream=stream).count() == 10


def test_another_url_is_noticed_while_the_old_one_is_busy(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """A commit updates the consumer's copy of the stream, including the new URL; what it reads
    is still the old one.
    """
    old, new = RemoteStream(reference_server.stream()), RemoteStream(reference_server.stream())
    new.append([insert("message", "new", {"text": "elsewhere"})])
    stream = add_stream(old.url)
    with consuming(stream):
        until = time.monotonic() + 15
        while not Message.objects.filter(key="new").exists():
            assert time.monotonic() < until, "the old URL is still read"
            old.append([insert("message", "old", {"text": "more"})])
            if Message.objects.exists():
                Stream.objects.filter(pk=stream.pk).update(url=new.url)
    assert [message.key for message in Message.objects.all()] == ["new"]


def test_what_a_switch_has_left_holds_up_no_event(
    reference_server: StreamServer, add_stream: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is deleted in steps, between commits, and all of it in the end."""
    monkeypatch.setattr(generations, "STEP", 20)
    monkeypatch.setattr(cleanup, "FEWEST", 20)
    monkeypatch.setattr(cleanup, "MOST", 20)
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", f"{number}", {"text": "one"}) for number in range(1500)])
    stream = add_stream(remote.url)
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        operations.reset(stream, actor="test")
        wait_until(lambda: Generation.objects.filter(purpose=Generation.Purpose.DROPPED).exists())
        remote.append([insert("message", "new", {"text": "event"})])
        wait_until(lambda: Message.objects.filter(key="new").exists())
        assert Generation.objects.exists()
        wait_until(lambda: not Generation.objects.exists())
    assert Message.objects.count() == 1501
