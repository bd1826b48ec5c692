"""Keeps the log within its bounds of age, entries and bytes, as it is written.

Invariant: a stream's oldest entries are deleted first, so the rest have no hole. An index finds the
oldest, so only a few of the entries that stay are looked at.

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
"""Entries after which the oldest are looked at again, at most."""
STEP_SHARE = 16
"""The same in bytes: one part in so many of FEED_KEEP_BYTES."""
PACE = 4
"""Entries looked at for each new one; more than one, so that a backlog shrinks."""
CHUNK = 1000
"""Entries deleted in one statement."""


class LogKeeper:
    """Keeps one stream's log within its bounds as it grows.

    Entries go as fast as they come, however many commits there are. While few come, entries that
    become too old are left to ``prune``, which looks at all streams at once.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._kept_at: tuple[int, int] | None = None
        """The revision and bytes of the log when it was last looked at."""

    @property
    def is_due(self) -> bool:
        """Whether the log has grown enough since the last ``keep``."""
        if self._kept_at is None:
            return True
        revision, log_bytes = self._kept_at
        came, grown = self._stream.revision - revision, self._stream.log_bytes - log_bytes
        return came >= _step() or grown >= get_settings().feed_keep_bytes // STEP_SHARE

    def keep(self) -> None:
        """Deletes entries beyond the bounds, if that is due.

        Called after a commit was published. If it fails, a later call catches up.
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
    """Deletes the stream's oldest entries that are beyond a bound, at most ``most``."""
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
    """Deletes entries older than FEED_KEEP_SECONDS, of all streams, oldest first and at most
    ``most``; returns how many.

    ``LogKeeper`` has already deleted those of busy streams.
    """
    log = FeedEntry.objects.using(using)
    expired = log.filter(created_at__lt=_cutoff(using)).order_by("created_at", "pk")
    pks = list(expired.values_list("pk", flat=True)[:most])
    for start in range(0, len(pks), CHUNK):
        log.filter(pk__in=pks[start : start + CHUNK]).delete()
    return len(pks)


def prune_held(using: str, most: int = CHUNK) -> int:
    """Deletes what is kept for readers of the feed endpoint who have not come back for
    FEED_KEEP_SECONDS, at most ``most``; returns how many.
    """
    held = HeldRows.objects.using(using)
    expired = held.filter(expires_at__lt=database_now(using)).order_by("expires_at")
    pks = list(expired.values_list("pk", flat=True)[:most])
    for start in range(0, len(pks), CHUNK):
        held.filter(pk__in=pks[start : start + CHUNK]).delete()
    return len(pks)


def _cutoff(using: str) -> datetime.datetime:
    return database_now(using) - datetime.timedelta(seconds=get_settings().feed_keep_seconds)
