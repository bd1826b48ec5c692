"""A machine whose clock is wrong, or jumps, waits no longer than others."""

from __future__ import annotations

import re
import runpy
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

import durable_state
from durable_state import operations
from durable_state.consumer import doorbells
from durable_state.consumer.claiming import runnable
from durable_state.consumer.run import sync
from durable_state.databases import clock
from durable_state.databases.clock import database_now
from durable_state.databases.postgresql import PostgreSQL
from durable_state.feed import prune
from durable_state.models import Doorbell, FeedEntry, Intent, Lease, Live, Replay, Status, Stream
from durable_state.operations.doorbells import exchange_doorbell
from tests.servers.misbehaving import MisbehavingServer, Reply, StreamReplies
from tests.wire import encode, insert

from .support.consuming import consuming, wait_until

Add = Callable[..., Stream]


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_wait_ends_by_the_clock_of_the_database(
    database: str,
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    """Whichever machine recorded the failure, and whichever checks whether the wait is over."""
    misbehaving_server.replies(Reply(503))
    stream = add_stream(misbehaving_server.url + "/s", using=database)
    now, real = timezone.now, Stream.objects.using(database)

    def jumped() -> datetime:
        return now() + timedelta(hours=hours)

    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", jumped)
        with consuming(stream):
            wait_until(lambda: real.filter(status=Status.RETRYING, failures__gte=2).exists())
    found = real.get()
    assert found.retry_at is not None
    assert abs(found.retry_at - now()) < timedelta(seconds=90)

    Lease.objects.using(database).all().delete()
    real.update(paused=False, retry_at=now() - timedelta(seconds=5))
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", jumped)
        assert runnable(database).exists()
        real.update(retry_at=now() + timedelta(minutes=5))
        assert not runnable(database).exists()


@pytest.mark.parametrize("hours", [-1, 1])
def test_what_a_machine_writes_and_shows_goes_by_the_clock_of_the_database(
    database: str,
    misbehaving_server: MisbehavingServer,
    add_stream: Add,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    hours: int,
) -> None:
    """Stored moments, shown ages, and pruning, on a machine that is an hour ahead or behind."""
    settings.DURABLE_STATE = {"FEED_KEEP_SECONDS": 1800}
    items = [encode(insert("message", "a", {"text": "hi"}))]
    misbehaving_server.reply = StreamReplies([items], closed=True)
    now, seconds = timezone.now, time.time
    stream = add_stream(misbehaving_server.url + "/s", using=database)
    with monkeypatch.context() as patch:
        patch.setattr(timezone, "now", lambda: now() + timedelta(hours=hours))
        if database != "default":  # by this machine's clock
            patch.setattr(time, "time", lambda: seconds() + hours * 3600)
        sync(stream)
        operations.reset(stream, actor="test")
        report = operations.report(stream)
        assert prune(database) == 0

    stream.refresh_from_db()
    log, intent = FeedEntry.objects.using(database), Intent.objects.using(database).get()
    replay = Replay.objects.using(database).get()
    for moment in (
        stream.up_to_date_at,
        stream.since,
        stream.moved_at,
        *log.values_list("created_at", flat=True),
        intent.created_at,
        replay.created_at,
        replay.since,
        report.since,
    ):
        assert moment is not None
        assert abs(moment - now()) < timedelta(seconds=30)
    assert 0 <= report.lag_seconds < 30

    assert log.update(created_at=now() - timedelta(minutes=31)) == prune(database) > 0


@pytest.mark.django_db(databases=["postgres"])
def test_a_clock_that_is_set_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a minute; until then, moments continue by the old one."""
    monkeypatch.setattr(clock, "_readings", {})
    first = database_now("postgres")
    assert abs(first - timezone.now()) < timedelta(seconds=5)

    hour = clock._readings["postgres"].seconds + 3600
    monkeypatch.setattr(PostgreSQL, "read_clock", lambda self: hour)
    assert timedelta(0) <= database_now("postgres") - first < timedelta(seconds=5)
    monkeypatch.setattr(clock, "READ_SECONDS", 0.0)
    assert timedelta(minutes=59) < database_now("postgres") - first < timedelta(minutes=61)


def test_nothing_else_is_asked_for_the_time() -> None:
    """A machine's own clock is used only for defaults of columns, and for display when a
    database is missing.
    """
    package = Path(durable_state.__file__).parent
    elsewhere = {"migrations", "models", "conversion"}
    found = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if not elsewhere.intersection(file.parts)
        if re.search(r"timezone\.now|time\.time\(|datetime\.now\(", file.read_text())
    }
    assert found == {
        "databases/clock.py",
        "databases/database.py",
        "rest/feed/answers.py",  # cursors, which only have to grow
        "rest/feed/reading.py",  # how often what a reader holds is compared
        "sign_in.py",  # Django's sessions, which expire by it
        "transport/refusals.py",  # a Retry-After that is a date
    }


def test_a_system_without_such_clocks_counts_on_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has neither, but the module can be imported there."""
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "clock_gettime"):
        monkeypatch.delattr(time, name, raising=False)
    there = runpy.run_path(str(clock.__file__), run_name="durable_state.databases.clock")
    began = there["_ticks"]()
    assert began <= there["_ticks"]() < began + 5


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_a_doorbell_is_due_in_every_time_zone(
    database: str, add_stream: Add, settings: Any, zone: str
) -> None:
    """Also in a project with local times; the time of a ring is shown in them."""
    settings.USE_TZ, settings.TIME_ZONE = False, zone
    first, second = add_stream(using=database), add_stream(using=database)
    doorbells.open_doorbell(first)
    exchange_doorbell(second, Live.WEBHOOK)
    assert doorbells.due_doorbells(database).count() == 2

    assert doorbells.ring(Doorbell.objects.using(database), 1)
    for rung_at in Doorbell.objects.using(database).values_list("rung_at", flat=True):
        assert rung_at is not None
        assert abs(rung_at - timezone.now()) < timedelta(seconds=30)
