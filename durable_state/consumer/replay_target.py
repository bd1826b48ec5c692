"""Replays a stream beside its live reader, until the replay has caught up. Why: decision 25."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial

from django.db import connections

from durable_state.conf import get_settings
from durable_state.databases.contention import retry_on_deadlocks
from durable_state.errors import RevisionConflict, StreamRecreated
from durable_state.materializer import PreparedBatch, watch_steps
from durable_state.models import Replay, Status
from durable_state.telemetry import count_commit, span
from durable_state.transport import Batch, BatchLimits, Reader

from .committing import Commit
from .holding import Holding
from .lag import Lag
from .looking import Seen
from .loop import Next
from .readers import stream_reader
from .replay import advance, begin_again, hand_over
from .type_replay import hand_over_type, may_reach

__all__ = ["ReplayTarget"]

logger = logging.getLogger("durable_state.consumer")

MISSED_SECONDS = 0.5
"""Seconds between two looks at the tail, if the stream is so busy that the live reader was ahead
again.
"""
STAGED_SECONDS = 2.0
"""Seconds between two checks whether the stream still has a snapshot open."""
HELD_SECONDS = 1.0
"""The longest that the live reader then commits nothing, in seconds, so that the second look
succeeds.
"""


class ReplayTarget:
    """A replay of a stream: read from the stream's start to its tail, in plain requests, staged,
    and then handed over.

    ``Target`` describes what a loop asks of it.
    """

    lineage = 0
    """A replay is never replaced while it is read."""

    def __init__(self, replay: Replay, holding: Holding) -> None:
        self.progress = replay
        self.stream = replay.stream
        self.lag = Lag(replay.stream, holding.token)  # nobody asks for it: the fold is not shown
        self.unswept = False
        self._holding = holding
        self._threads = holding.seat.threads
        self._watcher = holding.seat.watcher
        # The last look at the stream's tail: the stream's revision before it, and whether the live
        # reader was ahead again afterwards. During the next one, the live reader is held back.
        self._seen = 0
        self._missed = False
        self._handed_over = False
        self._waits = False  # when the stream itself has something staged

        # A database with one writer at a time may let one wait for ever unless the two take turns.
        has_many_writers = connections[replay.using].features.has_select_for_update
        self._lock = asyncio.Lock() if has_many_writers else holding.gate.lock

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[bool]:
        """Reads the rows of stream and replay again; False if the replay is not to continue."""
        async with contextlib.AsyncExitStack() as held:
            if self._missed:
                self._missed = False
                await self._holding.unless_ended(asyncio.sleep(MISSED_SECONDS))
                await held.enter_async_context(self._holding.gate.hold_back(HELD_SECONDS))
            if self._waits:
                self._waits = False
                await self._holding.unless_ended(asyncio.sleep(STAGED_SECONDS))
            yield not self._holding.ends and await self._begin()

    async def _begin(self) -> bool:
        await self._threads.run(self._read_rows)
        self._seen = self.stream.revision
        has_stopped = self.progress.status in (Status.HALTED, Status.NEEDS_RESET)
        return not self.stream.paused and not has_stopped

    def _read_rows(self) -> None:
        self.stream.refresh_from_db(using=self.stream.using)
        self.progress.refresh_from_db(using=self.progress.using)
        self.progress.stream = self.stream

    def open_reader(self, limits: BatchLimits) -> Reader:
        """Reads on from the replay's position, up to the stream's tail."""
        return stream_reader(
            self._holding.seat.client,
            self.stream,
            self.progress,
            live=None,
            calls=self._threads.project_calls,
            limits=limits,
        )

    def wants(self, batch: Batch, *, is_unproven: bool) -> bool:
        """Whether the batch holds anything new."""
        return bool(batch.messages) or batch.position != self.progress.position

    def turn(self) -> AbstractAsyncContextManager[None]:
        """The replay's turn: at the same time as the live reader's, if the database has many
        writers.
        """
        return self._holding.gate.lock if self._is_near else self._lock

    @property
    def _is_near(self) -> bool:
        """Whether the next batch may end a replay of one type, in a switch that takes long."""
        rows = get_settings().batch_rows
        return bool(self.progress.entity_type) and (
            self.progress.ordinal + 2 * rows >= self.stream.ordinal
        )

    def commit(self, prepared: PreparedBatch, batch: Batch) -> Commit:
        """Commits staged entities and the replay's position; at the end of a replay of one type,
        the rows.
        """
        if self.progress.entity_type and may_reach(self.stream, batch):
            shown = self._show_type(batch)
            self._handed_over = shown is not None
            if shown is not None:
                return shown
        with span("replay", self.stream.name, prepared.count):
            return advance(self.progress, self.stream, prepared, batch, token=self._holding.token)

    async def after(self, batch: Batch, done: Commit | None, seconds: float) -> Next:
        """Hands the replay over at the tail."""
        if self._handed_over and done is not None:
            await self._conclude(done, seconds)
            return Next.END
        if done is not None:
            count_commit(self.stream.name, len(batch.messages), seconds, len(done.payload))
            self._holding.seat.samples.count(self.stream.pk, len(batch.messages), seconds)
            self._watcher.progressed(self.progress)
            self.unswept = self.unswept or not done.swept
            if done.paused:
                return Next.END
        if batch.up_to_date or batch.closed:
            return await self._hand_over(batch)
        return Next.READ_ON

    async def _hand_over(self, batch: Batch) -> Next:
        # A commit of the live reader would wait for the stream's row, but not as long as a switch
        # may take.
        async with self._holding.gate.lock:
            began = time.monotonic()
            show = self._show_type if self.progress.entity_type else self._show
            shown = await self._threads.run_long(show, replace(batch, messages=[]))
        if shown is None:
            self._missed = True
            return Next.REOPEN

        self._handed_over = True
        if not self.progress.entity_type:
            self._holding.hand_overs += 1
        await self._conclude(shown, time.monotonic() - began)
        return Next.END

    async def _conclude(self, shown: Commit, seconds: float) -> None:
        self.unswept = self.unswept or not shown.swept
        await self._holding.publish(self.stream, shown, seconds)

    def _show_type(self, batch: Batch) -> Commit | None:
        """Hands a replay of one type over; ``batch`` follows it."""
        replay, stream, token = self.progress, self.stream, self._holding.token
        switching = self._watcher.switching
        try:
            with (
                span("hand over", stream.name, 0),
                watch_steps(None if switching is None else partial(switching, replay)),
            ):
                return retry_on_deadlocks(
                    lambda: hand_over_type(stream, replay, batch, self._seen, token=token)
                )
        except RevisionConflict:
            self._waits = True
            raise

    def _show(self, batch: Batch) -> Commit | None:
        replay, stream, token = self.progress, self.stream, self._holding.token
        switching = self._watcher.switching
        with (
            span("hand over", stream.name, 0),
            watch_steps(None if switching is None else partial(switching, replay)),
        ):
            return retry_on_deadlocks(
                lambda: hand_over(stream, replay, self._seen, token=token, closed=batch.closed)
            )

    def start_over(self, error: StreamRecreated) -> None:
        """Opens another replay in place of this one, which ends it."""
        logger.warning("%s: %s Replaying it from its start.", self.progress, error.message)
        begin_again(self.progress, self._holding.token)

    def is_touched(self, seen: Seen) -> bool:
        """Whether the stream was paused or changed, or the replay resumed or started over."""
        if self._handed_over:
            return False  # what is left has to be deleted
        replay = self.progress
        now = seen.paused, seen.url, seen.replay_pk, seen.replay_retry_at
        return now != (False, self.stream.url, replay.pk, replay.retry_at)
