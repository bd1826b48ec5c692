"""Appends to many streams in turn, and measures when each event is committed, and what that
costs.
"""

from __future__ import annotations

import time

import msgspec
from django.db import connections

from bench.live.consumption import consumer
from bench.recording import messages
from bench.spread import Spread, spread_of
from bench.streams import Producer, stream_server

__all__ = ["Busy", "measure"]

WARM_UP = 30
"""Events before the measured ones, or one for each stream, for everything that is made only
once.
"""


class Busy(msgspec.Struct):
    """The time and cost between an append and the commit, by how many streams share the appends."""

    database: str
    streams: int
    events: int
    committed: Spread
    """Milliseconds from the append until a receiver of the signal is called."""
    cpu_ms: float
    """CPU milliseconds per commit, without what the process uses while nothing happens."""


def measure(alias: str, streams: int, events: int, rate: float) -> Busy:
    """Inserts, ``rate`` per second in total, each into another stream than the one before."""
    warm_up = max(WARM_UP, streams)
    # All of one type: the first commit of another type differs from all others.
    recorded = list(messages("inserts", 3 * (warm_up + events)))[::3]
    keys = [msgspec.json.decode(message)["key"] for message in recorded[warm_up:]]
    with stream_server() as server:
        urls = [server.stream() for _ in range(streams)]
        with (
            Producer(*urls) as producer,
            consumer(alias, urls, {"BENCH_TIMED": "1"}) as following,
        ):
            following.wait_until_live()
            producer.append_steadily(recorded[:warm_up], max(rate, streams / 10))
            following.wait_for(warm_up)

            before = following.ask()["cpu"]
            time.sleep(events / rate)
            idle, commits = following.ask()["cpu"], following.commits
            sent = producer.append_steadily(recorded[warm_up:], rate)
            following.wait_for(warm_up + events)
            busy = following.ask()
            commits = following.commits - commits

    cpu = (busy["cpu"] - idle) - (idle - before)
    return Busy(
        connections[alias].display_name,
        streams,
        events,
        spread_of(dict(zip(keys, sent, strict=True)), busy["committed_at"]),
        1000 * cpu / commits,
    )
