"""Reading ahead: the next batch is read and decoded while one is committed.

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
"""Messages in the first batch, when nothing is known of the database yet."""
SECONDS = 1.0
"""What a commit shall take: long beside what any commit costs."""
SHARE = 10
"""How many times shorter than the lease it shall be moreover, for the timeouts inside of it."""
ENOUGH = 1000
"""Messages to which a batch is made smaller for being slow; where so few are slow and succeed, it
may be each commit that is, whatever it holds."""
SLOWER = 10
"""How many times smaller batches become when one failed: a slow database, or a lock, may have kept
it from ending in time."""


class Inbox:
    """One batch that was read and is not being committed yet; what is read while it waits is added,
    within the limits.

    So a commit takes whatever came during the one before it. In memory are this one, the one in
    work, and at most one that does not fit to a less than half full one; reading on waits then, and
    while this one is half full. For one event loop.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._batch: Batch | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._closed = False
        self._changed = asyncio.Condition()
        self.waiting_since: float | None = None
        """When the oldest message of the batch that waits was there, on the monotonic clock."""
        self.taken_since = 0.0
        """The same, of the batch that was taken out last."""

    async def fill(self, batches: AsyncGenerator[Batch, None]) -> None:
        """Takes all batches in; their end, or their error, follows when they were taken out."""
        try:
            async for batch in batches:
                await self._put(batch)
        except Exception as error:
            self._error = error
        finally:
            await batches.aclose()
            await self._end()

    async def take(self) -> Batch | None:
        """The batch, when there is one; None at the end. Raises: what reading raised."""
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
        """Nothing more is given: a batch that waits, or an error, is dropped."""
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
        """Whether both may be one. Where the tail was reached is not forgotten."""
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
    """The limits of a reader's batches, which follow how long commits take.

    Large where much is to be caught up with and the database is quick, small where it is slow;
    never more than BATCH_ROWS and BATCH_BYTES. While a stream is live there is nothing to decide:
    whatever came while one batch was committed makes the next.
    """

    def __init__(self, failures: int = 0) -> None:
        """``failures`` of the stream in a row: a worker whose time is up begins no larger than
        where its predecessor failed.
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
        """A batch was not."""
        self.limits.rows = max(1, self.limits.rows // SLOWER)
