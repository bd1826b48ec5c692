"""Appends event after event, and measures when each arrived where."""

from __future__ import annotations

from contextlib import ExitStack

import msgspec
from django.db import connections

from bench.live.consumption import NAME, consumer
from bench.recording import messages
from bench.spread import Spread, spread_of
from bench.streams import Producer, stream_server

from .listeners import direct, websocket

__all__ = ["Latency", "measure"]

WARM_UP = 30
"""Events before the measured ones."""


class Latency(msgspec.Struct):
    """Milliseconds from the append of an event to each of these places."""

    database: str
    number: int
    events: int
    committed: Spread
    """This product's consumer: a receiver of its signal."""
    websocket: Spread
    """The callback of a websocket's client."""
    direct: Spread | None
    """The callback of the reference client on the stream itself; None without Node."""
    web_ms: float
    """CPU milliseconds of the web process for each event."""


def measure(
    alias: str, redis: str, events: int, rate: float, number: int, *, with_direct: bool
) -> Latency:
    """Appends inserts steadily; both clients receive each of them, so that they have the same
    load.
    """
    recorded = list(messages("inserts", WARM_UP + events))
    keys = [msgspec.json.decode(message)["key"] for message in recorded]
    with ExitStack() as stack:
        server = stack.enter_context(stream_server())
        url = server.stream(NAME)
        producer = stack.enter_context(Producer(url))
        environment = {"BENCH_TIMED": "1", "BENCH_REDIS": redis}
        following = stack.enter_context(consumer(alias, [url], environment))
        waiting = [stack.enter_context(websocket(alias, NAME, redis))]
        if with_direct:
            waiting.append(stack.enter_context(direct(url)))

        producer.append_steadily(recorded[:WARM_UP], rate)
        for arrivals in waiting:
            arrivals.wait_for(keys[WARM_UP - 1])
        web = waiting[0].cpu()
        sent = producer.append_steadily(recorded[WARM_UP:], rate)
        for arrivals in waiting:
            arrivals.wait_for(keys[-1])

        committed: dict[str, int] = following.ask()["committed_at"]
        sent_at = dict(zip(keys[WARM_UP:], sent, strict=True))
        spreads = [spread_of(sent_at, each.seen) for each in waiting]
        return Latency(
            connections[alias].display_name,
            number,
            events,
            spread_of(sent_at, committed),
            spreads[0],
            spreads[1] if with_direct else None,
            1000 * (waiting[0].cpu() - web) / events,
        )
