"""What is said about a stream that waits for its doorbell is true."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from durable_state import operations
from durable_state.consumer import make_due
from durable_state.models import Doorbell, Live, WakeStream
from durable_state.operations import StreamReport
from tests import leases
from tests.consumer.support.consuming import wait_until
from tests.databases import alias_of, only
from tests.servers.misbehaving import MisbehavingServer, Reply, StreamReplies
from tests.wire import encode, insert

from .support.bells import Rung, seated


@pytest.fixture(params=[only("default")])
def database(request: pytest.FixtureRequest) -> str:
    """SQLite alone: the rules do not depend on the database."""
    return alias_of(request)


def look_back(rung: Rung, seconds: float) -> StreamReport:
    """What the status says once everything is so many seconds older, including what is due next."""
    past = timedelta(seconds=seconds)
    now = timezone.now()
    leases.was_seen(now - past)
    Doorbell.objects.update(due_at=rung.doorbell.due_at - past)
    type(rung.stream).objects.update(
        created_at=now - past, since=now - past, up_to_date_at=now - past
    )
    return operations.report(rung.stream)


def test_at_rest_it_waits(add_rung: Any) -> None:
    """Its lag is the time since it was read; after half an hour it is not stuck either."""
    rung = add_rung(Live.WEBHOOK)
    with seated(rung.using):
        rung.wait_until_at_rest()
    found = look_back(rung, 1500)
    assert (found.status, found.stuck) == ("waiting", False)
    assert 1500 <= found.lag_seconds < 1600
    assert "waits for its webhook" in found.why


def test_rung_for_and_read_by_nobody_it_has_no_worker(add_rung: Any) -> None:
    """After the usual patience, counted from the ring."""
    rung = add_rung(Live.WEBHOOK)
    with seated(rung.using):
        rung.wait_until_at_rest()
    look_back(rung, 1500)
    make_due([rung.stream.pk], rung.using)
    assert operations.report(rung.stream).status == "waiting"

    Doorbell.objects.update(due_at=timezone.now() - timedelta(seconds=10))
    found = operations.report(rung.stream)
    assert (found.status, found.stuck) == ("no-worker", True)
    assert found.why.startswith("no worker for 10 s")


@pytest.mark.parametrize("live", [Live.WEBHOOK, Live.PULL_WAKE])
def test_a_server_that_does_not_ring_makes_it_stuck(
    misbehaving_server: MisbehavingServer, live: str, database: str
) -> None:
    """With the server's answer. Whatever is in the stream is still read."""
    replies = StreamReplies([[encode(insert("message", "a", {"text": "hi"}))]])
    misbehaving_server.reply = lambda asked: replies(asked) if asked.method == "GET" else Reply(501)
    url = f"{misbehaving_server.url}/s/x"
    stream = operations.add("silent", url, actor="test", live=live, using=database)
    finding = operations.ring_for(stream)
    assert not finding.good
    assert "501" in finding.text

    with seated(database):
        wait_until(lambda: operations.report(stream).stuck)
    found = operations.report(stream)
    assert found.status == "waiting"
    assert "does not ring" in found.why
    assert "501" in found.why
    assert "offer" in found.action
    assert found.ordinal == 1


def test_without_an_address_nobody_can_ring(add_rung: Any, settings: Any) -> None:
    """And the status says so."""
    settings.DURABLE_STATE = {}
    rung = add_rung(Live.WEBHOOK)
    finding = operations.ring_for(rung.stream)
    assert not finding.good
    assert "WEBHOOK_URL" in finding.text


def test_the_token_of_a_wake_is_shown_nowhere(add_rung: Any) -> None:
    """Not in reports; it is deleted with the wake."""
    rung = add_rung(Live.WEBHOOK)
    Doorbell.objects.update(token="secret-token", wake_id="w", generation=1)
    assert "secret-token" not in repr(operations.report(rung.stream))
    assert "secret-token" not in repr(rung.doorbell)


def test_where_nobody_listens_it_is_stuck(add_rung: Any) -> None:
    """Its wake stream tells nobody that there is something to read."""
    rung = add_rung(Live.PULL_WAKE)
    with seated(rung.using):
        rung.wait_until_at_rest()
        wait_until(lambda: WakeStream.objects.exclude(holder="").exists())
        assert operations.report(rung.stream).status == "waiting"
    found = operations.report(rung.stream)
    assert (found.status, found.stuck) == ("waiting", False)  # somebody may just be taking over

    WakeStream.objects.update(expires_at=timezone.now() - timedelta(seconds=60))
    found = operations.report(rung.stream)
    assert (found.status, found.stuck) == ("waiting", True)
    assert found.why.startswith("nobody has listened to its wake stream for 60 s")
