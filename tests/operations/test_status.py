"""What a report says: the shown status, lag, and why a stream is stuck."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from durable_state import operations
from durable_state.models import (
    DeadLetter,
    Generation,
    Lease,
    ParkedChange,
    Replay,
    Status,
    Stream,
    TypeState,
    entity_digest,
)
from durable_state.registry import registry
from durable_state.testing import apply
from tests.following import follow

pytestmark = pytest.mark.django_db

KEYS = [
    "name",
    "url",
    "status",
    "stuck",
    "why",
    "offset",
    "ordinal",
    "revision",
    "applied",
    "parked",
    "dead_letters",
    "no_row",
    "unregistered",
    "control",
    "superseded",
    "lag_seconds",
    "since",
    "progress",
    "holder",
    "last_error",
    "action",
]


def make(name: str = "chat", using: str = "default", **fields: Any) -> Stream:
    """A stream as if it had been consumed."""
    return Stream.objects.using(using).create(
        name=name, url=f"http://localhost/{name}?token=secret", **fields
    )


def ago(seconds: float) -> Any:
    """A moment in the past."""
    return timezone.now() - timedelta(seconds=seconds)


def test_the_json_has_the_keys_of_the_contract() -> None:
    """Programs find exactly the documented keys, and no secret."""
    shown = operations.report(make()).to_json()
    assert list(shown) == KEYS
    assert shown["url"] == "http://localhost/chat?token=***"


@pytest.mark.parametrize(
    ("fields", "status", "stuck"),
    [
        ({}, "new", False),
        ({"status": Status.LIVE, "paused": True}, "paused", False),
        ({"status": Status.LIVE, "paused": True, "since": 9999}, "paused", False),
        ({"status": Status.HALTED, "paused": True}, "paused", False),
        ({"status": Status.HALTED, "last_error": "boom"}, "halted", True),
        ({"status": Status.NEEDS_RESET}, "needs-reset", True),
        ({"status": Status.RETRYING, "since": 10}, "retrying", False),
        ({"status": Status.CLOSED, "since": 9999}, "closed", False),
    ],
)
def test_the_status_says_what_a_person_must_know_first(
    fields: dict[str, Any], status: str, stuck: bool
) -> None:
    """Each state has its word, and is stuck only if it will not recover by itself."""
    moments = {name: ago(value) if type(value) is int else value for name, value in fields.items()}
    report = operations.report(make(**moments))
    assert (report.status, report.stuck) == (status, stuck)
    assert not stuck or (report.why and report.action)


@pytest.mark.parametrize(("seconds", "stuck"), [(290, False), (301, True)])
def test_what_keeps_failing_is_stuck_in_the_end(seconds: float, stuck: bool) -> None:
    """After STUCK_SECONDS, with a worker that tries."""
    stream = make(status=Status.RETRYING, since=ago(seconds), last_error="refused")
    follow(stream)
    report = operations.report(stream)
    assert (report.status, report.stuck) == ("retrying", stuck)
    assert report.why == ("failing for 5 min: refused" if stuck else "")


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_leases_and_counts_are_read_alike_on_every_database(database: str) -> None:
    """Letters of a staged state are not counted; a valid lease is seen on the database's clock."""
    held, alone = (
        make(name, database, status=Status.LIVE, since=ago(9999), created_at=ago(9999))
        for name in ("held", "alone")
    )
    follow(held)
    for place, generation in enumerate((0, 0, 7)):
        DeadLetter.objects.using(database).create(
            stream=held,
            generation=generation,
            entity=f"{place}",
            ordinal=place + 1,
            reason="x",
            body=b"{}",
        )
    ParkedChange.objects.using(database).create(
        stream=held, entity="e", type="t", key="k", ordinal=1, reason="parent", prepared=b"{}"
    )
    found = operations.reports(database)
    assert [each.name for each in found.values()] == ["alone", "held"]
    assert (found[held.pk].dead_letters, found[held.pk].parked, found[held.pk].stuck) == (
        2,
        1,
        False,
    )
    assert (found[alone.pk].dead_letters, found[alone.pk].parked, found[alone.pk].stuck) == (
        0,
        0,
        True,
    )


def test_the_number_of_queries_does_not_grow_with_the_streams() -> None:
    """Thousands of streams do not take thousands of queries."""
    streams = [make(f"s{place}") for place in range(60)]
    for stream in streams:
        TypeState.objects.create(
            stream=stream, digest=entity_digest("message", ""), type="message", unregistered=1
        )
    with CaptureQueriesContext(connections["default"]) as queries:
        found = operations.reports()
    assert len(found) == 60
    assert len(queries) <= 6


