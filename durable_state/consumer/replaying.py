"""The loop that replays a stream beside its live reader, until it has caught up with it.

Why: decision 25.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import django.db
from django.db import connections

from durable_state.databases.contention import retry_on_deadlocks
from durable_state.errors import LeaseLost, RevisionConflict, StreamRecreated
from durable_state.materializer import watch_steps
from durable_state.models import Replay, Status
from durable_state.transport import Batch, BatchLimits, Reader

from .committing import Commit
from .error_text import describe_error
from .live import LiveLoop
from .loop import Holding, Loop
from .readers import stream_reader
from .replay import advance, begin_again, hand_over

__all__ = ["ReplayLoop"]

logger = logging.getLogger("durable_state.consumer")

MISSED_SECONDS = 0.5
"""Seconds between two looks at the tail of a stream that is so busy that the live reader was ahead again."""
HELD_SECONDS = 1.0
"""Seconds for which the live reader then commits nothing, at most, so that the second look is not in vain."""


class ReplayLoop(Loop[Replay]):
    """Reads from the stream's start to its tail, in plain requests, and stages; then hands over."""

    def __init__(self, replay: Replay, live: LiveLoop, holding: Holding) -> None:
        using = replay.using
        # A database that has one writer at a time may let one wait for ever, where it does not take turns.
        apart = connections[using].features.has_select_for_update
        super().__init__(
            replay, replay.stream, holding, asyncio.Lock() if apart else live.committing
        )
        self.handed_over = False
        self._live = live
        self._seen = 0
        self._missed = False

    async def _session(self) -> bool:
        if not self._missed:
            return await super()._session()
        self._missed = False
        await self._pause(MISSED_SECONDS)
        if self._holding.ends:
            return False
        may_commit, timer = self._live.may_commit, None
        may_commit.clear()
        try:
            async with self._live.committing:  # what is under way counts as seen
                timer = asyncio.get_running_loop().call_later(HELD_SECONDS, may_commit.set)
            return await super()._session()
        finally:
            if timer is not None:
                timer.cancel()
            may_commit.set()

    async def _begin(self) -> bool:
        await self._threads.run(self._read_rows)
        self._seen = self.stream.revision
        return not self.stream.paused and self.progress.status not in (
            Status.HALTED,
            Status.NEEDS_RESET,
        )

    def _read_rows(self) -> None:
        self.stream.refresh_from_db(using=self.stream.using)
        self.progress.refresh_from_db(using=self.progress.using)
        self.progress.stream = self.stream

    def _open(self, limits: BatchLimits) -> Reader:
        client, calls = self._holding.client, self._threads.project_calls
        return stream_reader(
            client, self.stream, self.progress, live=None, calls=calls, limits=limits
        )

    async def _take(self, batch: Batch) -> bool | None:
        replay, stream, token = self.progress, self.stream, self._holding.token
        if batch.messages or batch.position != replay.position:
            done = await self._commit(
                batch,
                lambda ready: advance(replay, stream, ready, batch, token=token),
            )
            self._live.watcher.progressed(replay)
            self._unswept = self._unswept or not done.swept
            if done.paused:
                return False
        if not batch.up_to_date and not batch.closed:
            return None
        # A commit of the live reader would wait for the stream's row, but not for as long as a switch may take.
        async with self._live.committing:
            shown = await self._threads.run(self._hand_over, batch.closed)
        if shown is None:
            self._missed = True
            return True
        self.handed_over = True
        self._live.lineage += 1
        await self._live.publish(shown)
        self._unswept = self._unswept or not shown.swept
        return False

    def _hand_over(self, closed: bool) -> Commit | None:
        replay, stream, token = self.progress, self.stream, self._holding.token
        switching = self._live.watcher.switching
        with watch_steps(None if switching is None else partial(switching, replay)):
            return retry_on_deadlocks(
                partial(hand_over, stream, replay, self._seen, token=token, closed=closed)
            )

    async def _start_over(self, error: StreamRecreated) -> bool:
        logger.warning("%s: %s It is folded from its start.", self.progress, error.message)
        try:
            async with self.committing:
                await self._threads.run(begin_again, self.progress, self._holding.token)
        except LeaseLost:
            self._holding.lose()
        except (RevisionConflict, django.db.Error) as trouble:
            logger.info("%s: %s", self.progress, describe_error(trouble).sentence)
        return False

    def _touched(self) -> bool:
        """Whether the stream was paused, changed or removed, or the replay resumed or begun anew."""
        if self.handed_over:
            return False  # what is left is to be swept
        stream, replay = self.stream, self.progress
        found = Replay.objects.using(replay.using).filter(pk=replay.pk)
        now = found.values_list("stream__paused", "stream__url", "retry_at").first()
        return now is None or now[0] or now[1:] != (stream.url, replay.retry_at)
