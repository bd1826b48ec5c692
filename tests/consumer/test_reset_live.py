"""A reset beside the live reader: the rows continue, the rebuild catches up, and one transaction
shows it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from durable_state import operations
from durable_state.consumer import replay_target, runnable
from durable_state.consumer.run import sync
from durable_state.errors import OperationRefused
from durable_state.models import DeadLetter, Generation, Replay, StagedChange, Status, Stream
from tests.app.models import Message
from tests.servers.process import StreamServer
from tests.tables import check, rows_of
from tests.wire import encode, insert

from .support.consuming import Running, consuming, is_live, replay_of, start_worker, wait_until
from .support.remote import RemoteStream, random_groups, random_items

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]

MANY = 400


def shows(stream: Stream, items: list[Any]) -> bool:
    """Whether the messages are those of a stream of inserts."""
    rows = Message.objects.using(stream.using).filter(room=stream.name)
    return dict(rows.values_list("key", "text")) == {
        item["key"]: item["value"]["text"] for item in items
    }


def test_events_are_shown_while_a_reset_is_under_way(
    database: str, reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """Neither waits for the other, and the rows keep their primary keys."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "BATCH_ROWS": 2}
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", f"{number}", {"text": "one"}) for number in range(MANY)])
    stream = add_stream(remote.url, using=database)
    rows = Message.objects.using(database)
    shown_meanwhile = 0
    with consuming(stream):
        wait_until(lambda: is_live(stream), 60)
        pks = dict(rows.values_list("key", "pk"))
        stray = rows.create(room=stream.name, key="stray", text="not in the stream")
        operations.reset(stream, actor="test")
        for number in range(MANY, MANY + 20):
            remote.append([insert("message", f"{number}", {"text": "two"})])
            wait_until(lambda key=f"{number}": rows.filter(key=key).exists())  # type: ignore[misc]
            shown_meanwhile += rows.filter(pk=stray.pk).exists()
        wait_until(lambda: replay_of(stream) is None, 60)
        remote.append([insert("message", "after", {"text": "three"})])
        wait_until(lambda: rows.filter(key="after").exists())
    assert shown_meanwhile >= 2, "the reset was over before anything could come beside it"
    assert not rows.filter(key="stray").exists()
    assert dict(rows.filter(key__in=pks).values_list("key", "pk")) == pks
    assert shows(stream, remote.items)


