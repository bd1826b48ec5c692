"""Reads and commits, session after session.

Why: decision 42.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Protocol, TypeVar

import django.db
from django.core.exceptions import ObjectDoesNotExist

from durable_state.databases.contention import retry_on_deadlocks
from durable_state.errors import DurableStateError, LeaseLost, RevisionConflict, StreamRecreated
from durable_state.materializer import PreparedBatch, Refused, prepare_batch
from durable_state.models import Lease, Progress, Replay, Stream
from durable_state.transport import Batch, BatchLimits, Reader

from .cleanup import sweep_dropped
from .committing import Commit
from .error_text import describe_error
from .holding import Holding
from .lag import Lag
from .looking import Seen, look_at_stream
from .reading_ahead import Inbox, Pace
from .recovery import Recovery

__all__ = ["Loop", "Next", "Target"]

logger = logging.getLogger("durable_state.consumer")

SHORT = 1000
"""With at most this many messages, a commit is expected to be short."""

F = TypeVar("F", bound=Progress)
T = TypeVar("T")


class Next(enum.Enum):
    """What a loop does next."""

    READ_ON = "the next batch, of the same reader"
    REOPEN = "another session: the rows are read again, and another reader is opened"
    END = "nothing: the loop ends"


class Target(Protocol[F]):
    """What a loop keeps up to date: the shown rows of a stream, or a replay of it.

    The loop calls it; it knows nothing about the loop.
    """

    progress: F
    """The row whose position the loop moves. Brought up to date by each commit."""

    stream: Stream

    lag: Lag
    """How far the shown rows lag behind the stream, as far as is known."""

    unswept: bool
    """Whether a commit has left rows of a dropped generation; the loop deletes them."""

    @property
    def lineage(self) -> int:
        """A number that changes whenever reading starts over from another beginning of the
        stream.
        """

    def session(self) -> AbstractAsyncContextManager[bool]:
        """Surrounds one session: reads the rows again that say what to do; False if there is
        nothing to do.
        """

    def open_reader(self, limits: BatchLimits) -> Reader:
        """A reader from the fold's position on."""

    def wants(self, batch: Batch, *, is_unproven: bool) -> bool:
        """Whether the batch holds anything to commit."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Waits for the loop's turn to write."""

    def commit(self, prepared: PreparedBatch, batch: Batch) -> Commit:
        """Commits the batch. Called in a thread."""

    async def after(self, batch: Batch, done: Commit | None, seconds: float) -> Next:
        """Decides what follows a batch. ``done`` is its commit, if any, which took ``seconds``."""

    def start_over(self, error: StreamRecreated) -> None:
        """Records that the stream is folded from its start, because its URL now serves another
        stream.

        Called in a thread. Raises: LeaseLost, RevisionConflict.
        """

    def is_touched(self, seen: Seen) -> bool:
        """Whether somebody has changed the rows since the loop read or wrote them."""


