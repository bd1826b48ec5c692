"""Consumes in a thread, as a separate worker would, and waits for the result."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connections

from durable_state import operations
from durable_state.consumer.run import consume_slice, sync
from durable_state.models import Replay, Status, Stream

from .project import address

__all__ = [
    "Running",
    "consuming",
    "in_threads",
    "is_live",
    "replay_of",
    "seat",
    "start_worker",
    "wait_until",
]


def wait_until(condition: Callable[[], object], seconds: float = 15) -> None:
    """Returns once the condition is true; fails if that takes too long."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.03)


class Running:
    """A running consumer. ``error`` is what it ended with, if anything."""

    def __init__(self, stream: Stream) -> None:
        self.stream = Stream.objects.using(stream.using).get(pk=stream.pk)
        self.error: BaseException | None = None
        self.thread = threading.Thread(
            target=self._run, name=f"consuming {stream.name}", daemon=True
        )
        self.thread.start()

    def _run(self) -> None:
        try:
            sync(self.stream)
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()

    def end(self, seconds: float = 15) -> BaseException | None:
        """Waits until it has ended by itself, and returns its error."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), f"still consuming after {seconds} s"
        return self.error


def start_worker(
    stream: Stream, *, program: str = "tests.consumer.support.worker", **ours: object
) -> subprocess.Popen[str]:
    """Consumes until up to date in its own process, which can be killed: the command, on the
    test database, with the given settings.
    """
    command = [
        sys.executable,
        "-m",
        program,
        json.dumps(address(stream.using)),
        stream.name,
        json.dumps(ours),
    ]
    return subprocess.Popen(
        command,
        cwd=Path(__file__).parents[3],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextmanager
def consuming(stream: Stream) -> Iterator[Running]:
    """Consumes live while the block runs.

    At its end the stream is paused, which a consumer has to notice.
    """
    running = Running(stream)
    try:
        yield running
    finally:
        if running.thread.is_alive():
            operations.pause(stream, actor="test")
        running.end()


@contextmanager
def seat(using: str) -> Iterator[threading.Event]:
    """A seat in a thread, filled as by a Celery task; it ends when the event is set, or with the
    block.
    """
    ends = threading.Event()
    failures: list[BaseException] = []

    def consume() -> None:
        try:
            consume_slice(using, ends.is_set)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=consume)
    thread.start()
    try:
        yield ends
    finally:
        ends.set()
        thread.join(20)
    assert not thread.is_alive()
    assert failures == []


def in_threads(*calls: Callable[[], object]) -> list[object]:
    """Calls all at the same moment, and returns what each returned or raised."""
    results: list[object] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(number: int, call: Callable[[], object]) -> None:
        try:
            barrier.wait(10)
            results[number] = call()
        except Exception as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def is_live(stream: Stream) -> bool:
    """Whether the stream's reader is at the tail."""
    return Stream.objects.using(stream.using).filter(pk=stream.pk, status=Status.LIVE).exists()


def replay_of(stream: Stream) -> Replay | None:
    """The current row of the stream's replay."""
    return Replay.objects.using(stream.using).filter(stream=stream).first()