def test_a_reset_catches_up_with_a_busy_stream(
    file_or_server: str,
    reference_server: StreamServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However often the live reader is ahead when the tail is reached."""
    monkeypatch.setattr(replay_target, "MISSED_SECONDS", 0.01)
    remote = RemoteStream(reference_server.stream())
    remote.append(random_items(3, 100))
    stream = add_stream(remote.url, using=file_or_server)
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        for seed in range(3):
            operations.reset(stream, actor="test")
            until = time.monotonic() + 30
            while replay_of(stream) is not None:
                assert time.monotonic() < until, "it never catches up"
                remote.append(random_items(random.Random().randrange(10**6), 3))
            assert seed < 3
        wait_until(
            lambda: (
                Stream.objects.using(file_or_server).get(pk=stream.pk).ordinal == len(remote.items)
            )
        )
    check(stream, remote.items)


def test_a_reset_ends_where_the_server_has_dropped_the_beginning(
    file_or_server: str, reference_server: StreamServer, add_stream: Add
) -> None:
    """Message numbers mean nothing then, and on a busy stream the live reader commits between
    any two checks.
    """
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", "0", {"text": "one"})])
    stream = add_stream(remote.url, using=file_or_server)
    sync(stream, until_up_to_date=True)
    Stream.objects.using(file_or_server).update(ordinal=10**6, applied_count=10**6)
    operations.reset(stream, actor="test")
    ended = threading.Event()

    def write() -> None:
        with httpx.Client(headers={"content-type": "application/json"}) as client:
            while not ended.is_set():
                client.post(
                    remote.url, content=encode([insert("message", "0", {"text": "two"})])
                ).raise_for_status()
                time.sleep(0.002)

    with consuming(stream), ThreadPoolExecutor(1) as others:
        others.submit(write)
        try:
            wait_until(lambda: replay_of(stream) is None, 10)
        finally:
            ended.set()


def test_killed_while_it_replays(
    file_or_server: str, reference_server: StreamServer, add_stream: Add
) -> None:
    """The next process continues both the stream and its replay, each from its last commit."""
    remote = RemoteStream(reference_server.stream())
    for group in random_groups(random_items(43, 300), 1, 60):
        remote.append(group)
    stream = add_stream(remote.url, using=file_or_server)
    sync(stream, until_up_to_date=True)
    before = rows_of(stream, pks=True)
    operations.reset(stream, actor="test")
    chance, killed_within = random.Random(), 0
    for _ in range(4):
        process = start_worker(stream, BATCH_ROWS=2)
        until, replay = time.monotonic() + 20, replay_of(stream)
        at = 0 if replay is None else replay.ordinal
        while (
            process.poll() is None and (now := replay_of(stream)) is not None and now.ordinal == at
        ):
            assert time.monotonic() < until, "it does not begin"
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.06))
        process.kill()
        process.communicate()
        killed_within += replay_of(stream) is not None
    assert killed_within
    process = start_worker(stream, BATCH_ROWS=2)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert replay_of(stream) is None
    assert rows_of(stream, pks=True) == before
    check(stream, remote.items)


def test_a_halted_stream_is_replayed_and_goes_on(
    reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """Its own reader cannot continue; the replay becomes the stream's reader, in the same
    process.
    """
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "DEAD_LETTER_LIMIT": 2}
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", f"{number}", {"text": "x" * 21}) for number in range(5)])
    stream = add_stream(remote.url)
    with pytest.raises(OperationRefused, match="halted"):
        sync(stream)
    operations.reset(stream, actor="test")
    with pytest.raises(OperationRefused, match=r"replay of .* has halted"):
        sync(stream)
    assert operations.report(stream).status == "halted"
    assert not runnable("default").exists()
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1}
    operations.reset(stream, actor="test")
    assert operations.report(stream).status == "rebuilding"
    assert runnable("default").get() == stream
    with consuming(stream):
        wait_until(lambda: is_live(stream))
        remote.append([insert("message", "good", {"text": "fits"})])
        wait_until(lambda: Message.objects.filter(key="good").exists())
    stream.refresh_from_db()
    assert (stream.ordinal, stream.applied_count, stream.dead_letter_count) == (6, 1, 5)
    assert stream.dead_letters.count() == 5


def test_a_replay_that_has_failed_a_moment_ago_is_tried_at_once(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """Asking for an up-to-date stream includes this; a worker waits until the retry is due."""
    remote = RemoteStream(reference_server.stream())
    remote.append(random_items(11, 20))
    stream = add_stream(remote.url, status=Status.HALTED)
    operations.reset(stream, actor="test")
    later = timezone.now() + timedelta(minutes=1)
    Replay.objects.update(status=Status.RETRYING, failures=5, retry_at=later)
    assert not runnable("default").exists()
    sync(stream, until_up_to_date=True)
    assert replay_of(stream) is None
    check(stream, remote.items)


def test_a_closed_stream_is_replayed(reference_server: StreamServer, add_stream: Add) -> None:
    """And is closed again, and complete."""
    remote = RemoteStream(reference_server.stream())
    remote.append(random_items(7, 80))
    remote.close()
    stream = add_stream(remote.url)
    sync(stream)
    Message.objects.all().delete()
    operations.reset(stream, actor="test")
    assert runnable("default").get() == stream
    sync(stream)
    assert stream.status == Status.CLOSED
    assert not Replay.objects.exists()
    check(stream, remote.items)


def test_paused_removed_and_reset_again(
    reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """What an operator asks for during a replay is done at once, and leaves nothing behind."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "BATCH_ROWS": 1}
    remote = RemoteStream(reference_server.stream())
    remote.append([5, *(insert("message", f"{number}", {"text": "one"}) for number in range(MANY))])
    stream = add_stream(remote.url)
    running = Running(stream)
    wait_until(lambda: is_live(stream), 60)
    operations.reset(stream, actor="test")
    wait_until(lambda: Replay.objects.filter(ordinal__gt=2).exists())
    operations.pause(stream, actor="test")
    assert "paused" in str(running.end())
    first = Replay.objects.get()
    assert 0 < first.ordinal < MANY
    operations.reset(stream, actor="test")
    again = Replay.objects.get()
    assert (again.ordinal, Generation.objects.get(), StagedChange.objects.count()) == (
        0,
        again.rebuild,
        0,
    )
    operations.resume(stream, actor="test")
    running = Running(stream)
    wait_until(lambda: Replay.objects.filter(ordinal__gt=2).exists())
    operations.remove(stream, actor="test")
    assert "no longer there" in str(running.end())
    for model in (Replay, Generation, StagedChange, DeadLetter):
        assert not model._base_manager.exists()


def test_a_stream_that_is_created_anew_while_it_is_replayed(
    reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """Both readers notice; the rows become those of the new one."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "BATCH_ROWS": 1}
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", f"{number}", {"text": "old"}) for number in range(MANY)])
    stream = add_stream(remote.url)
    with consuming(stream):
        wait_until(lambda: is_live(stream), 60)
        operations.reset(stream, actor="test")
        wait_until(lambda: Replay.objects.filter(ordinal__gt=2).exists())
        operations.pause(stream, actor="test")
    remote.delete()
    remote.create()
    remote.append([insert("message", f"{number}", {"text": "new"}) for number in range(20)])
    operations.resume(stream, actor="test")
    sync(stream, until_up_to_date=True)
    assert not Replay.objects.exists()
    assert shows(stream, remote.items)
