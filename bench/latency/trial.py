"""A page compared with a client on the stream itself, in several rounds."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench.aims import Aim
from bench.bulk.laps import streamdb_missing
from bench.spread import Spread
from bench.trial import Series
from tests import services

from .course import Latency, measure

__all__ = ["LatencyTrial"]

ALIAS = "postgres"
TIMES = 2.5
"""At most this many times the latency of the client on the stream itself."""
HOW = (
    "Inserts are appended one by one, {rate:g} a second; `durable_state run` commits them to "
    "PostgreSQL and rings by Redis, uvicorn serves the websocket. The reference client reads the "
    "same stream by SSE in the same run: each event goes to both. Milliseconds from the append, "
    "p50 and p99; medians of the rounds. The web process used {web:.1f} ms of CPU for each event."
)


class LatencyTrial(Series[Latency]):
    """From append to callback; on PostgreSQL, with a Redis between the processes."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        super().__init__(options, folder, stack)
        self._redis = services.find("redis")
        self._direct_missing = streamdb_missing()
        if self._direct_missing:
            print(f"The reference client is left out: {self._direct_missing}")
        if self._redis is None:
            print(f"Latency is left out: {services.missing['redis']}")
        if ALIAS not in options.databases or ALIAS in services.missing:
            print("Latency is left out: it is measured on PostgreSQL")

    def run(self, alias: str) -> None:
        """All rounds, on PostgreSQL."""
        if alias != ALIAS or self._redis is None:
            return
        options = self.options
        for number in range(options.rounds):
            done = measure(
                alias,
                self._redis,
                options.live_events,
                options.live_rate,
                number,
                with_direct=not self._direct_missing,
            )
            told = f"{done.database}, latency: {_told(done.websocket)} ms, {_beside(done)}"
            self.note(done, told)

    def tables(self) -> list[str]:
        """One table, a line for each place where an event arrives."""
        if not self.found:
            return []
        lines = ["| | p50 | p99 |", "|---|---:|---:|"]
        places = {
            "the reference client on the stream itself, SSE": [
                each.direct for each in self.found if each.direct is not None
            ],
            "committed": [each.committed for each in self.found],
            "callback of the websocket": [each.websocket for each in self.found],
        }
        for place, spreads in places.items():
            if spreads:
                p50 = median(each.p50 for each in spreads)
                p99 = median(each.p99 for each in spreads)
                lines.append(f"| {place} | {p50:.1f} | {p99:.1f} |")
        web = median(each.web_ms for each in self.found)
        how = HOW.format(rate=self.options.live_rate, web=web)
        return ["## From append to callback", how, "\n".join(lines)]

    def aims(self) -> Iterator[Aim]:
        """One target, if there is something to compare with."""
        times = [
            each.websocket.p50 / each.direct.p50 for each in self.found if each.direct is not None
        ]
        if times:
            text = (
                "append → commit → websocket callback, p50, against the client on the stream itself"
            )
            yield Aim(self.found[0].database, text, median(times), TIMES)


def _told(spread: Spread) -> str:
    return f"{spread.p50:.1f} / {spread.p99:.1f}"


def _beside(done: Latency) -> str:
    committed = f"committed {_told(done.committed)}"
    direct = "" if done.direct is None else f", directly {_told(done.direct)}"
    return f"{committed}{direct}, {done.web_ms:.1f} ms of the web process's CPU"
