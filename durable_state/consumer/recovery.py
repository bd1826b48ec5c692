"""Decides what follows a failure: another attempt, later each time, or a halt."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time

import django.db
from django.core.exceptions import ObjectDoesNotExist

from durable_state.databases.faults import is_disconnection, is_misfit, is_outage
from durable_state.errors import (
    ConfigurationError,
    DurableStateError,
    StreamGone,
    StreamHalted,
    StreamNotFound,
    TransportError,
    Unavailable,
)
from durable_state.models import Progress, Status, Stream
from durable_state.telemetry import count_retry
from durable_state.transport import delay

from .error_text import describe_error, full_stop
from .failures import record_failure, record_stop
from .holding import Holding
from .hung_calls import CallHangs, OutOfTime
from .migration_advice import pending_migrations, what_to_migrate

__all__ = ["Recovery"]

logger = logging.getLogger("durable_state.consumer")

HEALTHY_SECONDS = 20.0
"""Seconds that a session has to last for its failure to count as the first one again."""
ATTEMPTS = 5
"""Attempts in a row after which a database error that is not an outage halts the fold."""
SLOW_SECONDS = 30.0
"""Most seconds between two attempts while the tables do not fit: a migration takes its time."""
NOTE_SECONDS = 5.0
"""Seconds that recording a hung call may take."""
UNEXPECTED_ATTEMPTS = 9
"""The same for any other error: more attempts, since batches have to shrink to a single message."""


class Recovery:
    """Remembers how the sessions of one loop have fared, and decides what follows a failure."""

    def __init__(self, progress: Progress, stream: Stream, holding: Holding) -> None:
        self._progress = progress
        self._stream = stream
        self._holding = holding
        self.outages = 0
        """How often the stream server, or the database, was unavailable."""

        self._failures = progress.failures
        self._refusals = 0  # how often the database, or a mapping, has refused the same batch
        self._began = 0.0  # when the current session began
        self._tails = 0  # how often its answers reached the tail
        self._is_unsteady = False  # whether live requests fail repeatedly

    def begin_session(self) -> None:
        """A new reader is opened."""
        self._began = time.monotonic()
        self._tails = 0

    def reach_tail(self) -> None:
        """The reader has reached the stream's tail."""
        self._tails += 1

    def committed(self) -> None:
        """Messages were committed, so the next failure counts as the first one."""
        self._failures = 0

    def went_through(self) -> None:
        """A batch went through."""
        self._refusals = 0

    @property
    def is_unproven(self) -> bool:
        """Whether reaching the tail proves nothing yet.

        A GET that finds nothing new says nothing about the live request after it, which kept
        failing.
        """
        return self._is_unsteady and self._tails == 1

    @property
    def is_last_attempt(self) -> bool:
        """Whether the fold may halt the next time that the same batch is refused."""
        return self._refusals >= ATTEMPTS - 1

    async def seconds_to_wait(self, error: Exception) -> float | None:
        """Records what has ended a session.

        Returns the seconds to wait before the next one, or None if somebody has to act first.
        """
        match error:
            case OutOfTime():
                return None
            case CallHangs():
                await self._give_up(error)
                return None
            case StreamGone():
                await self._halt(error, Status.NEEDS_RESET)
                return None
            case Unavailable() | StreamNotFound():
                return await self._retry(error, getattr(error, "retry_after", None))
            case TransportError() | StreamHalted() | ConfigurationError():
                await self._halt(error, Status.HALTED)
                return None
            case django.db.Error():
                return await self._after_database_error(error)
            case OSError() | MemoryError():  # a problem of the machine, which passes
                self._log("the machine fails", error)
                return await self._retry(error)
            case _:  # a bug of ours, or of the project's code that we call
                self._log("an unexpected error", error)
                return await self._retry_or_halt(
                    error,
                    f"An unexpected error after message {self._progress.ordinal}",
                    "The worker's log has its traceback: fix the code that it names, then resume;"
                    " nothing of the batch was committed.",
                    UNEXPECTED_ATTEMPTS,
                )

    def _log(self, what: str, error: Exception) -> None:
        logger.error(
            "%s: %s after message %s.",
            self._progress,
            what,
            self._progress.ordinal,
            exc_info=error,
        )

    async def _after_database_error(self, error: django.db.Error) -> float | None:
        if is_disconnection(error):
            return await self._after_disconnection(error)
        if is_outage(error):
            return await self._retry(error)

        misfit = is_misfit(error) and not self._holding.until_up_to_date
        if misfit and self._refusals >= ATTEMPTS - 1:
            return await self._wait_for_tables(error)
        return await self._retry_or_halt(
            error,
            f"The database refuses the batch after message {self._progress.ordinal}",
            what_to_migrate(error, self._stream.name)
            or "Bring tables and mappings in line (a migration that has not run?), then resume;"
            " nothing of the batch was committed.",
        )

    async def _after_disconnection(self, error: django.db.Error) -> float:
        """Waits, with all other streams, until the database answers; all connections are new then.

        The first disconnection is not recorded: there was nowhere to record it, and it is over.
        """
        await self._holding.unless_ended(self._holding.seat.outage.end(self._progress.using))
        if self._was_healthy:
            self._failures = 1
            return delay(1)
        return await self._retry(error)

    async def _wait_for_tables(self, error: django.db.Error) -> float:
        """Waits for a migration, and continues automatically once the tables fit."""
        text = describe_error(error)
        pending = await self._holding.seat.threads.run(pending_migrations, self._progress.using)
        waiting = StreamHalted(
            "Waiting for a migration, because the tables do not match the models:"
            f" {full_stop(text.sentence)}",
            f"Apply the migrations: {', '.join(pending)}. It continues automatically."
            if pending
            else "No migration is waiting to be applied: make one (manage.py makemigrations, then"
            " migrate), or restart this worker if its code is older than the tables."
            " It continues automatically.",
            text.detail,
            text.entity_type,
        )
        return await self._retry(waiting, random.uniform(SLOW_SECONDS / 2, SLOW_SECONDS))  # noqa: S311

    async def _retry_or_halt(
        self, error: Exception, message: str, action: str, attempts: int = ATTEMPTS
    ) -> float | None:
        """Halts once the same thing has happened too often: trying for ever is no use."""
        self._refusals += 1
        if self._refusals < attempts:
            return await self._retry(error)

        text = describe_error(error)
        halted = StreamHalted(
            f"{message}: {full_stop(text.sentence)}", action, text.detail, text.entity_type
        )
        await self._halt(halted, Status.HALTED)
        return None

    async def _halt(self, error: DurableStateError, status: Status) -> None:
        with contextlib.suppress(django.db.Error):
            await self._holding.seat.threads.run(
                record_stop, self._progress, self._holding.token, error, status
            )

    @property
    def _was_healthy(self) -> bool:
        """Whether the session that has failed lasted long enough.

        Reaching the tail is no success yet: the live request after it may fail each time.
        """
        return time.monotonic() - self._began > HEALTHY_SECONDS

    async def _give_up(self, error: CallHangs) -> None:
        """Lets another worker take the stream, which may do better.

        Waits only a moment for the failure to be recorded: the database may be what hangs.
        """
        noting = asyncio.create_task(self._retry_as_it_is(error))
        await asyncio.wait([noting], timeout=NOTE_SECONDS)
        self._holding.give_up(self._stream, error)

    async def _retry_as_it_is(self, error: CallHangs) -> None:
        """Retries from what the row says, since a hung commit may have gone through."""
        progress = self._progress
        with contextlib.suppress(django.db.Error, ObjectDoesNotExist):
            await self._holding.seat.threads.run(progress.refresh_from_db, using=progress.using)
            await self._retry(error)

    async def _retry(self, error: Exception, retry_after: float | None = None) -> float:
        self.outages += 1
        count_retry(self._stream.name, error)
        self._failures = 1 if self._was_healthy else self._failures + 1
        self._is_unsteady = self._failures > 1 and self._tails > 0

        seconds = delay(self._failures, retry_after)
        try:
            await self._holding.seat.threads.run(
                record_failure, self._progress, self._holding.token, error, self._failures, seconds
            )
            if isinstance(self._progress, Stream):
                self._holding.seat.watcher.progressed(self._progress)
        except django.db.Error as trouble:
            # The database itself is unavailable, so nothing can be recorded now.
            logger.warning(
                "%s: %s; and that could not be recorded: %s",
                self._progress,
                describe_error(error).sentence,
                describe_error(trouble).sentence,
            )
        return seconds
