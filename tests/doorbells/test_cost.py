"""Streams that wait for their doorbells cost next to nothing, however many there are."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from durable_state.consumer.claiming import find_demand
from durable_state.consumer.doorbells import ring
from durable_state.models import Doorbell, Status, Stream
from tests.databases import alias_of, only

MANY = 10_000


@pytest.fixture(params=[only("postgres")])
def postgres(request: pytest.FixtureRequest) -> str:
    """The alias of the database whose query plans are examined."""
    return alias_of(request)


def add_waiting(using: str, count: int) -> list[Stream]:
    """Streams that were read, and wait; nothing is due for a while."""
    streams = Stream.objects.using(using).bulk_create(
        Stream(name=f"m{n}", url=f"http://tests.invalid/s/{n}", live="webhook", status=Status.LIVE)
        for n in range(count)
    )
    later = timezone.now() + timedelta(minutes=30)
    Doorbell.objects.using(using).bulk_create(
        Doorbell(stream=each, due_at=later + timedelta(seconds=n / 100))
        for n, each in enumerate(streams)
    )
    return streams


def rows_read(using: str, sql: str) -> int:
    """The rows that the database reads for a statement, including those that it discards."""
    with connections[using].cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        (told,) = cursor.fetchone()
    plan = json.loads(told) if isinstance(told, str) else told
    return _rows(plan[0]["Plan"])


def _rows(node: dict[str, Any]) -> int:
    read = 0
    if "Scan" in node["Node Type"] and "Bitmap Heap" not in node["Node Type"]:
        dropped = node.get("Rows Removed by Filter", 0)
        read = round((node["Actual Rows"] + dropped) * node["Actual Loops"])
    return read + sum(map(_rows, node.get("Plans", ())))


def test_a_look_reads_what_is_due_alone(postgres: str) -> None:
    """By indexes, in a constant number of statements; so do the few that ring among ten
    thousand.
    """
    with CaptureQueriesContext(connections[postgres]) as with_none:
        find_demand(postgres)

    streams = add_waiting(postgres, MANY)
    followed = Stream.objects.using(postgres).create(name="followed", url="http://tests.invalid/f")
    with connections[postgres].cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")  # also rows that earlier tests have left
    rung = [streams[7].pk, streams[-1].pk]
    for pk in rung:
        assert ring(Doorbell.objects.using(postgres).filter(pk=pk), 1)

    with CaptureQueriesContext(connections[postgres]) as looked:
        demand = find_demand(postgres)

    assert list(demand.free) == [*rung, followed.pk]
    assert len(looked) == len(with_none)
    for each in looked.captured_queries:
        read = rows_read(postgres, each["sql"])
        assert read < 50, f"{read} rows: {each['sql']}"


@pytest.mark.django_db
def test_streams_that_were_made_without_a_verb_are_read_at_once() -> None:
    """Without a doorbell, which their first reader adds."""
    made = Stream.objects.create(name="made", url="http://tests.invalid/s", live="pull-wake")
    assert list(find_demand("default").free) == [made.pk]
