"""The threads beside the event loop: one that hangs holds up neither the others nor the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction

from durable_state.consumer.hung_calls import DatabaseCallHangs, OutOfTime, ProjectCallHangs
from durable_state.consumer.threads import DatabaseThreads
from durable_state.databases.faults import is_outage
from durable_state.models import Stream

from .support.consuming import wait_until

Add = Callable[..., Stream]
Test = Callable[..., Coroutine[Any, Any, None]]


class Hanging:
    """Code of a project that does not return until it is told to."""

    def __init__(self) -> None:
        self._go_on = threading.Event()
        self.ended = 0

    def hang(self, *args: object) -> None:
        """The call that hangs."""
        self._go_on.wait(60)
        self.ended += 1

    def end(self) -> None:
        """Lets all calls return."""
        self._go_on.set()


@asynccontextmanager
async def opened(size: int) -> AsyncIterator[tuple[DatabaseThreads, Hanging]]:
    """Threads, and a call that hangs until the block ends."""
    hanging = Hanging()
    try:
        async with DatabaseThreads(size) as threads:
            yield threads, hanging
    finally:
        hanging.end()


def name_thread() -> str:
    """Which thread it is."""
    return threading.current_thread().name


def test_a_thread_is_used_again() -> None:
    """And the names of its sessions begin with it."""

    async def go() -> None:
        async with DatabaseThreads(2) as threads:
            names = {await threads.run(name_thread) for _ in range(5)}
            assert names == {f"{threads.sessions}.0"}
            assert await threads.run_for_lease(name_thread) == f"{threads.sessions}.1"

    before = threading.active_count()
    asyncio.run(go())
    assert threading.active_count() == before


def test_calls_that_hang_hold_up_no_others() -> None:
    """Sixty-four calls, and eight threads: the others continue within seconds. Those that hang
    are named and counted, and nobody waits for them at the end.
    """

    async def go() -> None:
        async with opened(8) as (threads, hanging):
            stuck = [asyncio.create_task(threads.run(hanging.hang)) for _ in range(64)]
            async with asyncio.timeout(10):
                assert await threads.run(sum, [1, 2]) == 3
                errors = await asyncio.gather(*stuck, return_exceptions=True)
            assert {type(error) for error in errors} == {ProjectCallHangs}
            assert f"{__name__}.Hanging.hang has not returned for 1 s" in str(errors[0])
            assert threads.given_up == 64
            assert await threads.run(sum, [1, 2]) == 3
            hanging.end()
            await asyncio.to_thread(wait_until, lambda: threads.given_up == 0)
            assert hanging.ended == 64

    asyncio.run(go())


def test_what_moves_is_not_given_up() -> None:
    """Many calls of the project's code, one after the other, take longer than a lease."""

    async def go() -> None:
        async with DatabaseThreads(1) as threads:
            assert await threads.run(OURS["call_often"], _pause, 40) == 40

    asyncio.run(go())


def _pause() -> None:
    time.sleep(0.05)


OURS: dict[str, Any] = {"__name__": "durable_state.tests"}
exec(
    """
def call_often(function, times):
    for _ in range(times):
        function()
    return times

def query(connections, using, sql):
    with connections[using].cursor() as cursor:
        cursor.execute(sql)
""",
    OURS,
)
"""Functions that count as part of this package."""


def test_half_the_threads_are_left_to_what_is_short() -> None:
    """However many long calls are running, a short one does not have to wait for any of them."""

    async def go() -> None:
        going, most = 0, 0
        lock = threading.Lock()

        def take_long() -> None:
            nonlocal going, most
            with lock:
                going += 1
                most = max(most, going)
            time.sleep(0.1)
            with lock:
                going -= 1

        async with DatabaseThreads(4) as threads:
            long = [asyncio.create_task(threads.run_long(take_long)) for _ in range(6)]
            await asyncio.sleep(0.01)
            began = time.monotonic()
            await asyncio.gather(threads.run(sum, [1]), threads.run(sum, [1]))
            assert time.monotonic() - began < 0.1
            await asyncio.gather(*long)
        assert most == 2

    asyncio.run(go())


def test_who_is_asked_to_end_waits_for_no_call() -> None:
    """Whether it makes progress or not; the thread that keeps the leases is there until the end."""

    async def go() -> None:
        async with opened(2) as (threads, hanging):
            stuck = asyncio.create_task(threads.run(hanging.hang))
            await asyncio.sleep(0.1)
            threads.finish_within(0.2)
            began = time.monotonic()
            stuck.cancel()
            with pytest.raises((OutOfTime, asyncio.CancelledError)):
                await stuck
            assert await threads.run_for_lease(sum, [1, 2]) == 3
        assert time.monotonic() - began < 2

    asyncio.run(go())


def test_a_session_that_stands_still_is_ended(server_database: str, add_stream: Add) -> None:
    """Its locks are free then, and to code that does not look closer the error is an outage."""
    stream = add_stream(using=server_database)
    rows = Stream.objects.using(server_database)
    hanging = Hanging()

    def lock_and_hang() -> None:
        with transaction.atomic(using=server_database):
            rows.select_for_update().get(pk=stream.pk)
            hanging.hang()

    async def go() -> None:
        async with DatabaseThreads(1) as threads:
            with pytest.raises(ProjectCallHangs):
                await threads.run(lock_and_hang)
            assert await threads.run(lambda: rows.filter(pk=stream.pk).update(paused=True)) == 1
            hanging.end()

    asyncio.run(go())


def test_a_statement_that_the_server_works_at_is_waited_for(
    server_database: str, settings: Any
) -> None:
    """However long it takes: its lease is kept."""
    sleep = "pg_sleep" if server_database == "postgres" else "SLEEP"

    async def go() -> None:
        async with DatabaseThreads(1) as threads:
            await threads.run(OURS["query"], connections, server_database, f"SELECT {sleep}(2.5)")

    asyncio.run(go())
    assert is_outage(DatabaseCallHangs("away"))
    assert isinstance(DatabaseCallHangs("away"), OperationalError)


class SwallowingProxy:
    """Passes bytes between clients and a server, until it swallows those of all current
    connections.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._swallows: set[int] = set()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        """From now on nothing passes on the current connections; new ones work."""
        self._swallows.update(map(id, self._ends))

    def close(self) -> None:
        """Ends it, and every connection."""
        for end in (self._listening, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._ends += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if id(source) not in self._swallows:
                    target.sendall(data)


def test_a_connection_that_a_firewall_swallows(server_database: str) -> None:
    """The call is given up within a lease; the next one has another connection."""
    settings = connections.settings[server_database]
    before = settings["PORT"]
    proxy = SwallowingProxy(int(before))

    async def go() -> None:
        async with DatabaseThreads(1) as threads:
            ask = partial(OURS["query"], connections, server_database, "SELECT 1")
            settings["PORT"] = proxy.port
            await threads.run(ask)
            settings["PORT"] = before
            proxy.swallow()
            began = time.monotonic()
            with pytest.raises(DatabaseCallHangs):
                await threads.run(ask)
            assert time.monotonic() - began < 4
            await threads.run(ask)

    try:
        asyncio.run(go())
    finally:
        settings["PORT"] = before
        proxy.close()
