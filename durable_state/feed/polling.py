"""Looks into one database for all of its streams that an event loop follows.

Every FEED_POLL_SECONDS one query asks for the heads of the logs that are due. They all are where no
channel layer crosses processes; where one does, bells get lost, so they are now and then.

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
from .threads import run_for

__all__ = ["Polled", "Polling"]

logger = logging.getLogger("durable_state.feed")

SAFETY_FACTOR = 10
"""With a channel layer that crosses processes the log is polled this many times less often."""
EARLY = 0.1
"""The part of its interval by which a log may be polled before its time, with others."""


class Polled(Protocol):
    """A log that is polled."""

    stream_pk: int
    rings: bool
    """Whether the bell is known to ring: no commit was found that it had not told of."""
    polled_at: float
    """When it was last compared with the database, on the monotonic clock."""

    def compare(self, head: Head | None, *, is_asked: bool) -> None:
        """Takes what the database says of the log. Waits for nothing.

        ``is_asked``: there was a reason to look, besides the time.
        """


class Polling:
    """Polls the logs of one database."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._logs: set[Polled] = set()
        self._asked: set[Polled] = set()
        self._is_asked = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def add(self, log: Polled) -> None:
        """Polls this one, too."""
        self._logs.add(log)
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    def remove(self, log: Polled) -> bool:
        """Polls it no more; whether others are left."""
        self._logs.discard(log)
        self._asked.discard(log)
        return bool(self._logs)

    def ask(self, log: Polled) -> None:
        """Polls this one soon."""
        if log in self._logs:
            self._asked.add(log)
            self._is_asked.set()

    async def stop(self) -> None:
        """Ends."""
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
            except Exception:
                logger.exception(
                    "The feed logs in %r could not be read; trying again.", self._using
                )
                await asyncio.sleep(get_settings().feed_poll_seconds)

    async def _poll(self) -> None:
        asked, self._asked = self._asked, set()
        due = [log for log in self._logs if log in asked or self._is_due(log)]
        if not due:
            return
        try:
            heads = await run_for(
                f"the logs in {self._using!r}", read_heads, self._using, [x.stream_pk for x in due]
            )
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
