"""Many streams under one seat, and two seats that share them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.aims import Aim
from bench.trial import Series, Trial

from . import busy, idle, takeover
from .busy import Busy
from .idle import Idle
from .takeover import TakeOver

__all__ = ["FleetTrial"]


class FleetTrial:
    """What many streams cost, quiet and busy, and how soon another worker takes them over."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        kinds: dict[str, Any] = {"idle": _Quiet, "busy": _Busy, "take-over": _TakeOver}
        self._parts: dict[str, Trial] = {
            name: kind(options, folder, stack) for name, kind in kinds.items()
        }

    def run(self, alias: str) -> None:
        """Once each: a second run gives the same."""
        for part in self._parts.values():
            part.run(alias)

    def tables(self) -> list[str]:
        """The results of each part."""
        return [block for part in self._parts.values() for block in part.tables()]

    def aims(self) -> Iterator[Aim]:
        """The targets of each part."""
        for part in self._parts.values():
            yield from part.aims()

    def measured(self) -> Any:
        """The measurements, by part."""
        return {name: part.measured() for name, part in self._parts.items()}


class _Quiet(Series[Idle]):
    """What idle streams cost."""

    JUDGED = 1000
    """The numbers of streams for which there are targets."""
    HOW = (
        "`durable_state run` follows streams by long-poll on which nothing happens, for "
        "{seconds:g} s. The server ends each request after 30 s, as the reference server does. CPU "
        "and memory are those of the whole process; connections are those to the stream server "
        "and to the database."
    )

    def run(self, alias: str) -> None:
        for streams in self.options.idle_streams:
            done = idle.measure(alias, streams, self.options.idle_seconds)
            told = f"{done.cpu:.1f} % of a core, {done.memory_mb:.0f} MB"
            self.note(done, f"{done.database}, {streams} idle streams: {told}")

    def tables(self) -> list[str]:
        head = (
            "| | streams | all live after | CPU, % of a core | transactions/s | statements/s | MB "
            "| connections | SIGTERM |"
        )
        lines = [head, f"|---|{'---:|' * 8}"]
        for each in self.found:
            lines.append(
                f"| {each.database} | {each.streams:,} | {each.live_after:.1f} s "
                f"| {each.cpu:.1f} | {_rate(each.transactions)} | {_rate(each.statements)} "
                f"| {each.memory_mb:.0f} | {each.connections:,} | {each.stopped_after:.1f} s |"
            )
        how = self.HOW.format(seconds=self.options.idle_seconds)
        return ["## Streams on which nothing happens", how, "\n".join(lines)]

    def aims(self) -> Iterator[Aim]:
        for each in self.found:
            if each.streams != self.JUDGED:
                continue
            yield Aim(each.database, "1,000 idle streams: CPU", each.cpu, 6.0, " %")
            if each.transactions is not None:
                text = "1,000 idle streams: transactions"
                yield Aim(each.database, text, each.transactions, 15.0, "/s")
            yield Aim(each.database, "1,000 idle streams: memory", each.memory_mb, 150.0, " MB")
            text = "1,000 idle streams: end on SIGTERM"
            yield Aim(each.database, text, each.stopped_after, 5.0, " s")


class _Busy(Series[Busy]):
    """What a commit costs, and how long it takes, if many streams share the appends."""

    TIMES = 1.2
    """Times the CPU of a commit when all events belong to one stream."""
    HOW = (
        "Inserts are appended one by one, {rate:g} a second in all, to each stream in turn; one "
        "`durable_state run` follows all of them by SSE. Milliseconds from the append until the "
        "receiver of a signal is told of the commit, and CPU for each commit, without what the "
        "process uses in as much time while nothing happens."
    )

    def run(self, alias: str) -> None:
        for streams in self.options.busy_streams:
            done = busy.measure(alias, streams, self.options.live_events, self.options.live_rate)
            told = f"{done.committed.p50:.1f} / {done.committed.p99:.1f} ms to the commit"
            self.note(done, f"{done.database}, {streams} streams in turn: {told}")

    def tables(self) -> list[str]:
        lines = [
            "| | streams | committed, p50 | p99 | CPU ms a commit |",
            f"|---|{'---:|' * 4}",
        ]
        for each in self.found:
            lines.append(
                f"| {each.database} | {each.streams:,} | {each.committed.p50:.1f} "
                f"| {each.committed.p99:.1f} | {each.cpu_ms:.2f} |"
            )
        how = self.HOW.format(rate=self.options.live_rate)
        return ["## Streams that share the appends", how, "\n".join(lines)]

    def aims(self) -> Iterator[Aim]:
        alone = {each.database: each.cpu_ms for each in self.found if each.streams == 1}
        for each in self.found:
            if each.streams > 1 and each.database in alone:
                text = f"{each.streams:,} streams share the appends: CPU of a commit, beside one"
                times = each.cpu_ms / alone[each.database]
                yield Aim(each.database, text, times, self.TIMES)


class _TakeOver(Series[TakeOver]):
    """How two processes share streams, and the cost when one ends."""

    BEYOND_SECONDS = 2.0
    """Seconds beyond the lease's time."""
    SPREAD_SECONDS = 10.0
    HOW = (
        "Two `durable_state run` share {streams} streams; LEASE_SECONDS is {lease:g}. One of them "
        "is killed, or frozen by SIGSTOP, and an event is appended to each stream: seconds until "
        "all of them are committed."
    )

    def run(self, alias: str) -> None:
        done = takeover.measure(alias, self.options.lease_seconds)
        told = f"{done.killed:.1f} s after kill -9, {done.frozen:.1f} s after SIGSTOP"
        self.note(done, f"{done.database}, taken over: {told}")

    def tables(self) -> list[str]:
        lines = [
            "| | shared after | streams of each | after `kill -9` | after SIGSTOP |",
            f"|---|{'---:|' * 4}",
        ]
        for each in self.found:
            lines.append(
                f"| {each.database} | {each.spread_after:.1f} s "
                f"| {' and '.join(map(str, each.shares))} | {each.killed:.1f} s "
                f"| {each.frozen:.1f} s |"
            )
        how = self.HOW.format(streams=takeover.STREAMS, lease=self.options.lease_seconds)
        return ["## When another worker comes, or goes", how, "\n".join(lines)]

    def aims(self) -> Iterator[Aim]:
        for each in self.found:
            within = each.lease_seconds + self.BEYOND_SECONDS
            yield Aim(each.database, "taken over after kill -9", each.killed, within, " s")
            yield Aim(each.database, "taken over after SIGSTOP", each.frozen, within, " s")
            text = "shared evenly once a second worker comes"
            yield Aim(each.database, text, each.spread_after, self.SPREAD_SECONDS, " s")


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
