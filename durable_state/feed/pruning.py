"""The log is kept within its bounds of age, entries and bytes, by whoever writes it.

Invariant: a stream's entries are deleted from its oldest on, so those that are left have no hole.
Nothing here looks at an entry that stays, but for a few: the oldest are found by an index.

Why: decision 54.
"""

from __future__ import annotations

import datetime
import logging
import time

import django.db

from durable_state.conf import get_settings
from durable_state.databases.clock import database_now
from durable_state.models import FeedEntry, HeldRows, Stream

__all__ = ["LogKeeper", "prune"]

logger = logging.getLogger("durable_state.feed")

STEP_ENTRIES = 100
"""Entries by which a log grows at most until its oldest are looked at."""
STEP_SHARE = 16
"""The part of FEED_KEEP_BYTES by which it grows at most until then."""
STEP_SECONDS = 60.0
"""Seconds that pass at most, while there are commits."""
PACE = 4
"""How many times as many entries are looked at as have come: a backlog becomes smaller."""
CHUNK = 1000
"""Entries that are deleted in one statement."""


class LogKeeper:
    """Keeps one stream's log within its bounds, at the pace at which it grows.

    However many commits a second there are, as many entries go as come.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._kept_at: tuple[int, int, float] | None = None
        """The revision, the bytes and the moment at which the log was looked at last."""

    def keep(self) -> None:
        """Deletes entries beyond the bounds, where enough has come since that was done last.

        Called after a commit; a later one makes good for one that fails.
        """
        stream, settings = self._stream, get_settings()
        step = max(1, min(STEP_ENTRIES, settings.feed_keep_rows // 10))
        now = stream.revision, stream.log_bytes, time.monotonic()
        if self._kept_at is not None:
            came, grown, passed = (new - old for new, old in zip(now, self._kept_at, strict=True))
            part = settings.feed_keep_bytes // STEP_SHARE
            if came < step and grown < part and passed < STEP_SECONDS:
                return

        self._kept_at = now
        try:
            _prune_stream(stream, PACE * step)
        except django.db.Error as error:
            logger.info("%s: the feed log could not be pruned: %s", stream, error)


def _prune_stream(stream: Stream, most: int) -> None:
    """Deletes those of the stream's oldest entries, ``most`` at once, that are beyond a bound."""
    settings = get_settings()
    first_kept = stream.revision - settings.feed_keep_rows + 1
    bytes_gone = stream.log_bytes - settings.feed_keep_bytes
    cutoff = _cutoff(stream.using)

    log = FeedEntry.objects.using(stream.using).filter(stream=stream)
    oldest = log.order_by("revision").values_list("revision", "log_bytes", "created_at")[:most]
    last = None
    for revision, log_bytes, created_at in oldest:
        if revision >= first_kept and log_bytes > bytes_gone and created_at >= cutoff:
            break
        last = revision
    if last is not None:
        log.filter(revision__lte=last).delete()


def prune(using: str, seconds: float = 1.0) -> int:
    """Deletes the entries of all streams that are older than FEED_KEEP_SECONDS, oldest first;
    returns how many. Forgets what readers held that have not come back.

    It begins nothing more after so many ``seconds``: what is left waits for the next call. Of a
    stream that brings much, ``LogKeeper`` has deleted them before.
    """
    HeldRows.objects.using(using).filter(expires_at__lt=database_now(using)).delete()
    until, log = time.monotonic() + seconds, FeedEntry.objects.using(using)
    expired = log.filter(created_at__lt=_cutoff(using)).order_by("created_at", "pk")
    count = 0
    while chunk := list(expired.values_list("pk", flat=True)[:CHUNK]):
        count += log.filter(pk__in=chunk).delete()[0]
        if time.monotonic() > until:
            break
    return count


def _cutoff(using: str) -> datetime.datetime:
    return database_now(using) - datetime.timedelta(seconds=get_settings().feed_keep_seconds)