@pytest.mark.parametrize(
    ("purpose", "field", "status"),
    [("snapshot", "snapshot", "snapshot-open"), ("rebuild", "rebuild", "rebuilding")],
)
def test_what_is_open_for_too_long_is_stuck(purpose: str, field: str, status: str) -> None:
    """A snapshot without an end, and a rebuild without a tail."""
    stream = make(status=Status.CATCHING_UP)
    generation = Generation.objects.create(stream=stream, purpose=purpose)
    Stream.objects.filter(pk=stream.pk).update(**{field: generation})
    assert (operations.report(stream).status, operations.report(stream).stuck) == (status, False)
    Generation.objects.update(created_at=ago(3601))
    assert operations.report(stream).stuck
    assert "open for 60 min" in operations.report(stream).why


def test_a_complete_stream_that_is_folded_again_has_not_been_waiting_until_then() -> None:
    """Its rows are up to date, and it did not need a worker before the reset."""
    stream = make(
        status=Status.CLOSED, since=ago(9000), created_at=ago(9000), up_to_date_at=ago(9000)
    )
    operations.reset(stream, actor="test")
    report = operations.report(stream)
    assert (report.status, report.why, report.lag_seconds) == ("rebuilding", "", 0.0)
    progress = {"done": 0, "total": 0, "rate": 0.0, "seconds_left": 0.0}
    assert report.to_json()["progress"] == progress
    Replay.objects.update(since=ago(301))
    assert operations.report(stream).why == "no worker for 5 min"


def test_a_type_that_was_registered_later_needs_a_reset() -> None:
    """Before its next message, and until it was folded again."""
    stream = make(status=Status.CLOSED)
    TypeState.objects.create(
        stream=stream, digest=entity_digest("message", ""), type="message", unregistered=3
    )
    TypeState.objects.create(
        stream=stream, digest=entity_digest("unknown", ""), type="unknown", unregistered=3
    )
    report = operations.report(stream)
    assert (report.status, report.stuck, report.action) == (
        "needs-reset",
        True,
        "manage.py durable_state reset chat --type message",
    )


def test_a_type_that_is_mapped_otherwise_needs_a_reset() -> None:
    """The rows were made by another mapping than the registered one."""
    apply(
        "chat",
        [
            {
                "type": "message",
                "key": "1",
                "value": {"text": "a"},
                "headers": {"operation": "insert"},
            }
        ],
    )
    stream = Stream.objects.get()
    assert operations.report(stream).status == "live"
    mapping = registry.find("message", "chat")
    assert mapping is not None
    assert stream.types.get().fingerprint == mapping.fingerprint
    stream.types.update(fingerprint="of another version")
    assert operations.report(stream).status == "needs-reset"


@pytest.mark.parametrize("count_to", [0, 1])
def test_letters_of_more_streams_than_a_server_recurses(database: str, count_to: int) -> None:
    """MySQL gives up after a thousand rounds, and MariaDB leaves out the rest."""
    streams = Stream.objects.using(database).bulk_create(
        Stream(name=f"many-{number}", url="http://localhost/many") for number in range(1_100)
    )
    pks = sorted(stream.pk for stream in streams)
    DeadLetter.objects.using(database).bulk_create(
        DeadLetter(
            stream_id=pk, entity=entity_digest("message", "1"), ordinal=1, reason="r", body=b"{}"
        )
        for pk in pks
    )
    found = operations.reports(database, pks=pks, count_to=count_to)
    assert [found[pk].dead_letters for pk in pks] == [1] * len(pks)


@pytest.mark.django_db(databases=["default", "postgres"])
def test_a_lock_that_is_in_nobodys_way_is_not_blamed() -> None:
    """For instance, of an open transaction that has inserted a row with a foreign key to the
    stream.
    """
    stream = make("slow", "postgres", status=Status.LIVE, up_to_date_at=ago(900))
    follow(stream)
    slow = Lease.objects.using("postgres").filter(stream=stream)
    slow.update(lags_since=ago(600), lags_because=Lease.Lag.COMMIT)
    with connections["postgres"].cursor() as cursor:
        cursor.execute("SELECT 1 FROM durable_state_stream FOR KEY SHARE")
    assert "is not committed yet" in operations.report(stream).why

    slow.update(lags_because=Lease.Lag.LOCKED)
    assert "has kept the stream's row locked" in operations.report(stream).why
