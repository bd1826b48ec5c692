"""Waits for an unavailable database, with one probe for all streams of a seat.

Why: decision 59.
"""

from __future__ import annotations

import asyncio
import logging
import time

import django.db
from django.db import connections

from .error_text import describe_error
from .threads import DatabaseThreads

__all__ = ["DatabaseOutage"]

logger = logging.getLogger("durable_state.consumer")

PROBE_SECONDS = 0.5
"""Seconds between two attempts to reach an unavailable database."""


class DatabaseOutage:
    """Knows when an unavailable database answers again. For one event loop."""

    def __init__(self, threads: DatabaseThreads) -> None:
        self._threads = threads
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def end(self, using: str) -> None:
        """Returns once the database answers, almost at once if it already does."""
        asking = self._asking.get(using)
        if asking is None or asking.done():
            asking = self._asking[using] = asyncio.create_task(self._ask(using))
        await asyncio.shield(asking)

    async def _ask(self, using: str) -> None:
        """Logs, once for all streams, when the outage was noticed and when it was over."""
        began, told = time.monotonic(), False
        while True:
            try:
                await self._threads.run_for_lease(_touch, using)
                break
            except django.db.Error as error:
                if not told:
                    sentence = describe_error(error).sentence
                    logger.warning("The database %s is away: %s", using, sentence)
                told = True
                await asyncio.sleep(PROBE_SECONDS)
        if told:
            away = time.monotonic() - began
            logger.warning("The database %s answers again after %.1f s.", using, away)


def _touch(using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT 1")
