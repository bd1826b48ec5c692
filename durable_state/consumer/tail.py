"""Consuming one stream for as long as its lease is ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import django.db

from durable_state import feed
from durable_state.conf import get_settings
from durable_state.errors import (
    ConfigurationError,
    DurableStateError,
    LeaseLost,
    RevisionConflict,
    StreamGone,
    StreamHalted,
    StreamNotFound,
    StreamRecreated,
    TransportError,
    Unavailable,
)
from durable_state.models import Arrival, ParkedChange, Status, Stream
from durable_state.transport import Batch, LiveMode, delay

from . import lease
from .commit import Commit, commit, release
from .inbox import Inbox
from .outage import is_outage
from .pace import Pace
from .replay import sweep_dropped
from .source import stream_reader
from .standing import record_failure, record_stop, replay_recreated
from .threads import DatabaseThreads

__all__ = ["Tail"]

logger = logging.getLogger("durable_state.consumer")

T = TypeVar("T")

Progress = Callable[[Stream], None]
"""Called after each commit with the stream as it is then."""

HEALTHY_SECONDS = 20.0
"""Seconds that a session has to last for its failure to count as the first one again."""
DATABASE_ATTEMPTS = 5
"""Attempts in a row after which an error of the database that is no outage halts the stream."""


class Tail:
    """Reads, materializes and publishes one stream: catch-up, then live, until it is told to stop, closed, paused, halted, or the lease
    is lost.

    Invariant: only the holder of the lease reads on, and each commit compares the fencing token and the revision, so that a second
    holder's work, or an operator's, is never overwritten.
    """

    def __init__(
        self,
        stream: Stream,
        token: int,
        *,
        client: Any,
        threads: DatabaseThreads,
        stop: asyncio.Event,
        until_up_to_date: bool = False,
        on_progress: Progress | None = None,
    ) -> None:
        self.stream = stream
        self._token = token
        self._client = client
        self._threads = threads
        self._stop = stop
        self._until_up_to_date = until_up_to_date
        self._on_progress = on_progress
        self._pace = Pace(stream.failures)
        self._source = (stream.url, stream.live)
        self._lost = False
        self._refused = 0
        self._unswept = False
        self._failures = stream.failures
        self._began = 0.0
        self._interrupted = asyncio.Event()
        self._committing = asyncio.Lock()

    async def run(self) -> None:
        """Consumes until there is a reason to end; gives the lease back."""
        beside = [asyncio.create_task(each) for each in (self._keep_lease(), self._keep_releasing())]
        try:
            while not self._stop.is_set() and not self._lost and await self._session():
                pass
        finally:
            for each in beside:
                each.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            with contextlib.suppress(django.db.Error):
                await self._threads.run(lease.release, self.stream, self._token)

    async def _session(self) -> bool:
        """One reader, until it ends or fails; whether to go on with another."""
        stream = self.stream
        self._interrupted.clear()
        self._began = time.monotonic()
        try:
            async with self._committing:  # a release would write its own, older, columns into the same object
                await self._threads.run(stream.refresh_from_db, using=stream._state.db)
            if stream.paused or stream.status in (Status.HALTED, Status.CLOSED, Status.NEEDS_RESET):
                if stream.status == Status.CLOSED and not stream.paused:
                    await self._release()
                return False
            return await self._read()
        except RevisionConflict as conflict:
            logger.info("%s Reading it again.", conflict)
            return True
        except LeaseLost as lost:
            logger.info("%s", lost)
            return False
        except Stream.DoesNotExist:
            return False
        except StreamRecreated as error:
            return await self._start_over(error)
        except StreamGone as error:
            await self._halt(error, Status.NEEDS_RESET)
        except (Unavailable, StreamNotFound) as error:
            return await self._retry(error, getattr(error, "retry_after", None))
        except (TransportError, StreamHalted, ConfigurationError) as error:
            await self._halt(error, Status.HALTED)
        except django.db.Error as error:
            return await self._database_trouble(error)
        except Exception as error:  # a bug of ours, or of code of the project that we call: visible, and not hammered
            logger.exception("%s: an unexpected error after ordinal %s.", stream.name, stream.ordinal)
            return await self._retry(error, None)
        return False

    async def _database_trouble(self, error: django.db.Error) -> bool:
        if not is_outage(error):
            self._refused += 1
            if self._refused >= DATABASE_ATTEMPTS:
                problem = StreamHalted(
                    f"The database refuses the batch after ordinal {self.stream.ordinal}: {error}".strip(),
                    "Bring tables and mappings in line (a migration that has not run?), then resume; nothing of the batch was committed.",
                )
                await self._halt(problem, Status.HALTED)
                return False
        return await self._retry(error, None)

    async def _read(self) -> bool:
        stream = self.stream
        live: LiveMode = stream.live  # type: ignore[assignment]
        self._source = (stream.url, stream.live)  # what is read; a commit brings the stream's own up to date
        limits, in_thread = self._pace.limits, self._threads.run_apart
        reader = stream_reader(self._client, stream, stream.position, live=live, in_thread=in_thread, limits=limits)
        inbox = Inbox(limits)
        reading = asyncio.create_task(inbox.fill(reader.batches()))
        try:
            while (batch := await self._unless_stopped(inbox.take())) is not None:
                done = await self._commit(batch)
                if self._unswept:
                    await self._sweep(inbox)
                if batch.closed or (done is not None and done.paused):
                    return False
                if batch.up_to_date and self._until_up_to_date:
                    return False
                if (stream.url, stream.live) != self._source:
                    return True
            return True
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    async def _commit(self, batch: Batch) -> Commit | None:
        stream = self.stream
        if not self._worth_a_commit(batch):
            return None
        try:
            async with self._committing:
                began = time.monotonic()
                done = await self._threads.run(
                    commit,
                    stream,
                    batch.messages,
                    batch.position,
                    token=self._token,
                    up_to_date=batch.up_to_date,
                    closed=batch.closed,
                    checkpoint=batch.checkpoint,
                )
        except BaseException:
            self._pace.failed()
            raise
        self._pace.took(len(batch.messages), time.monotonic() - began)
        self._refused = 0
        if batch.messages:
            self._failures = 0
        await self._publish(done)
        self._unswept = self._unswept or not done.swept
        return done

    async def _publish(self, done: Commit) -> None:
        stream = self.stream
        await feed.ring(stream.name, stream.pk, done.revision, stream._state.db or "default", done.payload)
        if self._on_progress is not None:
            self._on_progress(stream)

    async def _keep_releasing(self) -> None:
        """Shows parked changes that something outside this stream made room for, which no batch of its own may tell."""
        while not self._lost:
            began = time.monotonic()
            await self._release()
            took = time.monotonic() - began
            # However much is polled, it is a tenth of the time at most.
            await asyncio.sleep(max(get_settings().lease_seconds / 3, took * 9))

    async def _release(self) -> None:
        try:
            if not await self._threads.run(self._has_news):
                return
            async with self._committing:
                done = await self._threads.run(release, self.stream, self._token)
            if done is not None:
                await self._publish(done)
        except (DurableStateError, django.db.Error) as error:  # the next batch meets it too, and deals with it
            logger.info("%s: nothing was released: %s", self.stream.name, error)
        except (
            Exception
        ):  # a bug of ours, or of code of the project: it must end neither this nor the giving back of the lease
            logger.exception("%s: parked changes could not be released.", self.stream.name)

    def _has_news(self) -> bool:
        """Whether a parent was marked as shown by another stream, or there is anything that nobody tells about."""
        stream = self.stream
        using = stream._state.db
        return (
            Arrival.objects.using(using).filter(stream=stream).exists()
            or ParkedChange.objects.using(using).filter(stream=stream, polled=True).exists()
        )

    async def _sweep(self, inbox: Inbox) -> None:
        """Deletes what a switch has left: one step, and more for as long as no batch waits and nobody asks for anything else; ``tidy``
        does what is left at the end.
        """
        with contextlib.suppress(django.db.Error):  # another one may be sweeping too
            while not self._stop.is_set() and not self._interrupted.is_set():
                self._unswept = await self._threads.run(sweep_dropped, self.stream._state.db or "default")
                if not self._unswept or (inbox.waiting and not self._until_up_to_date):
                    return

    def _worth_a_commit(self, batch: Batch) -> bool:
        """Whether a batch says anything new: an idle long-poll does not."""
        stream = self.stream
        if batch.messages or batch.closed or batch.position != stream.position:
            return True
        return batch.up_to_date and (stream.status != Status.LIVE or stream.rebuild_id is not None)

    async def _unless_stopped(self, coming: Coroutine[Any, Any, T]) -> T | None:
        """What ``coming`` gives; None when it is time to stop before, and what was read is dropped then."""
        waiting = asyncio.ensure_future(coming)
        stopping = [asyncio.create_task(event.wait()) for event in (self._stop, self._interrupted)]
        try:
            await asyncio.wait([waiting, *stopping], return_when=asyncio.FIRST_COMPLETED)
            if any(event.done() for event in stopping):
                return None
            return waiting.result()
        finally:
            for task in (waiting, *stopping):
                task.cancel()
            await asyncio.gather(
                waiting, *stopping, return_exceptions=True
            )  # an error that comes with the stop is dropped too

    async def _keep_lease(self) -> None:
        """Renews the lease while a commit, or a quiet stream, takes its time; and looks whether somebody else touched the stream."""
        while not self._lost:
            await asyncio.sleep(get_settings().lease_seconds / 3)
            try:
                self._lost = not await self._threads.run_for_lease(lease.renew, self.stream, self._token)
                # A commit in the making sees for itself whether it still may.
                if self._lost or (not self._committing.locked() and await self._threads.run_for_lease(self._touched)):
                    self._interrupted.set()
            except django.db.Error as error:
                logger.warning("%s: the lease could not be renewed: %s", self.stream.name, error)

    def _touched(self) -> bool:
        """Whether the stream was paused, resumed, reset, changed or removed, which a reader that waits for the next message would not notice."""
        stream = self.stream
        found = Stream.objects.using(stream._state.db).filter(pk=stream.pk)
        now = found.values_list("paused", "revision", "url", "live", "retry_at").first()
        return now is None or now[0] or now[1] > stream.revision or now[2:] != (*self._source, stream.retry_at)

    async def _start_over(self, error: StreamRecreated) -> bool:
        try:
            async with self._committing:
                await self._threads.run(replay_recreated, self.stream, self._token, error)
        except LeaseLost:
            return False
        except (RevisionConflict, django.db.Error) as trouble:
            logger.info("%s: %s", self.stream.name, trouble)
        return True

    async def _halt(self, error: DurableStateError, status: Status) -> None:
        with contextlib.suppress(django.db.Error):
            await self._threads.run(record_stop, self.stream, self._token, error, status)

    async def _retry(self, error: Exception, retry_after: float | None) -> bool:
        # That the tail was reached again is no success yet: the live request behind it may fail each time.
        self._failures = 1 if time.monotonic() - self._began > HEALTHY_SECONDS else self._failures + 1
        wait = delay(self._failures, retry_after)
        try:
            await self._threads.run(record_failure, self.stream, self._token, error, self._failures, wait)
        except django.db.Error as trouble:  # the database itself is away: nothing can be written down now
            logger.warning("%s: %s; and it could not be noted: %s", self.stream.name, error, trouble)
        waiting = [asyncio.create_task(event.wait()) for event in (self._stop, self._interrupted)]
        await asyncio.wait(waiting, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        return not self._stop.is_set()
