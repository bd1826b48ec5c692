"""Consuming in a thread, as a worker of its own would, and waiting for what comes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connections

from durable_state import operations
from durable_state.consumer.run import sync
from durable_state.models import Stream

__all__ = ["Running", "consuming", "in_threads", "wait_until"]


def wait_until(condition: Callable[[], object], seconds: float = 15) -> None:
    """Return once the condition is true; fail when it takes longer."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.03)


class Running:
    """A consumer under way. ``error`` is what it ended with, if anything."""

    def __init__(self, stream: Stream) -> None:
        self.stream = Stream.objects.using(stream._state.db).get(pk=stream.pk)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name=f"consuming {stream.name}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            sync(self.stream)
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()

    def end(self, seconds: float = 15) -> BaseException | None:
        """Wait until it has ended by itself, and give its error."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), f"still consuming after {seconds} s"
        return self.error


@contextmanager
def consuming(stream: Stream) -> Iterator[Running]:
    """Consume live while the block runs. At its end the stream is paused, which a consumer has to notice."""
    running = Running(stream)
    try:
        yield running
    finally:
        if running.thread.is_alive():
            operations.pause(stream, actor="test")
        running.end()


def in_threads(*calls: Callable[[], object]) -> list[object]:
    """Call all at the same moment, and give what each returned or raised."""
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
