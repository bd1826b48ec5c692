"""The end of one stream's log: what the database says of it, and the entries kept in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from durable_state.models import FeedEntry, Status, Stream

from . import log
from .frames import stream_identity

__all__ = ["KEPT_BYTES", "Head", "KeptEntries", "LogEnd", "read_heads", "read_log_end"]

KEPT_ENTRIES = 256
KEPT_BYTES = 4 * 1024 * 1024
"""How much of the log's end a stream keeps in memory, and how much of frames that are shared."""
PULLED_ENTRIES = 64
"""Entries that are taken at once."""
HEADS = 500
"""Streams that one query asks for."""


class Head(NamedTuple):
    """What a stream's row says of its log."""

    identity: str
    revision: int
    stamp: int
    """Tells the revision's commit from another one of its number; 0: not known."""
    status: str

    @classmethod
    def of(cls, stream: Stream) -> Head:
        """The head of a stream's log, as its row has it."""
        stamp = log.stamp_of(stream.logged_at)
        return cls(stream_identity(stream), stream.revision, stamp, stream.status)

    @property
    def is_closed(self) -> bool:
        """Whether the stream's end was reached."""
        return self.status == Status.CLOSED


class LogEnd(NamedTuple):
    """What the database says of a log's end; without a revision: the stream is gone."""

    revision: int | None
    up_to_date: bool = False
    closed: bool = False
    stamp: int = 0
    went_back: bool = False
    """Whether the newest commit that was known is not there, or another one has its number."""
    entries: Sequence[log.LoggedEntry] = ()


class KeptEntries:
    """The newest entries of one log, without a hole, within KEPT_ENTRIES and KEPT_BYTES."""

    def __init__(self) -> None:
        self._entries: OrderedDict[int, log.LoggedEntry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: log.LoggedEntry) -> None:
        """Keeps the next entry, and drops the oldest ones beyond the bounds."""
        self._entries[entry.revision] = entry
        self._bytes += entry.size
        while len(self._entries) > KEPT_ENTRIES or (self._bytes > KEPT_BYTES and self._entries):
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= dropped.size

    def find(self, revision: int) -> log.LoggedEntry | None:
        """The entry of that revision, if it is kept."""
        return self._entries.get(revision)

    def following(self, after: int) -> list[log.LoggedEntry]:
        """Some of the entries that follow revision ``after``; none where the next is not kept."""
        found: list[log.LoggedEntry] = []
        while len(found) < PULLED_ENTRIES:
            entry = self._entries.get(after + 1 + len(found))
            if entry is None:
                break
            found.append(entry)
        return found

    def clear(self) -> None:
        """Drops all."""
        self._entries.clear()
        self._bytes = 0


def read_heads(using: str, pks: Collection[int]) -> dict[int, Head]:
    """The heads of the logs of these streams, by primary key; without those that are gone."""
    whole, found = list(pks), dict[int, Head]()
    rows = Stream.objects.using(using).only("revision", "status", "created_at", "logged_at")
    for start in range(0, len(whole), HEADS):
        for stream in rows.filter(pk__in=whole[start : start + HEADS]):
            found[int(stream.pk)] = Head.of(stream)
    return found


def read_log_end(using: str, stream_pk: int, identity: str, after: int, stamp: int) -> LogEnd:
    """The end of the log, with the entries from ``after``, a commit of that stamp, to it.

    Without entries, where they are not few, or not all known.
    """
    head = read_heads(using, [stream_pk]).get(stream_pk)
    if head is None or head.identity != identity:
        return LogEnd(None)

    revision, known = head.revision, head.stamp
    if revision > after >= 0:
        known = log.stamp_at(stream_pk, after, using)
    went_back = revision < after or bool(stamp and known and known != stamp)
    if not went_back and 0 <= after <= revision <= after + PULLED_ENTRIES:
        entries = log.entries(stream_pk, after, using) if revision > after else []
        entries = [entry for entry in entries if entry.revision <= revision]
        if len(entries) == revision - after:
            return LogEnd(revision, closed=head.is_closed, entries=entries)

    newest = FeedEntry.objects.using(using).filter(stream_id=stream_pk, revision=revision)
    up_to_date = newest.values_list("up_to_date", flat=True).first()
    if up_to_date is None:  # it was pruned
        up_to_date = head.status in (Status.LIVE, Status.CLOSED)
    return LogEnd(revision, up_to_date, head.is_closed, head.stamp, went_back)
