"""The log is kept within its bounds of age, entries and bytes, by whoever writes it.

Invariant: a stream's entries are deleted from its oldest on, so those that are left have no hole.
Nothing here looks at an entry that stays, but for a few: the oldest are found by an index.

Why: decision 54.
"""

from __future__ import annotations

import datetime
import logging

import django.db

from durable_state.conf import get_settings
from durable_state.databases.clock import database_now
from durable_state.models import FeedEntry, HeldRows, Stream

__all__ = ["LogKeeper", "prune", "prune_held"]

logger = logging.getLogger("durable_state.feed")

STEP_ENTRIES = 100
"""Entries by which a log grows at most until its oldest are looked at."""
STEP_SHARE = 16
"""The part of FEED_KEEP_BYTES by which it grows at most until then."""
PACE = 4
"""How many times as many entries are looked at as have come: a backlog becomes smaller."""
CHUNK = 1000
"""Entries that are deleted in one statement."""


class LogKeeper:
    """Keeps one stream's log within its bounds, at the pace at which it grows.

    However many commits a second there are, as many entries go as come. What becomes too old while
    few come is left to ``prune``, which looks at all streams at once.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._kept_at: tuple[int, int] | None = None
        """The revision, and the bytes, at which the log was looked at last."""

    @property
    def is_due(self) -> bool:
        """Whether enough has come since ``keep`` was called last."""
        if self._kept_at is None:
            return True
        revision, log_bytes = self._kept_at
        came, grown = self._stream.revision - revision, self._stream.log_bytes - log_bytes
        return came >= _step() or grown >= get_settings().feed_keep_bytes // STEP_SHARE

    def keep(self) -> None:
        """Deletes entries beyond the bounds, where that is due.

        Called when a commit was published; a later one makes good for one that fails.
        """
        if not self.is_due:
            return
        stream = self._stream
        self._kept_at = stream.revision, stream.log_bytes
        try:
            _prune_stream(stream, PACE * _step())
        except django.db.Error as error:
            logger.info("%s: the feed log could not be pruned: %s", stream, error)


def _step() -> int:
    return max(1, min(STEP_ENTRIES, get_settings().feed_keep_rows // 10))


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


def prune(using: str, most: int = CHUNK) -> int:
    """Deletes entries of all streams that are older than FEED_KEEP_SECONDS, oldest first, and
    ``most`` at once; returns how many.

    Of a stream that brings much, ``LogKeeper`` has deleted them before.
    """
    log = FeedEntry.objects.using(using)
    expired = log.filter(created_at__lt=_cutoff(using)).order_by("created_at", "pk")
    pks = list(expired.values_list("pk", flat=True)[:most])
    for start in range(0, len(pks), CHUNK):
        log.filter(pk__in=pks[start : start + CHUNK]).delete()
    return len(pks)


def prune_held(using: str, most: int = CHUNK) -> int:
    """Deletes what readers of the feed endpoint held, ``most`` at once, where nobody has asked for
    it for FEED_KEEP_SECONDS; returns how many.
    """
    held = HeldRows.objects.using(using)
    expired = held.filter(expires_at__lt=database_now(using)).order_by("expires_at")
    pks = list(expired.values_list("pk", flat=True)[:most])
    for start in range(0, len(pks), CHUNK):
        held.filter(pk__in=pks[start : start + CHUNK]).delete()
    return len(pks)


def _cutoff(using: str) -> datetime.datetime:
    return database_now(using) - datetime.timedelta(seconds=get_settings().feed_keep_seconds)
