"""Checks from time to time, beside the reader of a stream, whether it is still the same stream.

Why: decision 29.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from typing import Any
from weakref import WeakKeyDictionary

import django.db

from durable_state.databases.clock import database_now
from durable_state.errors import DurableStateError, StreamRecreated
from durable_state.models import Status, Stream
from durable_state.transport import DEEP_BYTES, Checkpoint

from .expiry import note_expiry
from .holding import Holding
from .loop import Loop
from .readers import stream_rereader

__all__ = ["Recognizer"]

logger = logging.getLogger("durable_state.consumer")

NEAR_SECONDS = 60.0
"""Seconds between two quick checks of what lies just before the position."""
QUIET_SECONDS = 300.0
"""The same if nothing has come since the last check: thousands of streams may be quiet."""
DEEP_SECONDS = 900.0
"""Seconds between two long checks, which read again as much as is allowed."""
REST_SECONDS = 10.0
"""Fewest seconds between two long checks, however often the server is unavailable."""
DEEP_AT_ONCE = 4
"""Long checks at a time in one process; each reads at a bounded pace."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class Due(enum.Enum):
    """Which check is due."""

    NEAR = "a quick one"
    DEEP = "a long one"


class Recognizer:
    """Checks whether what a loop has read is still there. If it is not, the loop starts over.

    A reader makes a quick check itself before it starts. Beside it, there is a quick check each
    ``NEAR_SECONDS`` or ``QUIET_SECONDS``; with the first one, the server is also asked when it will
    drop the stream. A long check is made at the start (with ``at_start``, or if the last one is too
    long ago), after each outage, when a replay was handed over, and each ``DEEP_SECONDS``.
    """

    def __init__(self, loop: Loop[Any], holding: Holding, *, at_start: bool) -> None:
        self._loop = loop
        self._target = loop.target
        self._holding = holding
        self._looking = asyncio.Lock()

        # The times of the last quick and long checks, and what the last one compared.
        now, progress = time.monotonic(), self._target.progress
        self._looked = self._reread = now
        self._previous: Checkpoint | None = None
        self._has_asked_expiry = False
        if progress.reread_at is not None:
            # A clock that was set back does not delay it.
            ago = database_now(progress.using) - progress.reread_at
            self._reread -= max(ago.total_seconds(), 0.0)
        elif progress.ordinal:
            self._reread -= DEEP_SECONDS

        # Whether a long check is due, and what makes it due when it changes.
        self._due = at_start and bool(progress.ordinal)
        self._outages, self._lineage = loop.outages, self._target.lineage

    def is_due(self) -> bool:
        """Whether a check is due, and none is running."""
        return not self._looking.locked() and self._due_look() is not None

    async def look_if_due(self) -> None:
        """Makes the check that is due, if any."""
        try:
            async with self._looking:
                if (due := self._due_look()) is not None:
                    await self._look(deep=due is Due.DEEP)
        except Exception:  # a bug of ours, or of the project's code: reading continues
            logger.exception("%s: could not be compared again.", self._target.progress)
            self._looked = self._reread = time.monotonic()

    async def finish(self) -> None:
        """Makes the long check that is due, unless long checks would be too frequent."""
        async with self._looking:
            progress = self._target.progress
            checkpoint = Checkpoint.load(progress.checkpoint)
            mark = checkpoint and checkpoint.deep()
            if not checkpoint or not mark or progress.status != Status.LIVE:
                return

            short = checkpoint.size - mark.size <= DEEP_BYTES
            if (self._due and short) or time.monotonic() - self._reread >= DEEP_SECONDS:
                await self._look(deep=True)

    def _due_look(self) -> Due | None:
        now = time.monotonic()
        if self._target.progress.status not in (Status.LIVE, Status.CATCHING_UP):
            return None

        outages, lineage = self._loop.outages, self._target.lineage
        if lineage != self._lineage:
            self._previous = None
        if (outages, lineage) != (self._outages, self._lineage):
            self._outages, self._lineage = outages, lineage
            self._due = True

        since = now - self._reread
        if since >= DEEP_SECONDS or (self._due and since >= REST_SECONDS):
            return Due.DEEP
        seconds = QUIET_SECONDS if self._is_quiet else NEAR_SECONDS
        return Due.NEAR if now - self._looked >= seconds else None

    @property
    def _is_quiet(self) -> bool:
        """Whether nothing has come since the last check."""
        previous, progress = self._previous, self._target.progress
        return previous is not None and previous.ordinal == progress.ordinal

    async def _look(self, *, deep: bool) -> None:
        now, target = time.monotonic(), self._target
        lineage, checkpoint = target.lineage, Checkpoint.load(target.progress.checkpoint)
        try:
            if checkpoint is not None:
                await self._compare(checkpoint, deep)
        except StreamRecreated as error:
            # If starting over is not possible now, it is checked again soon.
            self._looked, self._reread, self._due = now, now, True
            if target.lineage == lineage and not self._holding.ends:
                await self._loop.start_over(error)
        except DurableStateError as error:  # the reader meets the same error, and deals with it
            logger.info("%s: could not be compared again: %s", target.progress, error)
            self._looked = now
            self._reread = max(self._reread, now - DEEP_SECONDS + NEAR_SECONDS)
        else:
            self._looked, self._previous = now, checkpoint
            if not self._has_asked_expiry and isinstance(target.progress, Stream):
                self._has_asked_expiry = True
                await note_expiry(target.progress, self._holding.seat)
            if deep:
                self._reread, self._due = now, False
                await self._note()

    async def _compare(self, checkpoint: Checkpoint, deep: bool) -> None:
        """Raises: StreamRecreated; what reading raises."""
        seat = self._holding.seat
        rereader = stream_rereader(
            seat.client, self._target.stream, calls=seat.threads.project_calls
        )
        if deep:
            turns = _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(DEEP_AT_ONCE))
            async with turns:
                await rereader.look(checkpoint, deep=True)
            return
        if self._previous is not None:
            # If it was replaced and has grown since, the newest messages are the new stream's.
            await rereader.look(self._previous)
        await rereader.look(checkpoint)

    async def _note(self) -> None:
        """Records when it was checked, for the next consumer of the stream."""
        try:
            async with self._target.turn():
                await self._holding.seat.threads.run(self._save)
        except django.db.Error as error:
            logger.info("%s: %s", self._target.progress, error)

    def _save(self) -> None:
        progress = self._target.progress
        now = database_now(progress.using)
        rows = type(progress)._base_manager.using(progress.using)
        rows.filter(pk=progress.pk).update(reread_at=now)
        progress.reread_at = now
