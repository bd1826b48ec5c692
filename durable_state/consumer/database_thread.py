"""A thread with its own connections to the database."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import django.db
from django.db import close_old_connections, connections

from durable_state.databases.callers import CallerState
from durable_state.databases.faults import is_disconnection
from durable_state.databases.limits import SessionLimits
from durable_state.databases.pooled import give_back_pooled
from durable_state.databases.sessions import limit_sessions
from durable_state.errors import DurableStateError

from .hung_calls import OpenCall, find_open_call

__all__ = ["DatabaseThread", "Disconnections", "Hang"]


class Hang(NamedTuple):
    """The call that a thread hangs in."""

    call: OpenCall
    seconds: float


class Disconnections:
    """Counts how often a server was found gone, for all threads of a consumer together."""

    def __init__(self) -> None:
        self.count = 0


class DatabaseThread:
    """Makes one call after the other, and never keeps the process from ending.

    Its sessions are limited, take over the caller's state, and are closed with it. Connections of a
    pool are given back after each call.
    """

    def __init__(
        self, limits: SessionLimits, disconnections: Disconnections, caller: CallerState
    ) -> None:
        self._caller = caller
        self.session = limits.name
        self.aliases: set[str] = set()
        """The databases in which it has opened a session."""

        self._limits = limits
        self._disconnections = disconnections
        self._followed = disconnections.count
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._seen: OpenCall | None = None
        self._seen_at = 0.0
        self._thread = threading.Thread(target=self._work, name=limits.name, daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it is still running."""
        return self._thread.is_alive()

    def call(self, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Queues a call of the function; the future gets what it returns or raises."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Any] = loop.create_future()

        def make() -> None:
            outcome: tuple[Any, BaseException | None]
            try:
                self._renew_connections()
                outcome = function(), None
            except DurableStateError as error:
                outcome = None, error
            except BaseException as error:
                if isinstance(error, django.db.Error) and is_disconnection(error):
                    self._disconnections.count += 1
                # If BEGIN itself failed, Django does not know the transaction: it would hold its
                # locks until this thread ends.
                connections.close_all()
                outcome = None, error
            give_back_pooled()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_settle, result, *outcome)

        self._seen = None
        self._calls.put(make)
        return result

    def look(self) -> Hang | None:
        """The call that it has been in since an earlier look; None if it has made progress since
        then.
        """
        now, found = time.monotonic(), find_open_call(self._thread.ident)
        if found is not None and self._seen is not None and found.frame is self._seen.frame:
            return Hang(found, now - self._seen_at)
        self._seen, self._seen_at = found, now
        return None

    def note_movement(self) -> None:
        """Counts it as working: the server works for it, which cannot be seen from here."""
        self._seen_at = time.monotonic()

    def end(self) -> None:
        """Makes it end once its queued calls are done."""
        self._seen = None
        self._calls.put(None)

    def join(self, seconds: float) -> None:
        """Waits for its end, at most so many seconds."""
        self._thread.join(seconds)

    def _work(self) -> None:
        limit_sessions(self._limits, self.aliases)
        self._caller.take_over()
        try:
            while (make := self._calls.get()) is not None:
                make()
                del make  # otherwise its arguments would stay alive until the next call
        finally:
            connections.close_all()

    def _renew_connections(self) -> None:
        """Closes connections that are broken, or older than the last one that was found broken.

        What ends one connection usually ends them all, so an outage is met once, not once by each.
        """
        count = self._disconnections.count
        if self._followed != count:
            self._followed = count
            connections.close_all()
        elif any(each.errors_occurred for each in connections.all(initialized_only=True)):
            close_old_connections()


def _settle(result: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if result.done():  # given up
        return
    if error is None:
        result.set_result(value)
    else:
        result.set_exception(error)
