"""Several rounds of a snapshot and of plain inserts, in turn."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench.aims import Aim
from bench.bulk.laps import Lap, lap
from bench.recording import record
from bench.server import serve

__all__ = ["Snapshot"]

INSERTS = 1.6
"""At most this many times as long as the inserts take."""
HOW = (
    "Durable State, into empty tables: all entities between `snapshot-start` and `snapshot-end`, "
    "and the same entities without. Microseconds per entity; medians over the rounds."
)


class Snapshot:
    """Two recordings, each served as one response."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self._rounds = options.rounds
        self._laps: list[Lap] = []
        self._recordings = [
            record(kind, options.events, folder) for kind in ("inserts", "snapshot")
        ]
        paths = {each.name: each.path for each in self._recordings}
        self._url = stack.enter_context(serve(paths))

    def run(self, alias: str) -> None:
        """Runs all rounds on one database."""
        for number in range(self._rounds):
            for each in self._recordings:
                url = f"{self._url}/{each.name}"
                done = lap(alias, "durable_state", each, url, number=number)
                print(f"{done.told()}, {done.microseconds:.1f} µs an entity", flush=True)
                self._laps.append(done)

    def tables(self) -> list[str]:
        """One table with a row for each database."""
        lines = [
            "| | snapshot, clock | inserts, clock | times | snapshot, CPU | inserts, CPU |",
            f"|---|{'---:|' * 5}",
        ]
        for database in self._databases():
            snapshot, inserts = self._of(database, "snapshot"), self._of(database, "inserts")
            cpu = [
                median(1e6 * each.cpu / each.events for each in laps)
                for laps in (snapshot, inserts)
            ]
            lines.append(
                f"| {database} | {median(each.microseconds for each in snapshot):.1f} "
                f"| {median(each.microseconds for each in inserts):.1f} "
                f"| {self._times(database):.2f} | {cpu[0]:.1f} | {cpu[1]:.1f} |"
            )
        return ["## One snapshot", HOW, "\n".join(lines)]

    def aims(self) -> Iterator[Aim]:
        """One aim for each database."""
        for database in self._databases():
            text = "snapshot: time against plain inserts"
            yield Aim(database, text, self._times(database), INSERTS)

    def measured(self) -> Any:
        """All laps."""
        return self._laps

    def _databases(self) -> list[str]:
        return list(dict.fromkeys(each.database for each in self._laps))

    def _of(self, database: str, kind: str) -> list[Lap]:
        return [each for each in self._laps if (each.database, each.recording) == (database, kind)]

    def _times(self, database: str) -> float:
        rounds = zip(self._of(database, "snapshot"), self._of(database, "inserts"), strict=True)
        return median(snapshot.wall / inserts.wall for snapshot, inserts in rounds)
