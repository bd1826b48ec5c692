"""Reading and committing, session after session, and what to do about what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import django.db
from django.core.exceptions import ObjectDoesNotExist

from durable_state.databases.contention import retry_on_deadlocks
from durable_state.databases.faults import is_outage
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
from durable_state.materializer import (
    OnStep,
    PreparedBatch,
    Refused,
    prepare_batch,
    watch_steps,
)
from durable_state.models import Progress, Replay, Status, Stream
from durable_state.transport import Batch, BatchLimits, Reader, delay

from .error_text import describe_error, full_stop
from .failures import record_failure, record_stop
from .migration_advice import what_to_migrate
from .reading_ahead import Inbox, Pace
from .replay import sweep_dropped
from .threads import DatabaseThreads

__all__ = ["Holding", "Loop"]

logger = logging.getLogger("durable_state.consumer")

F = TypeVar("F", bound=Progress)
T = TypeVar("T")

HEALTHY_SECONDS = 20.0
"""Seconds that a session has to last for its failure to count as the first one again."""
ATTEMPTS = 5
"""Attempts in a row after which an error of the database that is no outage halts the fold."""
UNEXPECTED_ATTEMPTS = 9
"""The same of any other error: more, since batches have to become as small as one message."""


@dataclass(slots=True)
class Holding:
    """What the holder of a stream's lease works with. ``stop`` asks it to end; ``lost`` says that the lease is another's."""

    token: int
    client: Any
    threads: DatabaseThreads
    stop: asyncio.Event
    until_up_to_date: bool = False
    lost: bool = False
    loops: list[Loop[Any]] = field(default_factory=list)

    @property
    def ends(self) -> bool:
        """Whether there is nothing to be begun any more."""
        return self.stop.is_set() or self.lost

    def lose(self) -> None:
        """The lease is another's by now: every loop ends."""
        self.lost = True
        for loop in self.loops:
            loop.interrupt()


