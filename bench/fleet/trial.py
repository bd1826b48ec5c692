"""Many streams under one seat."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.aims import Aim

from .idle import Idle, measure

__all__ = ["FleetTrial"]

CPU_PERCENT, TRANSACTIONS, MEMORY_MB, STOP_SECONDS = 6.0, 15.0, 150.0, 5.0
"""At most, of a thousand streams."""
JUDGED = 1000

HOW = (
    "`durable_state run` follows streams by long-poll on which nothing happens, for {seconds:g} s. "
    "The server ends each request after 30 s, as the reference server does. CPU and memory are "
    "those of the whole process."
)


class FleetTrial:
    """What idle streams cost."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self._options = options
        self._measured: list[Idle] = []

    def run(self, alias: str) -> None:
        """Once for each number of streams: a second run does the same."""
        for streams in self._options.idle_streams:
            done = measure(alias, streams, self._options.idle_seconds)
            print(
                f"{done.database}, {streams} idle streams: {done.cpu:.1f} % of a core, "
                f"{done.memory_mb:.0f} MB",
                flush=True,
            )
            self._measured.append(done)

    def tables(self) -> list[str]:
        """One table, a line for each database and number of streams."""
        lines = [
            "| | streams | all live after | CPU, % of a core | transactions/s | MB | SIGTERM |",
            f"|---|{'---:|' * 6}",
        ]
        for each in self._measured:
            rate = "" if each.transactions is None else f"{each.transactions:.1f}"
            lines.append(
                f"| {each.database} | {each.streams:,} | {each.live_after:.1f} s "
                f"| {each.cpu:.1f} | {rate} | {each.memory_mb:.0f} | {each.stopped_after:.1f} s |"
            )
        return [
            "## Streams on which nothing happens",
            HOW.format(seconds=self._options.idle_seconds),
            "\n".join(lines),
        ]

    def aims(self) -> Iterator[Aim]:
        """Of a thousand streams."""
        for each in self._measured:
            if each.streams != JUDGED:
                continue
            yield Aim(each.database, "1,000 idle streams: CPU", each.cpu, CPU_PERCENT, " %")
            if each.transactions is not None:
                yield Aim(
                    each.database,
                    "1,000 idle streams: transactions",
                    each.transactions,
                    TRANSACTIONS,
                    "/s",
                )
            yield Aim(each.database, "1,000 idle streams: memory", each.memory_mb, MEMORY_MB, " MB")
            yield Aim(
                each.database,
                "1,000 idle streams: end on SIGTERM",
                each.stopped_after,
                STOP_SECONDS,
                " s",
            )

    def measured(self) -> Any:
        """What was measured."""
        return self._measured
