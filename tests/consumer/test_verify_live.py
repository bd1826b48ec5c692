"""Verification against a real server, while the stream is being consumed and after somebody touched the rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from durable_state import operations
from durable_state.consumer.run import sync
from durable_state.errors import OperationRefused
from durable_state.models import Generation, StagedChange, Stream
from tests.app.models import Message, Profile, Setting
from tests.properties.tables import check
from tests.servers.process import StreamServer

from .consuming import consuming, wait_until
from .remote import RemoteStream, insert, random_groups, random_items

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


def changes(seed: int, count: int) -> list[Any]:
    """Without resets, which would leave nothing to compare for a while."""
    return [item for item in random_items(seed, count) if "control" not in str(item)]


def test_no_difference_while_it_is_consumed(
    file_or_server: str, reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """However fast the stream grows meanwhile; the consumer is not disturbed."""
    settings.DURABLE_STATE = {"LEASE_SECONDS": 4, "BATCH_ROWS": 20}
    remote = RemoteStream(reference_server.stream())
    remote.append(changes(1, 200))
    stream, ended = add_stream(remote.url, using=file_or_server), threading.Event()

    def write() -> None:
        for group in random_groups(changes(2, 3000), 2, 6):
            if ended.is_set():
                return
            remote.append(group)
            time.sleep(0.005)

    writer = threading.Thread(target=write)
    with consuming(stream):
        wait_until(lambda: Stream.objects.using(file_or_server).filter(ordinal__gte=150, status="live").exists())
        writer.start()
        try:
            for _ in range(3):
                verified = operations.verify(Stream.objects.using(file_or_server).get())
                assert verified.equal, verified.lines()
                assert verified.ordinal >= 150
        finally:
            ended.set()
            writer.join()
        wait_until(lambda: Stream.objects.using(file_or_server).filter(ordinal=len(remote.items)).exists())
        assert Stream.objects.using(file_or_server).get().last_error == ""
    check(stream, remote.items)
    assert not Generation.objects.using(file_or_server).filter(purpose="verify").exists()
    assert not StagedChange.objects.using(file_or_server).filter(generation__purpose="verify").exists()


def test_what_somebody_did_to_the_rows_is_found(database: str, reference_server: StreamServer, add_stream: Add) -> None:
    """Missing, extra and changed rows, by type; a reset mends them."""
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
    with pytest.raises(OperationRefused, match="rebuilt"):
        operations.verify(stream)
    sync(stream, until_up_to_date=True)
    assert operations.verify(stream).equal


def test_the_story_of_an_entity(reference_server: StreamServer, add_stream: Add) -> None:
    """Each change, what became of it, the row expected and the row found."""
    remote = RemoteStream(reference_server.stream())
    remote.append(
        [
            insert("score", "1", {"points": 5}),
            insert("score", "2", {"points": 5}),
            {"type": "score", "key": "1", "value": {"points": -2}, "headers": {"operation": "update"}},
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


def test_a_stream_that_lost_its_beginning_cannot_be_compared(reference_server: StreamServer, add_stream: Add) -> None:
    """It says so, and that a reset helps."""
    remote = RemoteStream(reference_server.stream())
    remote.append(changes(1, 30))
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    remote.delete()
    remote.create()
    remote.append(changes(2, 10))
    with pytest.raises(OperationRefused, match="created anew"):
        operations.verify(stream)
    assert not Generation.objects.exists()
