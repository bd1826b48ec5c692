"""The loop that keeps a stream's rows up to date: catch-up, then live."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import django.db

from durable_state import feed
from durable_state.errors import DurableStateError, LeaseLost, RevisionConflict, StreamRecreated
from durable_state.materializer import PROTECTED
from durable_state.models import Arrival, DeadLetter, ParkedChange, Status, Stream
from durable_state.transport import Batch, BatchLimits, Reader

from .commits import commit, release
from .committing import Commit
from .error_text import describe_error
from .failures import replay_recreated
from .loop import Holding, Loop
from .readers import stream_reader
from .watcher import NOBODY, Watcher

__all__ = ["LiveLoop"]

logger = logging.getLogger("durable_state.consumer")


class LiveLoop(Loop[Stream]):
    """Reads, materializes and publishes."""

    def __init__(self, stream: Stream, holding: Holding, watcher: Watcher = NOBODY) -> None:
        super().__init__(stream, stream, holding, asyncio.Lock())
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self.watcher = watcher
        if watcher.switching is not None:
            self._on_step = partial(watcher.switching, stream)
        self._source = (stream.url, stream.live)
        self.at_tail = False
        """Whether the newest batch ended at the stream's tail, also one that brought nothing."""

    async def release(self) -> None:
        """Shows what is parked and can be shown by now."""
        try:
            if not await self._threads.run(self._has_news):
                return
            async with self.committing:
                done = await self._threads.run(release, self.progress, self._holding.token)
            if done is not None:
                await self.publish(done)
        except (DurableStateError, django.db.Error) as error:
            # The next batch meets it too, and deals with it.
            sentence = describe_error(error).sentence
            logger.info("%s: nothing was released: %s", self.progress, sentence)
        except Exception:
            # A bug of ours, or of code of the project: it must end neither this nor the giving
            # back of the lease.
            logger.exception("%s: parked changes could not be released.", self.progress)

    async def publish(self, done: Commit) -> None:
        """Tells subscribers of a commit."""
        stream = self.progress
        await feed.ring(stream.name, stream.pk, done.revision, stream.using, done.payload)
        self.watcher.committed(stream, done, self.took)
        self.watcher.progressed(stream)

    async def _begin(self) -> bool:
        stream = self.progress
        # A release would write its own, older, columns into the same object.
        async with self.committing:
            await self._threads.run(stream.refresh_from_db, using=stream.using)
        if stream.paused or stream.status in (Status.HALTED, Status.CLOSED, Status.NEEDS_RESET):
            if stream.status == Status.CLOSED and not stream.paused:
                await self.release()
            return False
        return True

    def _open(self, limits: BatchLimits) -> Reader:
        stream = self.progress
        # What is read; a commit brings the stream's own up to date.
        self._source = (stream.url, stream.live)
        return stream_reader(
            self._holding.client,
            stream,
            stream,
            live=stream.live,  # type: ignore[arg-type]
            calls=self._threads.project_calls,
            limits=limits,
        )

    async def _take(self, batch: Batch) -> bool | None:
        stream = self.progress
        done: Commit | None = None
        if self._worth_a_commit(batch):
            await self.may_commit.wait()
            done = await self._commit(
                batch,
                lambda ready: commit(stream, ready, batch, token=self._holding.token),
            )
            await self.publish(done)
            self._unswept = self._unswept or not done.swept
        else:
            self.watcher.progressed(stream)
        self.at_tail = batch.up_to_date
        if (
            batch.closed
            or (done is not None and done.paused)
            or (batch.up_to_date and self._holding.until_up_to_date)
        ):
            return False
        return True if (stream.url, stream.live) != self._source else None

    def _worth_a_commit(self, batch: Batch) -> bool:
        """Whether a batch says anything new: an idle long-poll does not."""
        stream = self.progress
        if batch.messages or batch.closed or batch.position != stream.position:
            return True
        if not batch.up_to_date or stream.rebuild_id is not None:
            return batch.up_to_date
        # That a GET finds nothing new says nothing of the live request behind it, which keeps
        # failing.
        unproven = self._unsteady and self._tails == 1 and not self._holding.until_up_to_date
        return stream.status != Status.LIVE and not unproven

    async def _start_over(self, error: StreamRecreated) -> bool:
        try:
            async with self.committing:
                await self._threads.run(replay_recreated, self.progress, self._holding.token, error)
        except LeaseLost:
            self._holding.lose()
        except (RevisionConflict, django.db.Error) as trouble:
            logger.info("%s: %s", self.progress, describe_error(trouble).sentence)
        return True

    def _touched(self) -> bool:
        """Whether the stream was paused, resumed, replayed, changed or removed."""
        stream = self.progress
        found = Stream.objects.using(stream.using).filter(pk=stream.pk)
        now = found.values_list("paused", "revision", "url", "live", "retry_at").first()
        return (
            now is None
            or now[0]
            or now[1] > stream.revision
            or now[2:] != (*self._source, stream.retry_at)
        )

    def _has_news(self) -> bool:
        """Whether another stream has shown a parent, or there is what nobody tells about."""
        stream = self.progress
        using = stream.using
        return (
            Arrival.objects.using(using).filter(stream=stream).exists()
            or ParkedChange.objects.using(using).filter(stream=stream, polled=True).exists()
            or DeadLetter.objects.using(using)
            .filter(stream=stream, generation=0, reason=PROTECTED)
            .exists()
        )
