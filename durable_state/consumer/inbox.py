"""Reading ahead: the next batch is read and decoded while one is committed.

Why: decision 19.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from durable_state.transport import Batch, BatchLimits

__all__ = ["Inbox"]


class Inbox:
    """One batch that was read and is not being committed yet; what is read while it waits is added, within the limits.

    So a commit takes whatever came during the one before it. In memory are this one, the one in work, and at most one that does not fit to a
    less than half full one; reading on waits then, and while this one is half full. For one event loop.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._batch: Batch | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._changed = asyncio.Condition()

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
            batch, self._batch = self._batch, None
            self._changed.notify_all()
        if batch is None and self._error is not None:
            raise self._error
        return batch

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
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._batch is None or self._has_room(self._batch))

    async def _end(self) -> None:
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _fits(self, first: Batch, second: Batch) -> bool:
        """Whether both may be one. Where the tail was reached is not forgotten."""
        rows, size = len(first.messages) + len(second.messages), first.bytes + second.bytes
        return (
            rows <= self._limits.rows
            and size <= self._limits.bytes
            and (second.up_to_date or not first.up_to_date)
        )

    def _has_room(self, batch: Batch) -> bool:
        return len(batch.messages) < self._limits.rows / 2 and batch.bytes < self._limits.bytes / 2
