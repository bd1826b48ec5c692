"""How far a stream's rows lag behind its server, as far as the holder of its lease knows.

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
"""Seconds of lag that are worth recording; less is over before anybody looks."""
SHARE = 10
"""WORTH is at most the lease divided by this."""
TOGETHER = 200
"""Streams in one statement: below every database's limit of parameters."""


class _Lagging(NamedTuple):
    """Since when rows lag, in seconds of the monotonic clock, and why."""

    since: float
    because: Lease.Lag


class Note(NamedTuple):
    """A lag, as it is recorded."""

    stream_pk: int
    token: int
    seconds: float | None
    """For how long the rows have lagged; None if they do not."""
    because: str


class Lag:
    """How far the rows of one stream lag behind what the holder of its lease knows of.

    They do not lag while the holder is at the stream's tail with nothing in hand. A new holder
    knows nothing yet, so the rows lag since the previous holder's last sign of life, which is
    recorded when the lease is taken.
    """

    def __init__(self, stream: Stream, token: int) -> None:
        self.stream_pk, self.using, self.token = stream.pk, stream.using, token
        taken = _Lagging(time.monotonic(), Lease.Lag.TAKEN)
        self._lagging: _Lagging | None = taken
        self._written: _Lagging | None = taken
        self._reader: Reader | None = None

    def listen(self, reader: Reader) -> None:
        """From now on, the rows also lag while this reader receives nothing."""
        self._reader = reader

    def _hear(self) -> None:
        if self._reader is not None and self._reader.silent_since is not None:
            self.begin(self._reader.silent_since, Lease.Lag.SILENCE)

    def begin(self, since: float, because: Lease.Lag) -> None:
        """The rows lag from that time on, unless they lag already."""
        if self._lagging is None:
            self._lagging = _Lagging(since, because)

    def lose_touch(self, error: Exception) -> None:
        """Reading or committing has failed, so nobody knows what the server has now."""
        seconds = error.seconds if isinstance(error, Stalled) else 0.0
        self.begin(time.monotonic() - seconds, Lease.Lag.SILENCE)
        is_locked = isinstance(error, django.db.Error) and is_contention(error)
        if is_locked:
            self._blame(Lease.Lag.LOCKED)
        else:
            self._absolve_lock(Lease.Lag.SILENCE)

    def _absolve_lock(self, because: Lease.Lag) -> None:
        """Another reason takes the place of a lock, if that was the reason until now."""
        if self._lagging is not None and self._lagging.because is Lease.Lag.LOCKED:
            self._blame(because)

    def _blame(self, because: Lease.Lag) -> None:
        if self._lagging is not None:
            self._lagging = self._lagging._replace(because=because)

    def settle(self, *, at_tail: bool, waiting_since: float | None) -> None:
        """A batch was committed, and the next one has been waiting since then.

        Only at the stream's tail does that mean that the rows are complete.
        """
        if at_tail:
            self._lagging = None
        self._absolve_lock(Lease.Lag.COMMIT)  # the lock is gone, since the batch went through
        if waiting_since is not None:
            self.begin(waiting_since, Lease.Lag.COMMIT)

    @property
    def seconds(self) -> float:
        """For how long the rows have lagged so far; 0 if they are complete."""
        self._hear()
        return 0.0 if self._lagging is None else time.monotonic() - self._lagging.since

    @property
    def is_news(self) -> bool:
        """Whether what is recorded is so wrong that it is worth a statement."""
        self._hear()
        lagging, written = self._lagging, self._written
        if lagging == written:
            return False
        if lagging is None or time.monotonic() - lagging.since < _worth():
            return written is not None
        if written is None or lagging.because != written.because:
            return True
        return lagging.since - written.since >= _worth()

    @property
    def has_changed(self) -> bool:
        """Whether what is recorded differs from what is known."""
        return self._lagging != self._written

    def note(self) -> Note:
        """What to record now; from then on it counts as recorded."""
        self._written = lagging = self._lagging
        if lagging is None:
            return Note(self.stream_pk, self.token, None, "")
        seconds = time.monotonic() - lagging.since
        return Note(self.stream_pk, self.token, seconds, lagging.because)


async def keep_lags(lags: Sequence[Lag], threads: DatabaseThreads) -> None:
    """Records, for as long as it runs, which streams of one database lag, and since when.

    ``lags`` may change in the meantime.

    One statement serves all streams that lag no longer, and one each stream that does. Nearly
    always nothing has changed, and none is needed.
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
            # The leases are not renewed either, so they show that the rows lag.
            logger.debug("The lag of %s streams could not be recorded: %s", len(changed), error)


def write_lags(using: str, notes: Sequence[Note]) -> None:
    """Records the lags of those streams whose lease is still held with the same token."""
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
