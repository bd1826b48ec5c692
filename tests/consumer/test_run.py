"""Consumes all streams of a database in one process, and works in a project whose routers send
reads elsewhere.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from durable_state import operations
from durable_state.consumer import reading_ahead
from durable_state.consumer.run import consume_slice, run_all, sync
from durable_state.materializer import Fold, PreparedBatch
from durable_state.models import Status, Stream
from tests import leases
from tests.app.state_mappings import ScoreMapping
from tests.servers.process import StreamServer
from tests.servers.require import skip_or_fail
from tests.services import missing
from tests.tables import check
from tests.wire import insert

from .support.consuming import wait_until
from .support.remote import RemoteStream, random_items

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


def test_all_streams_until_a_signal(reference_server: StreamServer, add_stream: Add) -> None:
    """Also streams that are added, or resumed, meanwhile; one that fails does not hold up
    others; the leases are given back.
    """
    remotes = [RemoteStream(reference_server.stream()) for _ in range(3)]
    for number, remote in enumerate(remotes):
        remote.append(random_items(number, 50))
    first, paused = (
        add_stream(remotes[0].url),
        add_stream(remotes[1].url, paused=True, live="long-poll"),
    )
    add_stream("http://127.0.0.1:9/s")
    add_stream("nonsense://")
    problems: list[BaseException] = []

    def is_live(stream: Stream) -> bool:
        return Stream.objects.filter(pk=stream.pk, status=Status.LIVE, ordinal__gte=50).exists()

    def operate() -> None:
        try:
            wait_until(lambda: is_live(first))
            added = add_stream(remotes[2].url)
            operations.resume(paused, actor="test")
            wait_until(lambda: is_live(added) and is_live(paused))
            remotes[0].append(random_items(9, 10))
            wait_until(lambda: Stream.objects.filter(pk=first.pk, ordinal=60).exists())
        except BaseException as error:
            problems.append(error)
        finally:
            connections.close_all()
            os.kill(os.getpid(), signal.SIGTERM)

    operator = threading.Thread(target=operate)
    operator.start()
    run_all("default")
    operator.join()
    assert problems == []
    streams = Stream.objects.order_by("pk")
    for stream, remote in zip([streams[0], streams[1], streams[4]], remotes, strict=True):
        check(stream, remote.items)
    assert [stream.status for stream in streams[2:4]] == [Status.RETRYING, Status.HALTED]
    assert not leases.holders()


class ReadsGoElsewhere:
    """The router of a project with a replica. The tests may not touch this database."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "postgres"


def test_routers_have_no_say(
    reference_server: StreamServer, add_stream: Add, settings: Any
) -> None:
    """Position, rows and rebuild are read where they are written."""
    remote = RemoteStream(reference_server.stream())
    remote.append(random_items(21, 60))
    if "postgres" in missing:
        skip_or_fail(missing["postgres"])
    settings.DURABLE_STATE = {"BATCH_ROWS": 9}
    settings.DATABASE_ROUTERS = [ReadsGoElsewhere()]
    stream = add_stream(remote.url)
    sync(stream, until_up_to_date=True)
    operations.reset(stream, actor="test")
    sync(stream, until_up_to_date=True)
    assert operations.verify(stream).equal
    assert operations.report(stream).status == "up-to-date"
    settings.DATABASE_ROUTERS = []
    check(stream, remote.items)


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_a_slow_prepare_keeps_no_transaction_open(
    reference_server: StreamServer, add_stream: Add, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice that ends meanwhile still commits its current batch; here the batch takes longer
    than a transaction may be idle.
    """
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "SLICE_SECONDS": 0.5}
    prepare = ScoreMapping.prepare

    def slow(self: ScoreMapping, change: Any) -> Any:
        time.sleep(0.004)
        return prepare(self, change)

    monkeypatch.setattr(ScoreMapping, "prepare", slow)
    monkeypatch.setattr(reading_ahead, "FIRST", 400)
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("score", f"{number}", {"points": 1}) for number in range(400)])
    stream = add_stream(remote.url, using="postgres")
    consume_slice("postgres")
    stream.refresh_from_db()
    assert (stream.ordinal, stream.failures) == (400, 0)


@pytest.mark.django_db(transaction=True, databases=["default", "postgres"])
def test_slices_in_which_no_large_batch_can_end_come_on_all_the_same(
    reference_server: StreamServer, add_stream: Add, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each begins with a batch of its own size; the size that its predecessor failed with would
    fail for ever.
    """
    settings.DURABLE_STATE = {"LEASE_SECONDS": 1, "SLICE_SECONDS": 0.5}
    monkeypatch.setattr(reading_ahead, "FIRST", 400)
    fold = Fold.apply

    def slow(self: Fold, batch: PreparedBatch, **named: Any) -> Any:
        time.sleep(0.004 * batch.count)  # for all of it, longer than a transaction may be idle
        return fold(self, batch, **named)

    monkeypatch.setattr(Fold, "apply", slow)
    remote = RemoteStream(reference_server.stream())
    remote.append([insert("score", f"{number}", {"points": 1}) for number in range(400)])
    stream = add_stream(remote.url, using="postgres")
    until = time.monotonic() + 20
    while stream.ordinal == 0:
        assert time.monotonic() < until, "nothing was ever committed"
        consume_slice("postgres")
        stream.refresh_from_db()