class Loop(Generic[F]):
    """Folds one stream, from its target's position on, until there is a reason to end.

    Invariant: only the holder of the lease continues reading, and each commit compares the fencing
    token and the revision, so the work of a second holder, or of an operator, is never overwritten.
    """

    def __init__(self, target: Target[F], holding: Holding) -> None:
        self.target = target
        self._holding = holding
        self._threads = holding.seat.threads
        self._recovery = Recovery(target.progress, target.stream, holding)
        self._pace = Pace(target.progress.failures)
        self._interrupted = asyncio.Event()
        self._is_committing = False

    @property
    def outages(self) -> int:
        """How often the server, or the database, was unavailable."""
        return self._recovery.outages

    async def run(self) -> None:
        """Runs session after session, until there is a reason to end."""
        while not self._holding.ends and await self._session() is not Next.END:
            pass

    async def look(self, seen: Seen) -> None:
        """Ends the session if somebody else has changed the rows, which a reader that waits for the
        next message would not notice.
        """
        if self._is_committing or not self.target.is_touched(seen):
            return
        # This may be older than the loop's own last commit.
        now = await self._threads.run_for_lease(look_at_stream, self.target.stream)
        # A running commit checks for itself whether it may go through.
        if not self._is_committing and (now is None or self.target.is_touched(now)):
            self.interrupt()

    def interrupt(self) -> None:
        """Ends the session once its commit is done, so that the rows are read again."""
        self._interrupted.set()

    async def start_over(self, error: StreamRecreated) -> None:
        """Has the stream folded from its start, because its URL now serves another stream."""
        try:
            async with self.target.turn():
                await self._threads.run(self.target.start_over, error)
        except LeaseLost:
            self._holding.lose()
        except (RevisionConflict, django.db.Error) as trouble:
            logger.info("%s: %s", self.target.progress, describe_error(trouble).sentence)
        self.interrupt()

    async def _session(self) -> Next:
        """One reader, until it ends or fails."""
        self._interrupted.clear()
        self._recovery.begin_session()
        self.target.lag.begin(time.monotonic(), Lease.Lag.TAKEN)
        try:
            async with self.target.session() as is_ready:
                return await self._read() if is_ready else Next.END

        except RevisionConflict as conflict:
            logger.info("%s Reading it again.", conflict)
            return Next.REOPEN
        except LeaseLost as lost:
            logger.info("%s", lost)
            self._holding.lose()
            return Next.END
        except (Stream.DoesNotExist, Replay.DoesNotExist):
            return Next.END
        except StreamRecreated as error:
            await self.start_over(error)
            return Next.REOPEN
        except Exception as error:
            self.target.lag.lose_touch(error)
            seconds = await self._recovery.seconds_to_wait(error)

        if seconds is None:
            return Next.END
        await self._unless_interrupted(asyncio.sleep(seconds))
        return Next.REOPEN

    async def _read(self) -> Next:
        limits = self._pace.limits
        reader = self.target.open_reader(limits)
        self.target.lag.listen(reader)
        inbox = Inbox(limits)
        reading = asyncio.create_task(inbox.fill(reader.batches()))
        ending = asyncio.create_task(self._close_when_interrupted(inbox))
        try:
            while (batch := await inbox.take()) is not None:
                if batch.messages:
                    self.target.lag.begin(inbox.taken_since, Lease.Lag.COMMIT)
                following = await self._take(batch)
                self.target.lag.settle(at_tail=batch.up_to_date, waiting_since=inbox.waiting_since)
                if self.target.unswept:
                    await self._sweep()
                if following is not Next.READ_ON:
                    return following
            return Next.REOPEN
        finally:
            for task in (reading, ending):
                task.cancel()
            await asyncio.gather(reading, ending, return_exceptions=True)

    async def _close_when_interrupted(self, inbox: Inbox) -> None:
        """Closes the inbox at the end: one task per session, instead of several per batch."""
        await self._holding.until_ended(self._interrupted)
        await inbox.close()

    async def _take(self, batch: Batch) -> Next:
        """Commits the batch, if it holds anything to commit."""
        if batch.up_to_date:
            self._recovery.reach_tail()

        done, seconds = None, 0.0
        if self.target.wants(batch, is_unproven=self._recovery.is_unproven):
            done, seconds = await self._commit(batch)
        following = await self.target.after(batch, done, seconds)

        self._recovery.went_through()
        return following

    async def _commit(self, batch: Batch) -> tuple[Commit, float]:
        """Prepares and commits the batch in a thread; also returns the seconds that took."""
        try:
            async with self.target.turn():
                began, self._is_committing = time.monotonic(), True
                run = self._threads.run if self._is_short(batch) else self._threads.run_long
                done = await run(self._write, batch)
        except BaseException:
            self._pace.failed()
            raise
        finally:
            self._is_committing = False

        seconds = time.monotonic() - began
        self._pace.took(len(batch.messages), seconds)
        if batch.messages:
            self._recovery.committed()
        return done, seconds

    def _is_short(self, batch: Batch) -> bool:
        """Whether it is an ordinary live commit, which should not have to wait for long ones."""
        progress = self.target.progress
        is_staging = progress.rebuild_id is not None or progress.snapshot_id is not None
        return batch.up_to_date and not is_staging and len(batch.messages) <= SHORT

    def _write(self, batch: Batch) -> Commit:
        """Prepares and commits the batch.

        A message that has failed too often, in a batch of its own, is refused, so that it holds up
        no others.
        """
        try:
            # Prepared anew for each attempt, because a fold changes what it is given.
            return retry_on_deadlocks(lambda: self.target.commit(self._prepare(batch), batch))
        except (DurableStateError, django.db.Error, ObjectDoesNotExist, OSError, MemoryError):
            raise
        except Exception as error:
            if len(batch.messages) > 1 or not self._recovery.is_last_attempt:
                raise
            ordinal = batch.position.ordinal
            logger.exception("%s: message %s is refused.", self.target.progress, ordinal)
            refusal = Refused("failed", f"{type(error).__name__}: {error}")
            return self.target.commit(self._prepare(batch, refusal), batch)

    def _prepare(self, batch: Batch, refusal: Refused | None = None) -> PreparedBatch:
        after = batch.position.ordinal - len(batch.messages)
        return prepare_batch(self.target.stream, batch.messages, after, refusal)

    async def _sweep(self) -> None:
        """Deletes what a switch has left: beside the next batches, or at once if there will be
        none.
        """
        if not self._holding.until_up_to_date:
            self._holding.seat.cleanup.ask()
            self.target.unswept = False
            return
        with contextlib.suppress(django.db.Error):  # another process may be sweeping too
            while self.target.unswept and not self._holding.ends:
                using = self.target.progress.using
                self.target.unswept = await self._threads.run_long(sweep_dropped, using)

    async def _unless_interrupted(self, coming: Coroutine[Any, Any, T]) -> T | None:
        return await self._holding.unless_ended(coming, self._interrupted)
