"""Threads for database work, so that the event loop never waits for it.

Why: decision 53.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

import django.db
from django.db import connections

from durable_state.conf import get_settings
from durable_state.databases.callers import CallerState
from durable_state.databases.limits import SESSIONS, SessionLimits, limit_seconds
from durable_state.databases.pooled import pool_size
from durable_state.databases.sessions import end_session, has_server, is_session_working

from .database_thread import DatabaseThread, Disconnections, Hang
from .hung_calls import Callee, CallHangs, OutOfTime
from .process_names import make_nonce, name_sessions
from .project_calls import ProjectCalls

__all__ = ["DatabaseThreads"]

logger = logging.getLogger("durable_state.consumer")

P = ParamSpec("P")
T = TypeVar("T")

LOOK_SECONDS = 0.25
"""Seconds between two looks at what the threads are doing."""
RELIEF_SECONDS = {Callee.PROJECT: 0.25, Callee.DATABASE: 1.0}
"""Seconds in one call after which another thread may start in place of the one that is in it."""
SPARE_THREADS = 64
"""Threads that may be started like this for calls of the project's code. For database calls, the
usual number at most: a slow database should not be asked even more."""
END_SECONDS = 3.0
"""Seconds that running calls get once the process is asked to end."""
CLOSE_SECONDS = 5.0
"""Seconds that an idle thread may take to close its connections."""


class _Running:
    """A running call, and the places that it occupies."""

    def __init__(self, held: list[asyncio.Semaphore]) -> None:
        self.held = held
        self.thread: DatabaseThread
        self.result: asyncio.Future[Any]
        self.judging: asyncio.Task[None] | None = None

    def leave(self, *places: asyncio.Semaphore) -> None:
        """Frees these places for other calls."""
        for place in places:
            if place in self.held:
                self.held.remove(place)
                place.release()


APART = 2
"""Connections of a pool that are left for the leases and for the project's own code."""


def _affordable(size: int) -> int:
    """At most as many threads as the smallest pool of any database has connections for."""
    sizes = [found for alias in connections if (found := pool_size(alias)) is not None]
    return max(1, min([size, *(found - APART for found in sizes)]))


