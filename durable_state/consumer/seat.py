"""What one running consumer shares among all the streams that it consumes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from durable_state.databases.callers import CallerState
from durable_state.transport import open_client

from .cleanup import Cleanup
from .database_outage import DatabaseOutage
from .lag import Lag, keep_lags
from .samples import Samples
from .threads import DatabaseThreads
from .watcher import NOBODY, Watcher

__all__ = ["Seat", "open_seat", "stop_signals"]


@dataclass(frozen=True, slots=True)
class Seat:
    """One running consumer: a Celery task, ``run`` or ``sync``. For one event loop."""

    client: Any
    """The HTTP client for all streams."""

    threads: DatabaseThreads

    outage: DatabaseOutage
    """Waits for a database that is unavailable."""

    stop: asyncio.Event
    """Asks it to end; current batches are still finished."""

    cleanup: Cleanup
    """Deletes what the database no longer needs."""

    watcher: Watcher = NOBODY

    lags: list[Lag] = field(default_factory=list)
    """How far the rows of each of its streams lag."""

    samples: Samples = field(default_factory=Samples)
    """What has happened to its streams lately."""


@contextlib.asynccontextmanager
async def open_seat(
    stop: asyncio.Event,
    caller: CallerState,
    *,
    threads: int = 4,
    watcher: Watcher = NOBODY,
    tidies: bool = False,
) -> AsyncIterator[Seat]:
    """Opens a seat with so many database threads, and closes its connections at the end.

    With ``tidies``, it prunes the database each minute, not only after its own commits.
    """
    async with DatabaseThreads(threads, caller) as pool, open_client() as client:
        cleanup = Cleanup(caller.using, pool)
        seat = Seat(client, pool, DatabaseOutage(pool), stop, cleanup, watcher)
        beside = [
            asyncio.create_task(keep_lags(seat.lags, pool)),
            asyncio.create_task(cleanup.run(each_minute=tidies)),
        ]
        try:
            yield seat
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)


@contextlib.asynccontextmanager
async def stop_signals() -> AsyncIterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, so that current batches are finished and leases
    given back.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    handled = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not in the main thread, or on Windows.
        with contextlib.suppress(ValueError, NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, stop.set)
            handled.append(number)
    try:
        yield stop
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
