"""Samples: what happened to a stream lately is recorded, and nothing if nothing happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import django
import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from durable_state.consumer.cleanup import tidy
from durable_state.consumer.lag import Lag
from durable_state.consumer.run import sync
from durable_state.consumer.samples import Samples, merge_samples, write_samples
from durable_state.models import Lease, Stream, StreamSample
from tests.servers.misbehaving import MisbehavingServer
from tests.wire import message

from .support.serving import good

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Stream]


def test_a_sync_leaves_a_sample(misbehaving_server: MisbehavingServer, add_stream: Add) -> None:
    """With all messages that were committed, and how long that took; old ones are deleted."""
    misbehaving_server.reply = good([message(str(place), "text") for place in range(40)])
    stream = add_stream(f"{misbehaving_server.url}/s")
    # If only cron syncs the streams, nobody else deletes it.
    hours_ago = timezone.now() - timedelta(hours=2)
    StreamSample.objects.create(stream=stream, at=hours_ago, seconds=10, messages=7)
    sync(stream, until_up_to_date=True)
    rows = list(StreamSample.objects.filter(stream=stream))
    assert sum(each.messages for each in rows) == 40
    assert all(each.commits and each.commit_ms > 0 for each in rows if each.messages)


def test_quiet_streams_write_nothing(add_stream: Add) -> None:
    """Neither for streams whose rows are complete, nor for those without a commit since the last
    time.
    """
    lags = [Lag(add_stream(), 1) for _ in range(3)]
    for each in lags:
        each.settle(at_tail=True, waiting_since=None)
    collected = Samples()
    assert collected.take(lags) == []
    collected.count(lags[0].stream_pk, 7, 0.25)
    lags[2].begin(time.monotonic() - 5, Lease.Lag.SILENCE)
    told = {each.stream_id: each for each in collected.take(lags)}
    assert set(told) == {lags[0].stream_pk, lags[2].stream_pk}
    assert (told[lags[0].stream_pk].messages, told[lags[0].stream_pk].commit_ms) == (7, 250.0)
    assert told[lags[2].stream_pk].lag_ms >= 5000
    assert [each.stream_id for each in collected.take(lags)] == [lags[2].stream_pk]


def test_a_fleet_is_written_in_few_statements(database: str) -> None:
    """A thousand busy streams, in one round of their seat. Before Django 6.0, SQLite takes fewer
    rows per statement.
    """
    collected = Samples()
    for pk in range(1, 1001):
        collected.count(pk, 1, 0.01)
    with CaptureQueriesContext(connections[database]) as asked:
        write_samples(database, collected.take([]))
    writes = [each for each in asked if each["sql"].startswith("INSERT")]
    few = connections[database].vendor == "sqlite" and django.VERSION < (6, 0)
    assert len(writes) == (8 if few else 2)
    assert StreamSample.objects.using(database).count() == 1000


def test_samples_are_thinned_by_age(database: str, add_stream: Add) -> None:
    """Those of a minute become one, nothing of them is lost, and after an hour they are deleted."""
    stream = add_stream(using=database)
    rows = StreamSample.objects.using(database)
    now = timezone.now()
    minute = (now - timedelta(minutes=12)).replace(second=0, microsecond=0)

    def add(at: datetime, **values: Any) -> None:
        rows.create(stream=stream, at=at, seconds=10, **values)

    for place in range(5):
        lag = 100.0 * place
        add(minute + timedelta(seconds=10 * place), messages=place, commits=1, lag_ms=lag)
    add(now - timedelta(minutes=61), messages=100)
    add(now - timedelta(seconds=30), messages=3)
    for _ in range(2):  # the second time there is nothing to do
        tidy(database)
        merged, fresh = rows.order_by("at")
        assert (merged.seconds, merged.messages, merged.commits) == (60, 10, 5)
        assert (merged.lag_ms, merged.at) == (400.0, minute + timedelta(minutes=1))
        assert fresh.messages == 3


def test_small_steps_cut_no_minute_in_two(database: str, add_stream: Add) -> None:
    """However many streams were busy in the same minutes, each has one sample per minute."""
    rows = StreamSample.objects.using(database)
    minute = (timezone.now() - timedelta(minutes=13)).replace(second=0, microsecond=0)
    streams = [add_stream(using=database) for _ in range(3)]
    for place in range(12):
        for stream in streams:
            at = minute + timedelta(seconds=10 * place)
            rows.create(stream=stream, at=at, seconds=10, messages=1)
    while merge_samples(database, 10) == 10:
        pass
    told = rows.order_by("stream", "at").values_list("stream", "at", "messages")
    ends = [minute + timedelta(minutes=number) for number in (1, 2)]
    assert list(told) == [(stream.pk, end, 6) for stream in streams for end in ends]
