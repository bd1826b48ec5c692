"""Standings: the statuses that reports show, found for thousands of streams at once."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.test.utils import CaptureQueriesContext

from durable_state import operations
from durable_state.consumer.process_names import name_process
from durable_state.databases.clock import database_now
from durable_state.models import (
    DeadLetter,
    Doorbell,
    Generation,
    Lease,
    Live,
    ParkedChange,
    Replay,
    Seat,
    Status,
    Stream,
    TypeState,
    WakeStream,
    entity_digest,
)
from durable_state.registry import registry

SECONDS = [-5, 25, 100, 9000]
"""Ages that stay away from every bound while the test runs: 10, 15, 45 and 300 seconds."""


class Making:
    """Creates streams in random states of all kinds."""

    def __init__(self, using: str) -> None:
        self.rows: list[Any] = []
        self.using, self.chance = using, random.Random(7)
        self.now = database_now(using)
        dead = name_process("run").replace(f":{name_process('').split(':')[1]}:", ":4194304:")
        self.seats = [
            self.seat("elsewhere:1:run:x", -5, 60),
            self.seat("elsewhere:2:run:x", 25, 60),
            self.seat("elsewhere:3:run:x", 9000, -9000),
            self.seat(dead, -5, 60),
        ]
        self.wakes = WakeStream.objects.using(using).create(
            digest="d", url="http://localhost/w", expires_at=self.now - timedelta(seconds=100)
        )

    def seat(self, name: str, seen: int, left: int) -> Seat:
        return Seat.objects.using(self.using).create(
            name=name,
            capacity=9,
            joined_at=self.now,
            seen_at=self.ago(seen),
            expires_at=self.ago(-left),
        )

    def ago(self, seconds: float) -> datetime:
        return self.now - timedelta(seconds=seconds)

    def sometime(self) -> datetime:
        return self.ago(self.chance.choice(SECONDS))

    def rarely(self, odd: Any, usual: Any) -> Any:
        return odd if self.chance.random() < 0.1 else usual

    def stream(self, number: int) -> Stream:
        chance, mapped = self.chance, self.rarely(0, 3)
        return Stream(
            name=f"s{number}",
            url="http://localhost/s",
            status=chance.choice(Status.values),
            live=chance.choice(Live.values),
            paused=self.rarely(True, False),
            created_at=self.ago(9000),
            since=self.sometime(),
            up_to_date_at=chance.choice([None, self.sometime()]),
            retry_at=chance.choice([None, self.sometime()]),
            hangs_in=self.rarely("prepare", ""),
            ordinal=mapped + 2,
            applied_count=mapped,
            unregistered_count=self.rarely(2, 0),
        )

    def add(self, row: Any) -> None:
        self.rows.append(row)

    def save(self) -> None:
        models: list[Any] = [Lease, Doorbell, Replay, TypeState]
        for model in models:
            rows = [row for row in self.rows if isinstance(row, model)]
            model.objects.using(self.using).bulk_create(rows)

    def surroundings(self, stream: Stream) -> None:
        """The related rows of a stream, all or none of them."""
        using, chance = self.using, self.chance
        if chance.random() < 0.8:
            self.add(
                Lease(
                    stream=stream,
                    seat=chance.choice([None, *self.seats[:1], *self.seats]),
                    seen_at=self.sometime(),
                    lags_since=chance.choice([None, None, self.sometime()]),
                    left_at_tail=chance.choice([True, False]),
                )
            )
        if stream.has_doorbell:
            self.add(
                Doorbell(
                    stream=stream,
                    wake_stream=chance.choice([None, None, self.wakes]),
                    due_at=chance.choice([self.ago(-600), self.sometime()]),
                    confirmed_at=chance.choice([None, self.sometime()]),
                    last_error=chance.choice(["", "refused"]),
                )
            )
        if self.rarely(True, False):
            field = chance.choice(["snapshot", "rebuild"])
            opened = Generation.objects.using(using).create(stream=stream, purpose=field)
            Stream.objects.using(using).filter(pk=stream.pk).update(**{field: opened})
        if self.rarely(True, False):
            self.add(Replay(stream=stream, since=self.sometime()))
        mapping = registry.find("message", stream.name)
        assert mapping is not None
        self.add(
            TypeState(
                stream=stream,
                digest=entity_digest("message", ""),
                type="message",
                fingerprint=self.rarely(chance.choice(["", "older"]), mapping.fingerprint),
                unregistered=self.rarely(2, 0),
                needs_reset=self.rarely(True, False),
            )
        )


def test_standings_say_what_reports_say(using: str) -> None:
    """Whatever state a stream is in."""
    making = Making(using)
    streams = [making.stream(number) for number in range(500)]
    for stream in Stream.objects.using(using).bulk_create(streams):
        making.surroundings(stream)
    making.save()
    expected = {
        pk: (report.status, report.stuck) for pk, report in operations.reports(using).items()
    }
    found = operations.standings(Stream.objects.using(using))
    names = Stream.objects.using(using).in_bulk()
    assert {names[pk].name: tuple(each) for pk, each in found.items()} == {
        names[pk].name: each for pk, each in expected.items()
    }
    statuses = Counter(status for status, _stuck in expected.values())
    assert len(statuses) >= 12, statuses


def test_streams_that_are_well_cost_nothing_each(using: str) -> None:
    """Neither a query nor a report: followed, rung for, closed, or left at the tail."""
    making = Making(using)
    streams = Stream.objects.using(using).bulk_create(
        Stream(
            name=f"s{number}",
            url="http://localhost/s",
            status=status,
            live=live,
            since=making.ago(9000),
            created_at=making.ago(9000),
            up_to_date_at=making.ago(9000),
        )
        for number, (status, live) in enumerate(
            [("live", "sse"), ("live", "webhook"), ("closed", "sse"), ("live", "long-poll")]
        )
    )
    followed, rung, _closed, left = streams
    leases = Lease.objects.using(using)
    leases.create(stream=followed, seat=making.seats[0])
    leases.create(stream=left, seen_at=making.ago(9000), left_at_tail=True)
    Doorbell.objects.using(using).create(stream=rung, due_at=making.ago(-600))
    with CaptureQueriesContext(connections[using]) as asked:
        found = operations.standings(Stream.objects.using(using))
    assert [found[each.pk] for each in streams] == [
        ("live", False),
        ("waiting", False),
        ("closed", False),
        ("up-to-date", False),
    ]
    assert len(asked) <= 3


def test_what_is_not_applied_is_known_by_stream(using: str) -> None:
    """Letters that are shown, and changes that are parked."""
    letter, parked, _nothing = Stream.objects.using(using).bulk_create(
        Stream(name=f"s{number}", url="http://localhost/s") for number in range(3)
    )
    DeadLetter.objects.using(using).create(
        stream=letter, entity="e", ordinal=1, reason="x", body=b"{}"
    )
    ParkedChange.objects.using(using).create(
        stream=parked, entity="e", type="t", key="k", ordinal=1, reason="parent", prepared=b"{}"
    )
    assert operations.unapplied(using) == ({letter.pk}, {parked.pk})
