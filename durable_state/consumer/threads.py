"""Threads for the database: the event loop never waits for it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

import django.db
from django.db import close_old_connections, connections

from durable_state.databases.faults import is_disconnection
from durable_state.databases.limits import SessionLimits, limit_seconds
from durable_state.databases.sessions import limit_sessions
from durable_state.errors import DurableStateError

from .project_calls import ProjectCalls

__all__ = ["DatabaseThreads"]

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseThreads:
    """A few threads with a database connection each, which are closed with them.

    Calls are not cancelled: a commit that has begun is waited for even when its caller is asked to
    stop. Leases, and the project's own code (``project_calls``), have threads apart: no stream
    loses its lease, or waits, because others commit slowly or are slow to get their headers.
    """

    def __init__(self, size: int = 4) -> None:
        self._size = size
        self.sessions = f"durable_state {uuid.uuid4().hex[:16]}"
        """The name that those of its sessions on the server begin with, and no others."""

        numbers = itertools.count()

        def limit() -> None:
            limit_sessions(SessionLimits(f"{self.sessions}.{next(numbers)}", limit_seconds()))

        self._pool = ThreadPoolExecutor(size, thread_name_prefix="durable-state", initializer=limit)
        self._leases = ThreadPoolExecutor(
            1, thread_name_prefix="durable-state-leases", initializer=limit
        )
        self.project_calls = ProjectCalls()
        self._disconnections = 0  # how often a server was found gone
        self._seen = threading.local()  # how many of these a thread has followed

    async def __aenter__(self) -> DatabaseThreads:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        barrier = threading.Barrier(self._size + 1)

        def close() -> None:
            barrier.wait()  # so that each thread takes one
            connections.close_all()

        loop = asyncio.get_running_loop()
        closing = [loop.run_in_executor(self._pool, close) for _ in range(self._size)]
        await asyncio.gather(*closing, loop.run_in_executor(self._leases, close))
        for pool in (self._pool, self._leases):
            pool.shutdown()

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the function in a thread and returns what it returns.

        A broken connection is replaced before.
        """
        return await self._run(self._pool, function, *args, **kwargs)

    async def run_for_lease(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same, for what keeps a lease: it never waits for commits."""
        return await self._run(self._leases, function, *args, **kwargs)

    async def _run(
        self,
        pool: ThreadPoolExecutor,
        function: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        def call() -> T:
            self._renew_connections()
            try:
                return function(*args, **kwargs)
            except DurableStateError:
                raise
            except BaseException as error:
                if isinstance(error, django.db.Error) and is_disconnection(error):
                    self._disconnections += 1
                # A transaction that failed at its very BEGIN is one that Django knows nothing of:
                # it would hold its locks until this thread ends.
                connections.close_all()
                raise

        running = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(pool, call))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise

    def _renew_connections(self) -> None:
        """Closes those of this thread that are broken, or as old as one that was found broken.

        What has ended one connection has mostly ended all: it is one outage, not one for each.
        """
        disconnections = self._disconnections
        if getattr(self._seen, "disconnections", 0) != disconnections:
            self._seen.disconnections = disconnections
            connections.close_all()
            return
        for connection in connections.all(initialized_only=True):
            if connection.errors_occurred:
                close_old_connections()
                return
