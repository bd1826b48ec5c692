"""Measures for how long a stream stands still although there is something to read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg

__all__ = ["Stillness"]

LOOK_SECONDS = 0.2


class Stillness:
    """Compares, several times a second, what each stream has read with what was appended.

    Time in which the database or the stream server is down does not count: nobody could have made
    progress.
    """

    def __init__(self, postgres_url: str, acknowledged: Mapping[str, int]) -> None:
        self._longest = 0.0
        self._url, self._acknowledged = postgres_url, acknowledged
        self._since: dict[str, tuple[int, float]] = {}
        self._away = threading.Lock()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    @contextmanager
    def outage(self) -> Iterator[None]:
        """The block takes a server down; the clocks start again after it."""
        with self._away:
            yield
            self._since.clear()

    def take(self) -> float:
        """The longest time, in seconds, that a stream had something to read and did not move,
        since the last call.
        """
        longest, self._longest = self._longest, 0.0
        return longest

    def end(self) -> None:
        """Stops looking."""
        self._ends.set()
        self._thread.join(10)

    def _watch(self) -> None:
        connection: psycopg.Connection[tuple[str, int]] | None = None
        while not self._ends.wait(LOOK_SECONDS):
            with self._away:
                try:
                    if connection is None or connection.closed:
                        connection = psycopg.connect(self._url, autocommit=True)
                    self._look(connection)
                except psycopg.OperationalError:
                    connection = None
        if connection is not None:
            connection.close()

    def _look(self, connection: psycopg.Connection[tuple[str, int]]) -> None:
        # First, because messages that are appended after this may be unread.
        appended = dict(self._acknowledged)
        now = time.monotonic()
        for name, ordinal in connection.execute("select name, ordinal from durable_state_stream"):
            if ordinal >= appended[name]:
                self._since.pop(name, None)
                continue
            read, since = self._since.get(name, (-1, now))
            if read != ordinal:
                self._since[name] = (ordinal, now)
            else:
                self._longest = max(self._longest, now - since)
