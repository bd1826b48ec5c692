"""One seat listens to each wake stream: nothing it heard is lost, and items that are not wakes
do nothing.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from durable_state import operations
from durable_state.consumer import announce_missing, wakes
from durable_state.models import Doorbell, Live, WakeStream
from durable_state.protocol import Position
from tests.consumer.support.consuming import in_threads, wait_until
from tests.servers.process import StreamServer
from tests.wire import encode, insert

from .support.bells import Rung, seated


@pytest.fixture
def rung(reference_server: StreamServer, database: str, settings: Any) -> Rung:
    """A stream that rings in its own wake stream."""
    name = f"wakes-{time.monotonic_ns()}"
    settings.DURABLE_STATE = {"LEASE_SECONDS": 2, "WAKE_STREAM": name}
    found = Rung(reference_server, database, Live.PULL_WAKE)
    assert operations.ring_for(found.stream).good
    return found


def wake_stream(rung: Rung) -> WakeStream:
    """The current row."""
    return WakeStream.objects.using(rung.using).get()


def test_one_listens_until_it_is_gone(rung: Rung) -> None:
    """Of seats that look at the same time, and of later ones; once it is gone, another one does."""
    using = rung.using
    found = in_threads(*[lambda name=name: wakes.listen(using, name) for name in "abcd"])
    assert sorted(len(each) for each in found if isinstance(each, list)) == [0, 0, 0, 1], found
    (holder,) = WakeStream.objects.using(using).values_list("holder", flat=True)
    assert len(wakes.listen(using, holder)) == 1

    wakes.stop_listening(using, holder)
    (ours,) = wakes.listen(using, "e")
    wait_until(lambda: wakes.listen(using, "f"))  # its lease has ended

    # A seat that has not noticed yet moves nothing, and rings for nothing.
    heard = [(rung.doorbell.subscription, 9)]
    assert not wakes.hear(using, ours, heard, Position("o", 0, 1))
    assert rung.doorbell.generation == 0
    assert wake_stream(rung).offset == "-1"


def test_a_wake_stream_that_tells_of_nothing_is_not_heard(rung: Rung) -> None:
    """It costs nobody a connection."""
    assert wakes.has_wake_streams(rung.using)
    operations.remove(rung.stream, actor="test")
    assert not wakes.has_wake_streams(rung.using)
    assert wakes.listen(rung.using, "a") == []


def test_what_rang_while_nobody_listened_is_heard(rung: Rung) -> None:
    """From the position that the last one had reached."""
    with seated(rung.using):
        rung.wait_until_at_rest()
    rung.remote.append([insert("message", "a", {"text": "hi"})])
    with seated(rung.using):
        rung.wait_until_at_rest()
        wait_until(rung.is_acknowledged)


def test_what_is_no_wake_does_nothing(rung: Rung) -> None:
    """Anybody may write there: such items are skipped, or cause a stream to be read in vain."""
    subscription = rung.doorbell.subscription
    junk = [
        5,
        [],
        {"type": "wake"},
        {"type": "other", "subscription_id": subscription, "generation": 10**6},
        {"type": "wake", "subscription_id": subscription, "generation": 10**30},
        {"type": "wake", "subscription_id": "another's", "generation": 10**6},
        insert("message", "a", {"text": "hi"}),
    ]
    with seated(rung.using):
        rung.wait_until_at_rest()
        body = b"[%b]" % b",".join(map(encode, junk))
        headers = {"content-type": "application/json"}
        url = wake_stream(rung).url
        httpx.post(url, content=body, headers=headers, timeout=10).raise_for_status()
        wait_until(lambda: wake_stream(rung).ordinal >= len(junk))
        assert rung.doorbell.generation == 0

        rung.remote.append([insert("message", "a", {"text": "hi"})])
        rung.wait_until_at_rest()


def test_a_wake_stream_that_is_created_anew_is_heard_again(rung: Rung) -> None:
    """From its start; wakes from before its deletion were stored."""
    with seated(rung.using):
        rung.wait_until_at_rest()
        rung.remote.append([insert("message", "a", {"text": "hi"})])
        rung.wait_until_at_rest()
    httpx.delete(wake_stream(rung).url, timeout=10).raise_for_status()

    with seated(rung.using):
        wait_until(lambda: is_there(wake_stream(rung).url))
        rung.remote.append([insert("message", "A", {"text": "hi"})])
        rung.wait_until_at_rest()


def is_there(url: str) -> bool:
    """Whether the server has the stream."""
    return httpx.head(url, timeout=10).status_code == 200


def test_a_seat_is_sent_for_that_listens(rung: Rung) -> None:
    """Even if no stream wants a reader."""
    later = timezone.now() + timedelta(hours=1)
    Doorbell.objects.using(rung.using).update(due_at=later)
    type(rung.stream).objects.using(rung.using).update(status="live")
    assert announce_missing(rung.using, "celery") == 1
    assert announce_missing(rung.using, "celery") == 0
