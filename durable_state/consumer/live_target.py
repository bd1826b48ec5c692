"""Keeps the shown rows of a stream up to date: first catching up, then live."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial

import django.db

from durable_state.errors import DurableStateError, StreamRecreated
from durable_state.feed import LogKeeper
from durable_state.materializer import PreparedBatch, watch_steps
from durable_state.models import Status, Stream
from durable_state.telemetry import count_commit, span
from durable_state.transport import Batch, BatchLimits, Following, Reader

from .commits import commit, release
from .committing import Commit
from .error_text import describe_error
from .failures import replay_recreated
from .holding import Holding
from .hung_calls import CallHangs
from .lag import Lag
from .looking import Seen
from .loop import Next
from .readers import stream_reader

__all__ = ["LiveTarget"]

logger = logging.getLogger("durable_state.consumer")


class LiveTarget:
    """The shown rows of a stream, as a ``Target`` of a loop."""

    def __init__(self, stream: Stream, holding: Holding) -> None:
        self.progress = self.stream = stream
        self.lag = Lag(stream, holding.token)
        self.unswept = False
        self._log_keeper = LogKeeper(stream)
        self.at_tail = False
        """Whether the newest batch ended at the stream's tail, even if it brought nothing."""

        self._holding = holding
        self._threads = holding.seat.threads
        self._watcher = holding.seat.watcher
        # What is read; a commit may update the stream's own columns.
        self._source = self._read_source()
        self._following = Following(stream.followed_by)

    def _read_source(self) -> tuple[object, ...]:
        return self.stream.url, self.stream.live, self.stream.heartbeat_seconds

    @property
    def lineage(self) -> int:
        """How often a replay has replaced what is read."""
        return self._holding.hand_overs

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[bool]:
        """Reads the stream's row again; False if the stream is not to be read."""
        yield await self._begin()

    async def _begin(self) -> bool:
        stream = self.stream
        # A release that runs at the same time would set older columns on the same object.
        async with self._holding.gate.lock:
            await self._threads.run(stream.refresh_from_db, using=stream.using)
        stream.left = None  # in a restored database, the revision may be another one

        if stream.paused or stream.status in (Status.HALTED, Status.NEEDS_RESET):
            return False
        if stream.status == Status.CLOSED:
            await self.release()
            return False
        return True

    def open_reader(self, limits: BatchLimits) -> Reader:
        """Reads on from the stream's position, and follows it live from the tail."""
        stream, source = self.stream, self._read_source()
        if source != self._source:
            self._source = source
            self._following = Following(stream.followed_by)
        return stream_reader(
            self._holding.seat.client,
            stream,
            stream,
            live=stream.followed_by,
            calls=self._threads.project_calls,
            limits=limits,
            following=self._following,
        )

    def wants(self, batch: Batch, *, is_unproven: bool) -> bool:
        """Whether the batch says anything new, which an idle long-poll does not."""
        stream = self.stream
        if batch.messages or batch.closed or batch.position != stream.position:
            return True
        if not batch.up_to_date:
            return False
        if stream.rebuild_id is not None:
            return True

        # The only news may be that the stream is live.
        is_news = stream.status != Status.LIVE
        return is_news and (self._holding.until_up_to_date or not is_unproven)

    def turn(self) -> AbstractAsyncContextManager[None]:
        """The live reader's turn."""
        return self._holding.gate.turn()

    def commit(self, prepared: PreparedBatch, batch: Batch) -> Commit:
        """Commits rows, position and feed entry."""
        switching = self._watcher.switching
        with (
            span("commit", self.stream.name, prepared.count),
            watch_steps(None if switching is None else partial(switching, self.stream)),
        ):
            return commit(self.stream, prepared, batch, token=self._holding.token)

    async def after(self, batch: Batch, done: Commit | None, seconds: float) -> Next:
        """Publishes the commit."""
        stream = self.stream
        if done is not None:
            self.unswept = self.unswept or not done.swept
            count_commit(stream.name, len(batch.messages), seconds, len(done.payload))
            self._holding.seat.samples.count(stream.pk, len(batch.messages), seconds)
            await self._holding.publish(stream, done, seconds)
            if self._log_keeper.is_due:
                await self._threads.run(self._log_keeper.keep)
        else:
            self._watcher.progressed(stream)
        self.at_tail = batch.up_to_date
        if self._following.detour != stream.detour:
            await self._threads.run(self._note_detour)

        is_paused = done is not None and done.paused
        # It may have got a doorbell while it was followed.
        ends_there = self._holding.until_up_to_date or stream.has_doorbell
        has_arrived = batch.up_to_date and ends_there
        if batch.closed or is_paused or has_arrived:
            return Next.END
        return Next.READ_ON if self._read_source() == self._source else Next.REOPEN

    def _note_detour(self) -> None:
        """Records how the tail is followed, for whoever watches."""
        stream = self.stream
        stream.detour = self._following.detour
        rows = Stream.objects.using(stream.using).filter(pk=stream.pk, live=stream.live)
        rows.update(detour=stream.detour)

    def start_over(self, error: StreamRecreated) -> None:
        """Opens a replay; the old rows stay visible until it is handed over."""
        replay_recreated(self.stream, self._holding.token, error)

    def is_touched(self, seen: Seen) -> bool:
        """Whether the stream was paused, resumed, replayed or changed."""
        stream = self.stream
        return (
            seen.paused
            or seen.revision > stream.revision
            or (seen.url, seen.live, seen.heartbeat_seconds) != self._source
            or seen.retry_at != stream.retry_at
        )

    async def release(self) -> None:
        """Shows the parked changes that can be shown now.

        After a failure nothing else is done: the next batch meets the same failure, and deals with
        it.
        """
        stream = self.stream
        try:
            async with self._holding.gate.lock:
                began = time.monotonic()
                done = await self._threads.run(release, stream, self._holding.token)
            if done is not None:
                await self._holding.publish(stream, done, time.monotonic() - began)
        except CallHangs as error:
            self._holding.give_up(stream, error)
        except (DurableStateError, django.db.Error) as error:
            logger.info("%s: nothing was released: %s", stream, describe_error(error).sentence)
        except Exception:
            # A bug of ours, or of the project's code, must not keep the lease from being given
            # back.
            logger.exception("%s: parked changes could not be released.", stream)
