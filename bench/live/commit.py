"""Follows a live stream in a separate process, and divides its cost by the number of commits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from django.db import connections

from bench.profile import Profiled
from bench.recording import messages
from bench.streams import Producer, stream_server

from .consumption import NAME, Consumer, consumer
from .wire import Wire, listen_before

__all__ = ["Counted", "LiveCommit", "count", "measure", "profile"]

WARM_UP = 30
"""Events before the measured ones, for everything that is made only once."""


class LiveCommit(msgspec.Struct):
    """CPU of the consuming process, without what it uses while nothing happens."""

    database: str
    number: int
    events: int
    commits: int
    cpu_ms: float
    """Milliseconds per commit."""
    idle_ms: float
    """Milliseconds per second while nothing happens."""


class Counted(msgspec.Struct):
    """What a commit does on average, without what is done while nothing happens."""

    database: str
    commits: int
    statements: float
    """Statements, including `BEGIN`, savepoints and `COMMIT`."""
    round_trips: float | None
    """How often the process waited for the database server; None without a server."""
    calls: float
    """Calls of functions, in Python and in C."""
    plans: float
    """Compiled plans of types."""
    newest: list[str]
    """The statements of the newest commit: those after the previous `COMMIT`."""


def measure(alias: str, events: int, rate: float, number: int) -> LiveCommit:
    """CPU of a commit of one event."""
    with _course(alias) as course:
        idle, busy, commits = course.run(events, rate)
    cpu = busy["cpu"] - idle["cpu"]
    idle_ms = 1000 * idle["cpu"] * rate / events
    database = connections[alias].display_name
    return LiveCommit(database, number, events, commits, 1000 * cpu / commits, idle_ms)


def count(alias: str, events: int, rate: float) -> Counted:
    """Statements, round trips and calls of such a commit, in a separate, slower run."""
    with _course(alias, is_counted=True, BENCH_COUNTED="1") as course:
        idle, busy, commits = course.run(events, rate)
    spent = {name: (busy[name] - idle[name]) / commits for name in busy if name != "newest"}
    return Counted(
        connections[alias].display_name,
        commits,
        spent["statements"],
        spent.get("round_trips"),
        spent["calls"],
        spent["plans"],
        _newest(busy["newest"]),
    )


def _newest(texts: list[str]) -> list[str]:
    ends = [number for number, text in enumerate(texts) if text == "COMMIT"]
    return texts[ends[-2] + 1 : ends[-1] + 1] if len(ends) > 1 else texts


def profile(alias: str, events: int, rate: float, path: Path) -> Profiled:
    """Seconds by room; also writes to ``path``, for ``pstats``, what the database threads call."""
    with _course(alias, BENCH_PROFILE=str(path)) as course:
        course.run(events, rate)

    with _course(alias, BENCH_SAMPLED="1") as course:
        idle, busy, commits = course.run(events, rate)
    modules = {
        name: seconds - idle["modules"].get(name, 0.0) for name, seconds in busy["modules"].items()
    }
    title = "µs for a live commit of one event"
    database = connections[alias].display_name
    return Profiled(title, database, commits, modules, busy["cpu"] - idle["cpu"])


class Course:
    """A consumer that follows a stream, and the producer of that stream."""

    def __init__(self, consumer: Consumer, producer: Producer, wire: Wire | None) -> None:
        self._consumer = consumer
        self._producer = producer
        self._wire = wire

    def run(self, events: int, rate: float) -> tuple[dict[str, Any], dict[str, Any], int]:
        """The cost of as much time without events, then with them; and the commits."""
        recorded = list(messages("mixed", WARM_UP + events))
        self._producer.append_steadily(recorded[:WARM_UP], rate)
        self._consumer.wait_for(WARM_UP)

        before = self._ask()
        time.sleep(events / rate)
        idle = self._ask()

        commits = self._consumer.commits
        self._producer.append_steadily(recorded[WARM_UP:], rate)
        self._consumer.wait_for(WARM_UP + events)
        busy = self._ask()
        commits = self._consumer.commits - commits
        return _difference(before, idle), _difference(idle, busy), commits

    def _ask(self) -> dict[str, Any]:
        told = self._consumer.ask()
        if self._wire is not None:
            told["texts"] = list(self._wire.statements.texts)
            told["round_trips"] = self._wire.statements.round_trips
        return told


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    spent: dict[str, Any] = {}
    for name, now in after.items():
        if name == "texts":
            spent["statements"] = len(now) - len(before[name])
            spent["newest"] = now
        elif name == "modules":
            spent[name] = {each: now[each] - before[name].get(each, 0.0) for each in now}
        else:
            spent[name] = now - before[name]
    return spent


@contextmanager
def _course(alias: str, *, is_counted: bool = False, **environment: str) -> Iterator[Course]:
    with ExitStack() as stack:
        wire, changed = stack.enter_context(listen_before(alias)) if is_counted else (None, {})
        server = stack.enter_context(stream_server())
        url = server.stream(NAME)
        producer = stack.enter_context(Producer(url))
        following = stack.enter_context(consumer(alias, [url], environment, changed=changed))
        yield Course(following, producer, wire)
