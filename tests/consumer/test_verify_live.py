"""Verification against a real server, while the stream is consumed and after somebody changed
the rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils.connection import ConnectionDoesNotExist

from durable_state import operations
from durable_state.consumer.moment import at_one_moment
from durable_state.consumer.run import sync
from durable_state.errors import OperationRefused
from durable_state.models import Generation, StagedChange, Stream
from tests.app.models import Message, Profile, Setting
from tests.servers.process import StreamServer
from tests.tables import apply_batch, check
from tests.wire import insert

from .support.consuming import consuming, in_threads, wait_until
from .support.remote import RemoteStream, random_groups, random_items

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


def changes(seed: int, count: int) -> list[Any]:
    """Without resets, which would leave nothing to compare for a while."""
    return [item for item in random_items(seed, count) if "control" not in str(item)]


def test_no_difference_while_it_is_consumed(
    database: str, reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """However fast the stream grows meanwhile; the consumer is not disturbed. A row that
    somebody changed is still found.
    """
    settings.DURABLE_STATE = {"LEASE_SECONDS": 4, "BATCH_ROWS": 20}
    remote = RemoteStream(reference_server.stream())
    remote.append(changes(1, 200))
    stream, ended = add_stream(remote.url, using=database), threading.Event()

    def write() -> None:
        for group in random_groups(changes(2, 3000), 2, 6):
            if ended.is_set():
                return
            remote.append(group)
            time.sleep(0.005)

    writer = threading.Thread(target=write)
    with consuming(stream):
        wait_until(
            lambda: Stream.objects.using(database).filter(ordinal__gte=150, status="live").exists()
        )
        writer.start()
        try:
            for _ in range(3):
                verified = operations.verify(Stream.objects.using(database).get())
                assert verified.equal, verified.lines()
                assert verified.ordinal >= 150
            Message.objects.using(database).create(room=stream.name, key="stray", text="")
            verified = operations.verify(Stream.objects.using(database).get())
            assert verified.lines() == ["extra: message stray"]
            Message.objects.using(database).filter(key="stray").delete()
        finally:
            ended.set()
            writer.join()
        wait_until(
            lambda: Stream.objects.using(database).filter(ordinal=len(remote.items)).exists()
        )
        assert Stream.objects.using(database).get().last_error == ""
    check(stream, remote.items)
    assert not Generation.objects.using(database).filter(purpose="verify").exists()
    assert not StagedChange.objects.using(database).filter(generation__purpose="verify").exists()


def test_the_tables_stand_still_for_a_reader_and_not_for_their_consumer(
    database: str, add_stream: Add
) -> None:
    """A batch that is ready meanwhile is committed at once, and not seen."""
    stream = add_stream(using=database)
    apply_batch(
        stream,
        [insert("message", "a", {"text": "old"}), insert("message", "b", {"text": "old"})],
        True,
    )
    with at_one_moment(stream) as then:
        alias = then.using

        def seen() -> list[tuple[str, str]]:
            rows = Message.objects.using(alias).filter(room=stream.name).order_by("key")
            return list(rows.values_list("key", "text"))

        def go_on() -> None:
            apply_batch(
                stream,
                [insert("message", "a", {"text": "new"}), insert("message", "c", {"text": "new"})],
                True,
            )

        assert in_threads(go_on) == [None]
        assert seen() == [("a", "old"), ("b", "old")]
        assert (Stream.objects.using(alias).get(pk=stream.pk).ordinal, then.ordinal) == (2, 2)
    assert Message.objects.using(database).filter(room=stream.name).count() == 3
    with pytest.raises(ConnectionDoesNotExist):
        connections[str(alias)]


def test_a_database_that_cannot_read_beside_a_writer_keeps_writers_out(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """SQLite without its write-ahead log: the comparison is exact, and the consumer waits for
    it.
    """
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("message", key, {"text": "hi"}) for key in "abc"])
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    with connections["default"].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=DELETE")
    try:
        with at_one_moment(stream) as then:
            assert then.using == "default"
        assert operations.verify(stream).equal
        Message.objects.filter(key="b").delete()
        assert operations.verify(stream).lines() == ["missing: message b"]
    finally:
        with connections["default"].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode=WAL")


def test_what_somebody_did_to_the_rows_is_found(
    database: str, reference_server: StreamServer, add_stream: Add
) -> None:
    """Missing, extra and changed rows, by type; a reset repairs them."""
    remote = RemoteStream(reference_server.stream())
    remote.append(
        [insert("message", key, {"text": "hi"}) for key in "abc"]
        + [insert("profile", "p", {"name": "ada"}), insert("setting", "s", {"dark": True})]
    )
    stream = add_stream(remote.url, using=database)
    sync(stream, until_up_to_date=True)
    assert operations.verify(stream).equal
    Message.objects.using(database).filter(key="a").delete()
    Message.objects.using(database).filter(key="b").update(text="ho")
    Message.objects.using(database).create(room=stream.name, key="stray", text="")
    Message.objects.using(database).create(room="another", key="a", text="not ours")
    Profile.objects.using(database).filter(key="p").update(score=1)
    Setting.objects.using(database).filter(key="s").update(data={"dark": 1})
    found = operations.verify(stream).to_json()
    assert found["message"] == {"missing": 1, "extra": 1, "changed": 1}
    assert found["profile"] == found["setting"] == {"missing": 0, "extra": 0, "changed": 1}
    assert found["score"] == {"missing": 0, "extra": 0, "changed": 0}
    operations.reset(stream, actor="test")
    assert operations.verify(stream).to_json() == found
    sync(stream, until_up_to_date=True)
    assert operations.verify(stream).equal


def test_the_story_of_an_entity(reference_server: StreamServer, add_stream: Add) -> None:
    """Each change, what became of it, the expected row and the actual row."""
    remote = RemoteStream(reference_server.stream())
    remote.append(
        [
            insert("score", "1", {"points": 5}),
            insert("score", "2", {"points": 5}),
            {
                "type": "score",
                "key": "1",
                "value": {"points": -2},
                "headers": {"operation": "update"},
            },
            insert("score", "007", {"points": 1}),
            {"type": "score", "key": "2", "headers": {"operation": "delete"}},
        ]
    )
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    story = operations.verify(stream, entity_type="score", key="1").lines()
    assert story[0].startswith("1: insert accepted")
    assert story[1].startswith("3: update refused")
    assert "points below zero" in story[1]
    assert "5" in story[2]
    assert "points=5" in story[3]
    story = operations.verify(stream, entity_type="score", key="2").lines()
    assert story[-2:] == ["row expected: none", "row found: none"]
    story = operations.verify(stream, entity_type="score", key="007").lines()
    assert "refused" in story[0]
    assert story[-2:] == ["row expected: none", "row found: none"]


def test_a_story_ends_where_the_tables_stand(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """Later messages of the stream are left out: nothing has become of them yet."""
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("score", "1", {"points": 5})])
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    remote.append([insert("score", "1", {"points": 6})])
    story = operations.verify(stream, entity_type="score", key="1").lines()
    assert [line.partition(" ")[0] for line in story] == ["1:", "row", "row"]


def test_a_stream_that_lost_its_beginning_cannot_be_compared(
    reference_server: StreamServer, add_stream: Add
) -> None:
    """It says so, and that a reset helps."""
    remote = RemoteStream(reference_server.stream())
    remote.append(changes(1, 30))
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    remote.delete()
    remote.create()
    remote.append(changes(2, 10))
    with pytest.raises(OperationRefused, match="created again"):
        operations.verify(stream)
    assert not Generation.objects.exists()


def test_a_lock_that_another_holds_for_long_does_not_end_it(
    database: str, reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """Whatever was folded in the transaction that waited too long is folded again."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "BATCH_ROWS": 20}
    remote = RemoteStream(reference_server.stream())
    remote.append(changes(3, 1500))
    stream = add_stream(remote.url, using=database)
    sync(stream, until_up_to_date=True)

    def hold() -> bool:
        scratch = Generation.objects.using(database).filter(purpose="verify")
        wait_until(scratch.exists)
        with transaction.atomic(using=database):
            held = scratch.select_for_update().exists()
            time.sleep(1.5)  # a statement waits at most half a lease, but always a whole second
        return held

    verified, held = in_threads(lambda: operations.verify(stream), hold)
    assert held is True
    assert isinstance(verified, operations.Verification), verified
    assert verified.equal, verified.lines()
    assert not Generation.objects.using(database).filter(purpose="verify").exists()
