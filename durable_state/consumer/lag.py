"""Whether a stream's rows are all that its server has, as far as the holder of its lease knows.

Why: decision 49.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import django.db
from django.db.models import DateTimeField, ExpressionWrapper, Q, Value

from durable_state.conf import get_settings
from durable_state.databases.clock import ServerNow
from durable_state.databases.faults import is_contention
from durable_state.errors import Stalled
from durable_state.models import Lease, Stream
from durable_state.transport import Reader

from .threads import DatabaseThreads

__all__ = ["WORTH", "Lag", "Note", "keep_lags", "write_lags"]

logger = logging.getLogger("durable_state.consumer")

WORTH = 1.0
"""Seconds of lag that are written down; less is over before anybody looks."""
SHARE = 10
"""How many times shorter than the lease that is at most."""
TOGETHER = 200
"""Streams in one statement: below every database's limit of parameters."""


class _Standing(NamedTuple):
    """Since when rows lag, in seconds of the monotonic clock, and why."""

    since: float
    because: Lease.Lag


class Note(NamedTuple):
    """A lag as it is written down."""

    stream_pk: int
    token: int
    seconds: float | None
    """For how long the rows have lagged; None where they do not."""
    because: str


class Lag:
    """How far the rows of one stream lag behind what the holder of its lease knows of.

    Not at all, while the holder is at the stream's tail with nothing in hand. Whoever takes a lease
    knows nothing yet: the rows lag since the last sign of life of the holder before, which is
    written with the lease.
    """

    def __init__(self, stream: Stream, token: int) -> None:
        self.stream_pk, self.using, self.token = stream.pk, stream.using, token
        taken = _Standing(time.monotonic(), Lease.Lag.TAKEN)
        self._standing: _Standing | None = taken
        self._written: _Standing | None = taken
        self._reader: Reader | None = None

    def listen(self, reader: Reader) -> None:
        """From now on the rows lag too while the reader hears nothing."""
        self._reader = reader

    def _hear(self) -> None:
        if self._reader is not None and self._reader.silent_since is not None:
            self.begin(self._reader.silent_since, Lease.Lag.SILENCE)

    def begin(self, since: float, because: Lease.Lag) -> None:
        """The rows lag since then, if they did not already."""
        if self._standing is None:
            self._standing = _Standing(since, because)

    def lose_touch(self, error: Exception) -> None:
        """Reading, or committing, has failed: nobody knows what comes meanwhile."""
        seconds = error.seconds if isinstance(error, Stalled) else 0.0
        self.begin(time.monotonic() - seconds, Lease.Lag.SILENCE)
        standing = self._standing
        if standing and isinstance(error, django.db.Error) and is_contention(error):
            self._standing = standing._replace(because=Lease.Lag.LOCKED)

    def settle(self, *, at_tail: bool, waiting_since: float | None) -> None:
        """A batch was dealt with, and the next one has been waiting for so long.

        Only at the stream's tail that says that the rows hold all.
        """
        if at_tail:
            self._standing = None
        if waiting_since is not None:
            self.begin(waiting_since, Lease.Lag.COMMIT)

    @property
    def seconds(self) -> float:
        """For how long the rows have lagged by now; 0 where they hold all."""
        self._hear()
        return 0.0 if self._standing is None else time.monotonic() - self._standing.since

    @property
    def is_news(self) -> bool:
        """Whether what is written down is so far from the truth that it is worth a statement."""
        self._hear()
        standing, written = self._standing, self._written
        if standing == written:
            return False
        if standing is None or time.monotonic() - standing.since < _worth():
            return written is not None
        if written is None or standing.because != written.because:
            return True
        return standing.since - written.since >= _worth()

    @property
    def has_changed(self) -> bool:
        """Whether anything else is written down than what is known."""
        return self._standing != self._written

    def note(self) -> Note:
        """What is to be written down now; it is taken to be."""
        self._written = standing = self._standing
        if standing is None:
            return Note(self.stream_pk, self.token, None, "")
        seconds = time.monotonic() - standing.since
        return Note(self.stream_pk, self.token, seconds, standing.because)


async def keep_lags(lags: Sequence[Lag], threads: DatabaseThreads) -> None:
    """Writes down for as long as it runs which streams of one database lag, and since when.

    ``lags`` may change meanwhile.

    One statement says so of all that lag no more, and one of each that does; none is needed where
    nothing has changed, which is nearly always.
    """
    while True:
        await asyncio.sleep(_worth())
        changed = [each for each in lags if each.is_news]
        if not changed:
            continue
        try:
            notes = [each.note() for each in changed]
            await threads.run_for_lease(write_lags, changed[0].using, notes)
        except django.db.Error as error:
            # The rows lag then, and their leases, which are not renewed either, say so.
            logger.debug("The lag of %s streams could not be recorded: %s", len(changed), error)


def write_lags(using: str, notes: Sequence[Note]) -> None:
    """Writes the lags down, of those streams whose lease is still held with the same token."""
    leases = Lease.objects.using(using)
    current = [each for each in notes if each.seconds is None]
    for start in range(0, len(current), TOGETHER):
        ours = Q()
        for each in current[start : start + TOGETHER]:
            ours |= Q(stream_id=each.stream_pk, token=each.token)
        leases.filter(ours).update(lags_since=None, lags_because="")

    for each in notes:
        if each.seconds is not None:
            since = ExpressionWrapper(
                ServerNow() - Value(timedelta(seconds=each.seconds)), output_field=DateTimeField()
            )
            ours = Q(stream_id=each.stream_pk, token=each.token)
            leases.filter(ours).update(lags_since=since, lags_because=each.because)


def _worth() -> float:
    return min(WORTH, get_settings().lease_seconds / SHARE)