class DatabaseThreads:
    """A few threads with a database connection each, which are closed together.

    Calls are not cancelled: a commit that has begun is waited for even if its caller is asked to
    stop, as long as it makes progress. One that hangs for the time of a lease is given up: its
    session is ended, its thread is abandoned, and the caller is told where it hangs. Long before
    that, another thread may take its place, so that streams whose calls hang hold up no others.

    Keeping the leases, and the project's own code (``project_calls``), have threads of their own.
    """

    def __init__(self, size: int = 4, caller: CallerState | None = None) -> None:
        """The threads take over the caller's state.

        Where a pool lends the connections, there are only as many threads as leave one connection
        for the leases and one for the project's code.
        """
        self._caller = caller or CallerState(django.db.DEFAULT_DB_ALIAS)
        size = _affordable(size)
        self.nonce = make_nonce()
        """Part of the name of the seat that has these threads."""

        self.sessions = name_sessions(self.nonce)
        """How the names of its sessions on the server begin, and of no others."""

        self.project_calls = ProjectCalls(self._caller.take_over)
        self._disconnections = Disconnections()
        self._size = size
        self._places = asyncio.Semaphore(size)
        self._long_places = asyncio.Semaphore(max(1, size // 2))
        self._lease_place = asyncio.Semaphore(1)

        self._idle: list[DatabaseThread] = []
        self._lease_thread: DatabaseThread | None = None
        self._numbered: dict[int, DatabaseThread] = {}
        self._running: set[_Running] = set()
        self._given_up: set[DatabaseThread] = set()
        self._deadline: float | None = None
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> DatabaseThreads:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running:
            await asyncio.wait([each.result for each in self._running])
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

        threads = [*self._idle, *([self._lease_thread] if self._lease_thread else [])]
        for thread in threads:
            thread.end()
        for thread in threads:
            thread.join(CLOSE_SECONDS)

    @property
    def given_up(self) -> int:
        """How many threads were given up and are still running."""
        return sum(thread.is_alive() for thread in self._given_up)

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the function in a thread, and returns what it returns.

        A broken connection is replaced first. Raises: CallHangs, if the call does; whatever the
        function raises.
        """
        return await self._run([self._places], partial(function, *args, **kwargs))

    async def run_long(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for long calls, which leave half of the threads to short ones."""
        places = [self._long_places, self._places]
        return await self._run(places, partial(function, *args, **kwargs))

    async def run_for_lease(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same for calls that keep a lease, which never wait for commits."""
        return await self._run([self._lease_place], partial(function, *args, **kwargs))

    def finish_within(self, seconds: float = END_SECONDS) -> None:
        """Gives up calls that have not ended by then, even if they make progress: they will be
        repeated.
        """
        self._deadline = time.monotonic() + seconds

    async def _run(self, places: list[asyncio.Semaphore], function: Callable[[], T]) -> T:
        running = _Running([])
        try:
            for place in places:
                await place.acquire()
                running.held.append(place)
            running.thread = self._take_thread(running)
            running.result = running.thread.call(function)
            self._running.add(running)
        except BaseException:
            running.leave(*places)
            raise

        try:
            return await asyncio.shield(running.result)
        except asyncio.CancelledError:
            await asyncio.wait([running.result])
            raise
        finally:
            self._put_back(running)
            running.leave(*places)

    def _take_thread(self, running: _Running) -> DatabaseThread:
        if self._lease_place in running.held:
            thread = self._lease_thread or self._start_thread()
            self._lease_thread = thread
            return thread
        return self._idle.pop() if self._idle else self._start_thread()

    def _start_thread(self) -> DatabaseThread:
        # A number is free again once its thread has ended, whether given up or not.
        taken = {number for number, thread in self._numbered.items() if thread.is_alive()}
        number = next(number for number in range(len(taken) + 1) if number not in taken)
        limits = SessionLimits(f"{self.sessions}.{number}", limit_seconds())
        thread = self._numbered[number] = DatabaseThread(limits, self._disconnections, self._caller)
        return thread

    def _put_back(self, running: _Running) -> None:
        if running not in self._running:
            return  # given up
        self._running.remove(running)
        thread = running.thread
        if thread is self._lease_thread:
            return
        if len(self._idle) < self._size:
            self._idle.append(thread)
        else:
            thread.end()

    # Threads that hang

    async def _watch(self) -> None:
        """Looks at each thread that is in a call, at an interval."""
        while True:
            await asyncio.sleep(min(LOOK_SECONDS, get_settings().lease_seconds / 8))
            for running in list(self._running):
                if running.judging is None and not running.result.done():
                    self._look(running)

    def _look(self, running: _Running) -> None:
        is_late = self._deadline is not None and time.monotonic() > self._deadline
        if is_late and self._lease_place not in running.held:
            running.judging = asyncio.create_task(self._give_up(running, OutOfTime()))
            return

        hang = running.thread.look()
        if hang is None:
            return
        self._relieve(running, hang)
        if hang.seconds > self._patience(running):
            running.judging = asyncio.create_task(self._judge(running, hang))

    def _patience(self, running: _Running) -> float:
        """Seconds in one call after which to examine whether the call will ever return."""
        lease_seconds = get_settings().lease_seconds
        return lease_seconds / 3 if running.thread is self._lease_thread else lease_seconds

    def _relieve(self, running: _Running, hang: Hang) -> None:
        """Lets another thread start in place of one that is waiting."""
        callee = hang.call.callee
        is_project = callee is Callee.PROJECT
        spare = SPARE_THREADS if is_project else self._size
        alive = sum(thread.is_alive() for thread in self._numbered.values())
        if hang.seconds < RELIEF_SECONDS[callee] or alive > min(self._size + spare, SESSIONS):
            return
        running.leave(self._places)
        if is_project:
            running.leave(self._long_places)

    async def _judge(self, running: _Running, hang: Hang) -> None:
        """Gives the call up, unless the server is working on it."""
        is_busy = hang.call.callee is Callee.DATABASE and await self._is_busy(running.thread)
        if running.result.done():
            return
        if is_busy:
            running.thread.note_movement()
            running.judging = None
        else:
            await self._give_up(running, hang.call.error(hang.seconds))

    async def _is_busy(self, thread: DatabaseThread) -> bool:
        if thread.aliases and not any(map(has_server, thread.aliases)):
            return True
        if thread is self._lease_thread:
            return False  # nobody could ask
        with contextlib.suppress(CallHangs, django.db.Error):
            for alias in thread.aliases:
                if await self.run_for_lease(is_session_working, alias, thread.session):
                    return True
        return False

    async def _give_up(self, running: _Running, error: CallHangs) -> None:
        """Gives the call up; its session is ended first, so that its locks are free."""
        thread = running.thread
        if thread is self._lease_thread:
            self._lease_thread = None
        else:
            for alias in thread.aliases:
                with contextlib.suppress(CallHangs, django.db.Error):
                    await self.run_for_lease(end_session, alias, thread.session)
        if running.result.done():
            return

        error.thread = thread
        self._running.discard(running)
        self._given_up.add(thread)
        thread.end()
        running.result.set_exception(error)
        logger.warning(
            "Gave up a thread that does not return (%s so far): %s", self.given_up, error.message
        )