class Loop(Generic[F]):
    """Folds one stream, from where ``progress`` says, until there is a reason to end.

    Invariant: only the holder of the lease reads on, and each commit compares the fencing token and the revision, so that a second
    holder's work, or an operator's, is never overwritten.
    """

    def __init__(
        self, progress: F, stream: Stream, holding: Holding, committing: asyncio.Lock
    ) -> None:
        self.progress = progress
        self.stream = stream
        self._holding = holding
        self.committing = committing
        self._threads = holding.threads
        self._interrupted = asyncio.Event()
        self._pace = Pace(progress.failures)
        self._refused = 0
        self._failures = progress.failures
        self.outages = 0
        """How often the server, or the database, was away."""
        self.lineage = 0
        """How often a replay of the stream took the place of what was read."""
        self._unswept = False
        self._tails = 0  # how often the present session's answers reached the tail
        self._unsteady = False  # whether live requests fail again and again
        self._busy = False
        self._on_step: OnStep | None = None
        self.took = 0.0
        """Seconds that the newest commit took."""
        self._began = 0.0

    async def run(self) -> None:
        """Session after session, until there is a reason to end."""
        self._holding.loops.append(self)
        try:
            while not self._holding.ends and await self._session():
                pass
        finally:
            self._holding.loops.remove(self)

    async def look(self) -> None:
        """Ends the session where somebody else wrote what it goes by, which a reader that waits for the next message would not notice."""
        # A commit in the making sees for itself whether it still may.
        if not self._busy and await self._threads.run_for_lease(self._touched):
            self.interrupt()

    def interrupt(self) -> None:
        """Ends the session once its commit is done, so that the rows are looked at again."""
        self._interrupted.set()

    def _touched(self) -> bool:
        """Whether the rows are not as this loop read, or wrote, them."""
        raise NotImplementedError

    async def _begin(self) -> bool:
        """Reads the rows again that say what is to be done; False where it is nothing."""
        raise NotImplementedError

    def _open(self, limits: BatchLimits) -> Reader:
        """A reader from where the fold stands."""
        raise NotImplementedError

    async def _take(self, batch: Batch) -> bool | None:
        """Commits the batch; whether to go on, with this reader (None) or with another (True)."""
        raise NotImplementedError

    async def _start_over(self, error: StreamRecreated) -> bool:
        """Another stream lives under the URL; whether to go on."""
        raise NotImplementedError

    async def replaced(self, error: StreamRecreated) -> None:
        """Starts over, because somebody beside this loop has found that another stream lives under the URL."""
        await self._start_over(error)
        self.interrupt()

    async def _session(self) -> bool:
        """One reader, until it ends or fails; whether to go on with another."""
        self._interrupted.clear()
        self._began, self._tails = time.monotonic(), 0
        try:
            return await self._begin() and await self._read()
        except RevisionConflict as conflict:
            logger.info("%s Reading it again.", conflict)
            return True
        except LeaseLost as lost:
            logger.info("%s", lost)
            self._holding.lose()
            return False
        except (Stream.DoesNotExist, Replay.DoesNotExist):
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
        except (OSError, MemoryError) as error:  # the machine's trouble, which passes
            logger.exception(
                "%s: the machine fails after ordinal %s.", self.progress, self.progress.ordinal
            )
            return await self._retry(error, None)
        except Exception as error:  # a bug of ours, or of code of the project that we call
            logger.exception(
                "%s: an unexpected error after ordinal %s.", self.progress, self.progress.ordinal
            )
            return await self._retry_or_halt(
                error,
                f"An unexpected error after ordinal {self.progress.ordinal}",
                "The worker's log has its traceback: mend the code that it names, then resume;"
                " nothing of the batch was committed.",
                UNEXPECTED_ATTEMPTS,
            )
        return False

    async def _read(self) -> bool:
        limits = self._pace.limits
        reader = self._open(limits)
        inbox = Inbox(limits)
        reading = asyncio.create_task(inbox.fill(reader.batches()))
        try:
            while (batch := await self.unless_stopped(inbox.take())) is not None:
                self._tails += batch.up_to_date
                on = await self._take(batch)
                self._refused = 0
                if self._unswept:
                    await self._sweep(inbox)
                if on is not None:
                    return on
            return True
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    def _prepare(self, batch: Batch, refusal: Refused | None = None) -> PreparedBatch:
        after = batch.position.ordinal - len(batch.messages)
        return prepare_batch(self.stream, batch.messages, after, refusal)

    def _write(self, batch: Batch, write: Callable[[PreparedBatch], T]) -> T:
        """Prepares the batch and calls what commits it.

        Where one message by itself has failed again and again, it is refused: it costs nobody else.
        """
        try:
            with watch_steps(self._on_step):
                # Prepared by each attempt: a fold leaves its marks on what it is given.
                return retry_on_deadlocks(lambda: write(self._prepare(batch)))
        except (DurableStateError, django.db.Error, ObjectDoesNotExist, OSError, MemoryError):
            raise
        except Exception as error:
            if len(batch.messages) > 1 or self._refused < ATTEMPTS - 1:
                raise
            logger.exception("%s: message %s is refused.", self.progress, batch.position.ordinal)
            refusal = Refused("failed", f"{type(error).__name__}: {error}")
            return write(self._prepare(batch, refusal))

    async def _commit(self, batch: Batch, write: Callable[[PreparedBatch], T]) -> T:
        """Prepares the batch and calls what commits it, in a thread, and takes the time."""
        try:
            async with self.committing:
                began, self._busy = time.monotonic(), True
                done = await self._threads.run(self._write, batch, write)
        except BaseException:
            self._pace.failed()
            raise
        finally:
            self._busy = False
        self.took = time.monotonic() - began
        self._pace.took(len(batch.messages), self.took)
        if batch.messages:
            self._failures = 0
        return done

    async def _sweep(self, inbox: Inbox) -> None:
        """Deletes what a switch has left: one step, and more for as long as no batch waits and nobody asks for anything else; ``tidy``
        does what is left at the end.
        """
        with contextlib.suppress(django.db.Error):  # another one may be sweeping too
            while not self._holding.stop.is_set() and not self._interrupted.is_set():
                self._unswept = await self._threads.run(sweep_dropped, self.progress.using)
                if not self._unswept or (inbox.waiting and not self._holding.until_up_to_date):
                    return

    async def unless_stopped(self, coming: Coroutine[Any, Any, T]) -> T | None:
        """What ``coming`` gives; None when it is time to stop before, and what was read is dropped then."""
        waiting = asyncio.ensure_future(coming)
        stopping = [
            asyncio.create_task(event.wait()) for event in (self._holding.stop, self._interrupted)
        ]
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

    async def _pause(self, seconds: float) -> None:
        """Waits, unless it is time to stop, or the rows were touched, before."""
        await self.unless_stopped(asyncio.sleep(seconds))

    async def _database_trouble(self, error: django.db.Error) -> bool:
        if is_outage(error):
            return await self._retry(error, None)
        return await self._retry_or_halt(
            error,
            f"The database refuses the batch after ordinal {self.progress.ordinal}",
            what_to_migrate(error, self.stream.name)
            or "Bring tables and mappings in line (a migration that has not run?), then resume;"
            " nothing of the batch was committed.",
        )

    async def _retry_or_halt(
        self, error: Exception, message: str, action: str, attempts: int = ATTEMPTS
    ) -> bool:
        """Halts where the same thing happens again and again: it is no use to try for ever."""
        self._refused += 1
        if self._refused < attempts:
            return await self._retry(error, None)
        said = describe_error(error)
        halted = StreamHalted(
            f"{message}: {full_stop(said.sentence)}", action, said.detail, said.entity_type
        )
        await self._halt(halted, Status.HALTED)
        return False

    async def _halt(self, error: DurableStateError, status: Status) -> None:
        with contextlib.suppress(django.db.Error):
            await self._threads.run(record_stop, self.progress, self._holding.token, error, status)

    async def _retry(self, error: Exception, retry_after: float | None) -> bool:
        self.outages += 1
        # That the tail was reached again is no success yet: the live request behind it may fail each time.
        self._failures = (
            1 if time.monotonic() - self._began > HEALTHY_SECONDS else self._failures + 1
        )
        self._unsteady = self._failures > 1 and self._tails > 0
        wait, token = delay(self._failures, retry_after), self._holding.token
        try:
            await self._threads.run(
                record_failure, self.progress, token, error, self._failures, wait
            )
        except (
            django.db.Error
        ) as trouble:  # the database itself is away: nothing can be written down now
            failed, unnoted = describe_error(error).sentence, describe_error(trouble).sentence
            logger.warning("%s: %s; and it could not be noted: %s", self.progress, failed, unnoted)
        await self._pause(wait)
        return not self._holding.stop.is_set()
