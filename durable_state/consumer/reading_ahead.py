"""Reads ahead: the next batch is read and decoded while one is being committed.

Why: decision 19.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from durable_state.conf import get_settings
from durable_state.transport import Batch, BatchLimits

__all__ = ["Inbox", "Pace"]

FIRST = 5000
"""Messages in the first batch, before anything is known about the database's speed."""
SECONDS = 1.0
"""Seconds that a commit should take: long, compared with its fixed costs."""
SHARE = 10
"""It should also be this many times shorter than the lease, for the timeouts within it."""
ENOUGH = 1000
"""Slow batches do not shrink below so many messages: if even those are slow but succeed, commits
may be slow whatever they hold."""
SLOWER = 10
"""How many times smaller batches become after one has failed, because a slow database or a lock may
have kept it from ending in time."""


class Inbox:
    """Holds one batch that is waiting to be committed; what is read meanwhile is added to it,
    within the limits.

    So each commit takes whatever arrived during the one before it. Memory holds this batch, the one
    being committed, and at most one that does not fit into a less than half full batch. Reading
    pauses then, and while this batch is half full. For one event loop.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._batch: Batch | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._closed = False
        self._changed = asyncio.Condition()
        self.waiting_since: float | None = None
        """When the oldest message of the waiting batch arrived, on the monotonic clock."""
        self.taken_since = 0.0
        """The same for the batch that was taken out last."""

    async def fill(self, batches: AsyncGenerator[Batch, None]) -> None:
        """Takes in all batches. Once they are taken out, their end or their error follows."""
        try:
            async for batch in batches:
                await self._put(batch)
        except Exception as error:
            self._error = error
        finally:
            await batches.aclose()
            await self._end()

    async def take(self) -> Batch | None:
        """Waits for a batch and takes it out; None at the end. Raises: what reading raised."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._batch is not None or self._ended)
            if self._closed:
                return None
            batch, self._batch = self._batch, None
            if self.waiting_since is not None:
                self.taken_since, self.waiting_since = self.waiting_since, None
            self._changed.notify_all()

        if batch is None and self._error is not None:
            raise self._error
        return batch

    async def close(self) -> None:
        """Gives nothing more, and drops a waiting batch or error."""
        self._closed = True
        await self._end()

    @property
    def waiting(self) -> bool:
        """Whether there is a batch to take."""
        return self._batch is not None

    async def _put(self, batch: Batch) -> None:
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._batch is None or self._fits(self._batch, batch)
            )
            self._batch = batch if self._batch is None else self._batch.followed_by(batch)
            if self._batch.messages and self.waiting_since is None:
                self.waiting_since = time.monotonic()
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._batch is None or self._has_room(self._batch))

    async def _end(self) -> None:
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _fits(self, first: Batch, second: Batch) -> bool:
        """Whether both fit into one batch, without losing where the tail was reached."""
        rows = len(first.messages) + len(second.messages)
        size = first.bytes + second.bytes
        return (
            rows <= self._limits.rows
            and size <= self._limits.bytes
            and (second.up_to_date or not first.up_to_date)
        )

    def _has_room(self, batch: Batch) -> bool:
        return len(batch.messages) < self._limits.rows / 2 and batch.bytes < self._limits.bytes / 2


class Pace:
    """Adjusts the limits of a reader's batches to how long commits take.

    Batches are large when there is much to catch up with and the database is fast, and small when
    it is slow, but never larger than BATCH_ROWS and BATCH_BYTES. A live stream needs no decision:
    whatever arrives during one commit makes up the next batch.
    """

    def __init__(self, failures: int = 0) -> None:
        """``failures`` of the stream in a row make the first batches smaller, so that a successor
        does not start with a batch as large as the one that failed.
        """
        settings = get_settings()
        self._most = settings.batch_rows
        self._seconds = min(SECONDS, settings.lease_seconds / SHARE)
        self.limits = BatchLimits(
            min(FIRST, self._most), settings.batch_bytes, settings.message_bytes
        )
        for _ in range(min(failures, 9)):
            self.failed()

    def took(self, messages: int, seconds: float) -> None:
        """A batch was committed."""
        rows = self.limits.rows
        if seconds > self._seconds:
            rows = max(int(messages * self._seconds / seconds), min(rows, ENOUGH))
        elif messages > rows / 2:
            rows = int(messages * min(4.0, self._seconds / seconds))
        self.limits.rows = max(1, min(rows, self._most))

    def failed(self) -> None:
        """A batch could not be committed."""
        self.limits.rows = max(1, self.limits.rows // SLOWER)
