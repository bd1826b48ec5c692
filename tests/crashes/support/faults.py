"""One fault at one point of a run.

There is a point before every statement, every COMMIT and every network read, and one after
everything that is permanent: a COMMIT, a statement outside of any transaction, a read. The point
after any other statement is the same as the one before the next.
"""

from __future__ import annotations

import asyncio
import enum
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import django.db
import httpx
from django.db import connections
from django.db.backends.signals import connection_created

__all__ = ["Fault", "Killed", "Kind"]


class Killed(BaseException):
    """The process is dead: none of its code continues, and uncommitted work is lost."""


class Kind(enum.StrEnum):
    """What happens at the point."""

    KILLED = "the process dies"
    CUT = "the connection breaks"


class Fault:
    """Strikes once, at the point with that number, counted from the beginning of the run.

    A process that was killed stays dead: every later point raises too, until ``revive``.
    """

    def __init__(self, kind: Kind, point: int) -> None:
        self._kind = kind
        self._point = point
        self._lock = threading.Lock()
        self.points = 0
        """How many points there were."""

        self.struck = ""
        """What was under way when it struck; empty if it has not struck."""

        self.is_dead = False
        """Whether the process is dead, and so writes nothing any more."""

        self._end: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def stopping(self) -> AsyncIterator[asyncio.Event]:
        """Replaces ``stop_signals``: the event that the death of the process sets."""
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def end() -> None:
            with suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(stop.set)

        self._end = end
        yield stop

    def revive(self) -> None:
        """Another process begins."""
        self.is_dead = False

    # At the points.

    def at_read(self, what: str) -> None:
        """A point at a network read."""
        if self._strikes(what):
            raise httpx.ReadError("the connection is cut")

    def _at_statement(self, connection: Any, what: str) -> None:
        if self._strikes(what):
            _cut(connection)

    def _strikes(self, what: str) -> bool:
        """Whether the connection is to be cut here. Raises: Killed, if the process is dead."""
        with self._lock:
            is_hit = self.points == self._point
            self.points += 1
            if is_hit:
                self.struck = what
                self.is_dead = self._kind is Kind.KILLED
                if self.is_dead:
                    self._end()  # threads that do nothing at that moment end too
            if self.is_dead:
                raise Killed
        return is_hit

    # At the connections.

    @contextmanager
    def watching(self, using: str) -> Iterator[None]:
        """Watches what the consumer's threads do in the database while the block runs."""

        def watch(*, connection: Any, **kwargs: Any) -> None:
            is_consumers = threading.current_thread() is not threading.main_thread()
            if connection.alias == using and is_consumers:
                self._watch(connection)

        connection_created.connect(watch)
        try:
            yield
        finally:
            connection_created.disconnect(watch)

    def _watch(self, connection: Any) -> None:
        if getattr(connection, "watched_by", None) is self:
            return
        connection.watched_by = self
        commit: Callable[[], None] = connection._commit

        def execute(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            self._at_statement(connection, f"before {sql[:90]}")
            result = run(sql, params, many, context)
            if not connection.in_atomic_block or sql.endswith("COMMIT"):
                self._at_statement(connection, f"behind {sql[:90]}")
            return result

        def commit_between_points() -> None:
            self._at_statement(connection, "before COMMIT")
            commit()
            self._at_statement(connection, "behind COMMIT")

        connection.execute_wrappers.append(execute)
        connection._commit = commit_between_points


def _cut(connection: Any) -> None:
    """Ends the session on the server, and raises what its client then sees.

    SQLite has no sessions: there it is the disk that fails.
    """
    if connection.vendor == "sqlite":
        raise django.db.OperationalError("disk I/O error")
    number = connection.connection.info.backend_pid
    other = connections.create_connection(connection.alias)
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [number])
    finally:
        other.close()
    with connection.wrap_database_errors:
        connection.connection.execute("SELECT 1")
