"""The three ways side by side, for few subscribers and for many."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench.aims import Aim
from tests import services

from .crowd import WAYS, Served, measure
from .multitude import Multitude, measure_multitude

__all__ = ["FanOutTrial"]

ALIAS = "postgres"
JUDGED = 200
"""The number of subscribers for which there is a target."""
TIMES_TUTORIAL = 5.0
SHARE_OF_FLOOR = 0.8
HOW = (
    "Inserts are appended one by one, {rate:g} a second, and committed to PostgreSQL by "
    "`durable_state run`. One uvicorn process serves each way in its turn: this product's "
    "websocket, with its bell over Redis; a consumer as Channels' tutorial has them, with "
    "`channels_redis.core`; and a floor, one Redis subscription and a bare ASGI `send` for each "
    "socket. All send the same text, uncompressed. Frames to callbacks, for a second of the "
    "web process's CPU and for a second; the clients are a process of their own, whose seconds of "
    "CPU are counted apart. Milliseconds from append to callback, p50 and p99; medians of the "
    "rounds."
)
HOW_MANY = (
    "All sockets are of one uvicorn process and follow one stream; their clients are processes of "
    "2,500. Memory and CPU are the web process's. Milliseconds from an append until the first "
    "socket, and until all had it, medians of {events} appends."
)
EVENTS = 5
"""Events appended one by one to very many sockets."""


class FanOutTrial:
    """Deliveries and latency; on PostgreSQL, with a Redis between the processes."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self._options = options
        self._measured: list[Served] = []
        self._multitudes: list[Multitude] = []
        self._redis = services.find("redis")
        if self._redis is None:
            print(f"Fan-out is left out: {services.missing['redis']}")
        if ALIAS not in options.databases or ALIAS in services.missing:
            print("Fan-out is left out: it is measured on PostgreSQL")

    def run(self, alias: str) -> None:
        """All rounds, on PostgreSQL."""
        if alias != ALIAS or self._redis is None:
            return
        options = self._options
        for number in range(options.rounds):
            for subscribers in options.subscribers:
                for way in WAYS:
                    done = measure(
                        alias,
                        self._redis,
                        way,
                        subscribers,
                        options.live_events,
                        options.live_rate,
                        number,
                    )
                    print(
                        f"fan-out, {way}, {subscribers} subscribers: "
                        f"{done.per_cpu_second:,.0f} frames for a second of CPU, "
                        f"{done.latency.p50:.1f} / {done.latency.p99:.1f} ms, {done.lost:,} lost",
                        flush=True,
                    )
                    self._measured.append(done)
            if options.sockets:
                self._measure_multitude(alias, number)

    def _measure_multitude(self, alias: str, number: int) -> None:
        assert self._redis is not None
        done = measure_multitude(alias, self._redis, self._options.sockets, EVENTS, number)
        print(
            f"fan-out, {done.sockets:,} sockets: {done.memory_kb:.0f} KB and "
            f"{done.opening_cpu:.1f} ms of CPU each, {done.idle_cpu:.1f} % idle, "
            f"{done.first:.0f} to {done.last:.0f} ms, {done.lost:,} lost",
            flush=True,
        )
        self._multitudes.append(done)

    def tables(self) -> list[str]:
        """One table, a line for each way and number of subscribers."""
        if not self._measured:
            return self._told_of_multitudes()
        lines = [
            "| subscribers | way | for a second of CPU | a second | p50 | p99 | lost | their CPU |",
            f"|---:|---|{'---:|' * 6}",
        ]
        for subscribers in self._options.subscribers:
            for way in WAYS:
                these = self._of(way, subscribers)
                lines.append(
                    f"| {subscribers} | {way} "
                    f"| {median(each.per_cpu_second for each in these):,.0f} "
                    f"| {median(each.frames / each.seconds for each in these):,.0f} "
                    f"| {median(each.latency.p50 for each in these):.1f} "
                    f"| {median(each.latency.p99 for each in these):.1f} "
                    f"| {max(each.lost for each in these):,} "
                    f"| {median(each.clients_cpu for each in these):.1f} |"
                )
        how = HOW.format(rate=self._options.live_rate)
        served = ["## From one commit to many callbacks", how, "\n".join(lines)]
        return [*served, *self._told_of_multitudes()]

    def _told_of_multitudes(self) -> list[str]:
        if not self._multitudes:
            return []
        lines = [
            "| sockets | KB each | ms of CPU to open | CPU idle | first | last | lost |",
            f"|{'---:|' * 7}",
        ]
        lines += [
            f"| {each.sockets:,} | {each.memory_kb:.0f} | {each.opening_cpu:.1f} "
            f"| {each.idle_cpu:.1f} % | {each.first:.0f} | {each.last:.0f} | {each.lost:,} |"
            for each in self._multitudes
        ]
        return ["## Many sockets in one process", HOW_MANY.format(events=EVENTS), "\n".join(lines)]

    def aims(self) -> Iterator[Aim]:
        """For the number of subscribers that was chosen before there was anything to measure."""
        ours = self._of("durable_state", JUDGED)
        if not ours:
            return
        found = median(each.per_cpu_second for each in ours)
        for other, wanted in (("tutorial", TIMES_TUTORIAL), ("floor", SHARE_OF_FLOOR)):
            theirs = median(each.per_cpu_second for each in self._of(other, JUDGED))
            text = f"fan-out to {JUDGED}: frames for a second of CPU, against the {other}'s"
            yield Aim(ALIAS, text, found / theirs, wanted, most=False)
        lost = max(each.lost for each in self._measured if each.way == "durable_state")
        yield Aim(ALIAS, "fan-out: changes that were lost", lost, 0, "")

    def measured(self) -> Any:
        """All rounds."""
        return [*self._measured, *self._multitudes]

    def _of(self, way: str, subscribers: int) -> list[Served]:
        return [
            each for each in self._measured if (each.way, each.subscribers) == (way, subscribers)
        ]
