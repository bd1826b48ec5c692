"""Two ``durable_state run`` that share streams; one of them is killed, or frozen."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from django.db import connections
from django.db.models import Count

from bench.live.consumption import Consumer, consumer, running
from bench.recording import messages
from bench.streams import Producer, stream_server
from durable_state.models import Lease, Seat

__all__ = ["TakeOver", "measure"]

STREAMS = 20
EVEN = 0.2
"""The part of a share by which two seats may differ."""
APPEND_RATE = 500.0
"""Events per second: nearly all at once."""
SPREAD_SECONDS = 60.0
"""The most seconds until streams are spread; beyond that, something is broken."""


class TakeOver(msgspec.Struct):
    """How soon another process takes over one's streams."""

    database: str
    streams: int
    lease_seconds: float
    spread_after: float
    """Seconds from the start of a second seat until both have about as many."""
    shares: list[int]
    """How many each has then."""
    killed: float
    """Seconds from `kill -9` until events that were appended then are committed on all streams."""
    frozen: float
    """The same after SIGSTOP."""


def measure(alias: str, lease_seconds: float) -> TakeOver:
    """Starts a second process twice, and ends it in both ways."""
    environment = {"BENCH_DURABLE_STATE": json.dumps({"LEASE_SECONDS": lease_seconds})}
    recorded = list(messages("inserts", 2 * STREAMS))
    with stream_server() as server:
        urls = [server.stream() for _ in range(STREAMS)]
        with Producer(*urls) as producer, consumer(alias, urls, environment) as first:
            first.wait_until_live()
            with _sharing(alias, environment) as (second, spread_after):
                shares = _shares(alias)
                killed = _lose(first, second, signal.SIGKILL, producer, recorded[:STREAMS])
            with _sharing(alias, environment) as (second, _):
                frozen = _lose(first, second, signal.SIGSTOP, producer, recorded[STREAMS:])
    name = connections[alias].display_name
    return TakeOver(name, STREAMS, lease_seconds, spread_after, shares, killed, frozen)


@contextmanager
def _sharing(alias: str, environment: dict[str, str]) -> Iterator[tuple[Consumer, float]]:
    """A second process that has its share, and how long that took."""
    with running(alias, environment) as second:
        until, began = time.monotonic() + SPREAD_SECONDS, None
        while True:
            shares, now = _shares(alias), time.monotonic()
            if began is None and Seat.objects.using(alias).count() == 2:
                began = now
            is_even = len(shares) == 2 and max(shares) - min(shares) <= EVEN * STREAMS / 2
            if began is not None and is_even:
                break
            if now > until:
                raise RuntimeError(f"The streams are not spread: {shares}.")
            time.sleep(0.05)
        yield second, now - began
        second.process.kill()


def _shares(alias: str) -> list[int]:
    held = Lease.objects.using(alias).exclude(seat=None).order_by().values("seat")
    return list(held.annotate(count=Count("pk")).values_list("count", flat=True))


def _lose(
    first: Consumer, second: Consumer, how: signal.Signals, producer: Producer, events: list[bytes]
) -> float:
    """Seconds until the first has committed an event on each stream, including those of the
    second.
    """
    applied, began = first.applied, time.monotonic()
    second.process.send_signal(how)
    producer.append_steadily(events, APPEND_RATE)
    first.wait_for(applied + len(events))
    return time.monotonic() - began
