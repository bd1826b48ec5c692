"""CPU, statements and calls of a live commit of one event."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench.aims import Aim

from .commit import Counted, LiveCommit, count, measure

__all__ = ["Live"]

CPU_MS = {"PostgreSQL": 2.5, "SQLite": 2.0}
"""At most so many milliseconds."""
ROUND_TRIPS = 7.0
COUNTED = 100
"""Events of the run that counts calls: each commit does the same."""

HOW = (
    "`durable_state run` follows a stream to which mixed events (60 % inserts, 30 % updates, 10 % "
    "deletes, three types) are appended one by one, {rate:g} a second. CPU is that of the whole "
    "process (the median of the rounds), without what it uses in as much time while nothing "
    "happens. The rest is counted in a run of its own, likewise without what happens anyway: "
    "statements and round trips on the wire, by a proxy that reads the database's protocol (on "
    "SQLite by the library's own trace); calls as `cProfile` counts them, those of functions in C "
    "among them; plans by how many mappings are compiled."
)


class Live:
    """A commit of one event, again and again."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self._options = options
        self._measured: list[LiveCommit] = []
        self._counted: list[Counted] = []

    def run(self, alias: str) -> None:
        """Counts once, and measures round by round."""
        options = self._options
        counted = count(alias, min(options.live_events, COUNTED), options.live_rate)
        print(
            f"{counted.database}, live: {counted.statements:.1f} statements, "
            f"{counted.calls:,.0f} calls, {counted.plans:.1f} plans compiled a commit",
            flush=True,
        )
        self._counted.append(counted)
        statements = options.output / f"commit-{alias}.sql"
        statements.write_text("".join(f"{text};\n" for text in counted.newest))

        for number in range(options.rounds):
            done = measure(alias, options.live_events, options.live_rate, number)
            print(f"{done.database}, live: {done.cpu_ms:.2f} ms of CPU a commit", flush=True)
            self._measured.append(done)

    def tables(self) -> list[str]:
        """One table, a line for each database."""
        lines = [
            "| | CPU ms | idle, ms/s | statements | round trips | calls | plans | commits |",
            f"|---|{'---:|' * 7}",
        ]
        for each in self._counted:
            these = [done for done in self._measured if done.database == each.database]
            trips = "" if each.round_trips is None else f"{each.round_trips:.1f}"
            lines.append(
                f"| {each.database} | {median(done.cpu_ms for done in these):.2f} "
                f"| {median(done.idle_ms for done in these):.1f} "
                f"| {each.statements:.1f} | {trips} | {each.calls:,.0f} | {each.plans:.1f} "
                f"| {these[0].commits} of {these[0].events} events |"
            )
        return [
            "## A live commit of one event",
            HOW.format(rate=self._options.live_rate),
            "\n".join(lines),
        ]

    def aims(self) -> Iterator[Aim]:
        """CPU where there is a target, statements and plans everywhere."""
        for each in self._counted:
            if wanted := CPU_MS.get(each.database):
                found = [done.cpu_ms for done in self._measured if done.database == each.database]
                yield Aim(each.database, "live commit: CPU", median(found), wanted, " ms")
            trips = each.statements if each.round_trips is None else each.round_trips
            yield Aim(
                each.database,
                "live commit: round trips (SQLite: statements)",
                trips,
                ROUND_TRIPS,
                "",
            )
            yield Aim(each.database, "live commit: plans compiled", each.plans, 0.0, "")

    def measured(self) -> Any:
        """What was measured, and what was counted."""
        return {"cpu": self._measured, "counted": self._counted}
