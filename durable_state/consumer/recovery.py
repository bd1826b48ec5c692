"""What is done about what goes wrong: it is tried again, later each time, or the fold halts."""

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
"""Attempts in a row after which an error of the database that is no outage halts the fold."""
SLOW_SECONDS = 30.0
"""Seconds at most between two attempts while the tables do not fit: a migration takes its time."""
NOTE_SECONDS = 5.0
"""Seconds that it may take to write down why a stream stands still."""
UNEXPECTED_ATTEMPTS = 9
"""The same of any other error: more, since batches have to become as small as one message."""


class Recovery:
    """Remembers how the sessions of one loop have fared, and decides what follows a failure."""

    def __init__(self, progress: Progress, stream: Stream, holding: Holding) -> None:
        self._progress = progress
        self._stream = stream
        self._holding = holding
        self.outages = 0
        """How often the stream server was away."""

        self._failures = progress.failures
        self._refusals = 0  # how often the database, or a mapping, has refused the same batch
        self._began = 0.0  # when the present session did
        self._tails = 0  # how often its answers reached the tail
        self._is_unsteady = False  # whether live requests fail again and again

    def begin_session(self) -> None:
        """Another reader is opened."""
        self._began = time.monotonic()
        self._tails = 0

    def reach_tail(self) -> None:
        """The reader has reached the stream's tail."""
        self._tails += 1

    def committed(self) -> None:
        """Messages were committed: the next failure is the first one again."""
        self._failures = 0

    def went_through(self) -> None:
        """A batch was dealt with."""
        self._refusals = 0

    @property
    def is_unproven(self) -> bool:
        """Whether that the tail was reached says nothing yet.

        A GET that finds nothing new is no proof of the live request behind it, which kept failing.
        """
        return self._is_unsteady and self._tails == 1

    @property
    def is_last_attempt(self) -> bool:
        """Whether the fold may halt the next time that the same batch is refused."""
        return self._refusals >= ATTEMPTS - 1

    async def seconds_to_wait(self, error: Exception) -> float | None:
        """Writes down what has ended a session.

        Returns the seconds to wait before the next one, or None where somebody has to act first.
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
            case OSError() | MemoryError():  # the machine's trouble, which passes
                self._log("the machine fails", error)
                return await self._retry(error)
            case _:  # a bug of ours, or of code of the project that we call
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
        """Waits, with all others, until the database answers; then every connection is a new one.

        Nothing is written down of the first time: there was nowhere to write, and it is over.
        """
        await self._holding.unless_ended(self._holding.seat.outage.end(self._progress.using))
        if self._was_healthy:
            self._failures = 1
            return delay(1)
        return await self._retry(error)

    async def _wait_for_tables(self, error: django.db.Error) -> float:
        """A migration may be under way, or still to come: goes on by itself once the tables fit."""
        text = describe_error(error)
        pending = await self._holding.seat.threads.run(pending_migrations, self._progress.using)
        waiting = StreamHalted(
            "Waiting for a migration, because the tables do not match the models:"
            f" {full_stop(text.sentence)}",
            f"Apply the migrations: {', '.join(pending)}. It continues automatically."
            if pending
            else "There is no migration to apply: make the missing one, or restart this "
            "worker if its code is older than the tables. It continues automatically.",
            text.detail,
            text.entity_type,
        )
        return await self._retry(waiting, random.uniform(SLOW_SECONDS / 2, SLOW_SECONDS))  # noqa: S311

    async def _retry_or_halt(
        self, error: Exception, message: str, action: str, attempts: int = ATTEMPTS
    ) -> float | None:
        """Halts where the same thing happens again and again: it is no use to try for ever."""
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
        """Whether the session that has failed lasted for long enough.

        That the tail was reached is no success yet: the live request behind it may fail each time.
        """
        return time.monotonic() - self._began > HEALTHY_SECONDS

    async def _give_up(self, error: CallHangs) -> None:
        """Has somebody else take the stream, who may fare better.

        What is written down is waited for a moment only: the way to the database may be what hangs.
        """
        noting = asyncio.create_task(self._retry_as_it_is(error))
        await asyncio.wait([noting], timeout=NOTE_SECONDS)
        self._holding.give_up(self._stream, error)

    async def _retry_as_it_is(self, error: CallHangs) -> None:
        """Of a commit that stands still nobody knows whether it went through: the row does."""
        progress = self._progress
        with contextlib.suppress(django.db.Error, ObjectDoesNotExist):
            await self._holding.seat.threads.run(progress.refresh_from_db, using=progress.using)
            await self._retry(error)

    async def _retry(self, error: Exception, retry_after: float | None = None) -> float:
        self.outages += 1
        count_retry(self._stream.name, error)
        # That the tail was reached again is no success yet: the live request behind it may fail
        # each time.
        was_healthy = time.monotonic() - self._began > HEALTHY_SECONDS
        self._failures = 1 if was_healthy else self._failures + 1
        self._is_unsteady = self._failures > 1 and self._tails > 0

        seconds = delay(self._failures, retry_after)
        try:
            await self._holding.seat.threads.run(
                record_failure, self._progress, self._holding.token, error, self._failures, seconds
            )
        except django.db.Error as trouble:
            # The database itself is away: nothing can be written down now.
            logger.warning(
                "%s: %s; and that could not be recorded: %s",
                self._progress,
                describe_error(error).sentence,
                describe_error(trouble).sentence,
            )
        return seconds
