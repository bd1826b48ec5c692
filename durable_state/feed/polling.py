"""Polls one database for all of its streams that an event loop follows.

Every FEED_POLL_SECONDS one query reads the heads of the logs that are due. Without a channel layer
that crosses processes, these are all logs. With one they are due less often, because bells may get
lost.

Why: decisions 8, 44 and 76.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Protocol

from channels.layers import InMemoryChannelLayer, get_channel_layer

from durable_state.conf import get_settings

from .ending import end_tasks
from .log_end import Head, read_heads
from .outage import is_away, warn_away
from .threads import run_for

__all__ = ["Polled", "Polling"]

logger = logging.getLogger("durable_state.feed")

SAFETY_FACTOR = 10
"""How many times less often a log is polled if its bell works."""
EARLY = 0.1
"""The share of its interval by which a log may be polled early, together with others."""


class Polled(Protocol):
    """A log that is polled."""

    stream_pk: int
    rings: bool
    """Whether its bell works, as far as is known."""
    polled_at: float
    """When it was last polled, on the monotonic clock."""

    def compare(self, head: Head | None, *, is_asked: bool) -> None:
        """Takes the head that the database has, without waiting for anything.

        ``is_asked``: the log was polled for a reason, not only because it was time.
        """


class Polling:
    """Polls the logs of one database."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._name = f"the feed logs in {using!r}"
        self._logs: set[Polled] = set()
        self._asked: set[Polled] = set()
        self._is_asked = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def add(self, log: Polled) -> None:
        """Adds a log."""
        self._logs.add(log)
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    def remove(self, log: Polled) -> bool:
        """Removes a log; returns whether others are left."""
        self._logs.discard(log)
        self._asked.discard(log)
        return bool(self._logs)

    def ask(self, log: Polled) -> None:
        """Has a log polled at once."""
        if log in self._logs:
            self._asked.add(log)
            self._is_asked.set()

    async def stop(self) -> None:
        """Stops polling."""
        running, self._running = self._running, None
        if running is not None:
            await end_tasks([running])

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(get_settings().feed_poll_seconds):
                    await self._is_asked.wait()
            self._is_asked.clear()
            try:
                await self._poll()
            except Exception as error:
                if is_away(error):
                    warn_away(self._name, error)
                else:
                    logger.exception("%s could not be read; trying again.", self._name)
                await asyncio.sleep(get_settings().feed_poll_seconds)

    async def _poll(self) -> None:
        asked, self._asked = self._asked, set()
        due = [log for log in self._logs if log in asked or self._is_due(log)]
        if not due:
            return
        try:
            heads = await run_for(self._name, read_heads, self._using, [x.stream_pk for x in due])
        except BaseException:
            self._asked |= asked & self._logs
            raise
        for log in due:
            if log in self._logs:
                log.polled_at = time.monotonic()
                log.compare(heads.get(log.stream_pk), is_asked=log in asked)

    def _is_due(self, log: Polled) -> bool:
        seconds = get_settings().feed_poll_seconds
        if log.rings and not isinstance(get_channel_layer(), InMemoryChannelLayer):
            seconds *= SAFETY_FACTOR
        return time.monotonic() - log.polled_at >= seconds * (1 - EARLY)
