"""Several rounds of laps, each contestant in turn."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.aims import Aim
from bench.recording import Recording, record
from bench.server import serve

from .aims import aims
from .chart import by_batch, by_contestant
from .laps import Lap, lap, streamdb_missing
from .report import comparison
from .upload import reference

__all__ = ["Bulk"]


class Bulk:
    """Mixed events and updates of a hundred keys; optionally from the reference server too."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self._options = options
        self._laps: list[Lap] = []
        self._charted: list[Lap] = []
        self._mixed = record("mixed", options.events, folder)
        self._hot = record("hot", options.events, folder)
        self._some = record("mixed", min(options.events, options.slow_events), folder)
        recordings = (self._mixed, self._hot, self._some)
        self._url = stack.enter_context(serve({each.name: each.path for each in recordings}))

        self._streamdb: tuple[str, ...] = ("streamdb",)
        self._uploaded = ""
        if missing := streamdb_missing():
            print(f"StreamDB and the reference server are left out: {missing}")
            self._streamdb = ()
        elif options.reference:
            self._uploaded = stack.enter_context(reference(self._mixed))

    def run(self, alias: str) -> None:
        """Runs all rounds on one database."""
        for number in range(self._options.rounds):
            for contestant in ("durable_state", "bulk_create", "floor", *self._streamdb):
                self._lap(alias, contestant, self._mixed, number)
            for contestant in ("durable_state", "decode"):
                self._lap(alias, contestant, self._hot, number)
            if self._uploaded:
                for contestant in ("durable_state", *self._streamdb, "decode"):
                    self._lap(alias, contestant, self._mixed, number, self._uploaded)
            for size in self._options.chart or ():
                self._lap(alias, "durable_state", self._mixed, number, batch=size)
        self._lap(alias, "update_or_create", self._some, 0)

    def _lap(
        self,
        alias: str,
        contestant: str,
        recording: Recording,
        number: int,
        uploaded: str = "",
        batch: int | None = None,
    ) -> None:
        done = lap(
            alias,
            contestant,
            recording,
            uploaded or f"{self._url}/{recording.name}",
            server="reference" if uploaded else "static",
            batch=batch,
            number=number,
        )
        print(done.told(), flush=True)
        (self._laps if batch is None else self._charted).append(done)

    def tables(self) -> list[str]:
        """One table for each database and recording; also writes the charts."""
        laps = [*self._laps, *self._charted]
        (self._options.output / "bulk.svg").write_text(by_contestant(laps))
        if self._charted:
            (self._options.output / "batches.svg").write_text(by_batch(laps))
        return comparison(self._laps)

    def aims(self) -> Iterator[Aim]:
        """Each aim for which there are laps."""
        return aims(self._laps)

    def measured(self) -> Any:
        """All laps."""
        return [*self._laps, *self._charted]
