"""The log in the database: one entry per commit, numbered by the revision without holes.

Why: decision 8.
"""

from __future__ import annotations

import datetime
import logging
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from django.db import transaction

from durable_state.conf import get_settings
from durable_state.databases.clock import database_now
from durable_state.models import FeedEntry, Stream
from durable_state.registry import registry
from durable_state.registry.written import represent_written

from .frames import encode_value, stream_identity
from .rows import rows_by_key

__all__ = [
    "ComposedEntry",
    "FeedTxid",
    "LoggedChange",
    "LoggedEntry",
    "compose",
    "decode_txids",
    "encode_txids",
    "entries",
    "stamp_at",
    "stamp_of",
    "unpack_bell",
    "write",
]

logger = logging.getLogger("durable_state.feed")

VALUE_BYTES = 256 * 1024
"""Bytes of values beyond which an entry keeps keys only."""
ENTRY_BYTES = 2 * 1024 * 1024
"""Bytes of keys beyond which an entry tells subscribers to take a snapshot."""
TXID_BYTES = 2 * 1024 * 1024
"""Bytes of transaction ids beyond which an entry keeps only the newest."""
LARGE_BYTES = 64 * 1024
"""Bytes of transaction ids beyond which they are compressed."""
UNLISTED = b"null"
"""Stands for the changes of an entry whose deletions alone are too many to list."""
BELL_BYTES = 8 * 1024
"""Bytes up to which an entry travels with the bell."""


EntityName = tuple[str, str]
"""An entity's type and key."""


class FeedTxid(NamedTuple):
    """A transaction and one entity it concerns, whatever became of the change."""

    txid: str
    type: str
    key: str


class LoggedChange(msgspec.Struct, array_like=True, gc=False):
    """One entity that a commit changed: "update" if it is now shown, "delete" if it is gone.

    The value of an ``update`` without ``value`` is read from its row when it is served.
    """

    type: str
    key: str
    operation: Literal["update", "delete"]
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class LoggedEntry(msgspec.Struct):
    """One commit as subscribers are served from it."""

    revision: int
    changes: list[LoggedChange]
    """The changed entities, in the order of their last change."""
    txids: list[FeedTxid]
    """The transactions, with the entities they concern."""
    snapshot: bool
    """Whether so much changed that all rows are sent instead. ``changes`` then lists the deleted
    entities only, or nothing if ``is_listed`` is false."""
    up_to_date: bool
    """Whether it reached the stream's tail."""
    size: int = 0
    """In bytes, as stored in the log."""
    stamp: int = 0
    """When it was written: see ``stamp_of``."""
    is_listed: bool = True
    """Whether ``changes`` is complete, as far as ``snapshot`` allows."""


class ComposedEntry(NamedTuple):
    """The entry of one commit, before it is written: its columns other than the stream."""

    columns: dict[str, Any]
    """By field name."""

    stream_columns: dict[str, Any]
    """What the stream's row then says of its log, by field name."""

    payload: bytes
    """For ``ring``: at most 8 KB, empty if the entry is larger."""


class _Bell(msgspec.Struct):
    identity: str
    entry: LoggedEntry


_changes = msgspec.json.Decoder(list[LoggedChange])
_txids = msgspec.json.Decoder(list[FeedTxid])
_bell = msgspec.json.Decoder(_Bell)


def compose(
    stream: Stream,
    revision: int,
    changes: Sequence[LoggedChange] | None,
    *,
    txids: Sequence[tuple[str, str, str]],
    up_to_date: bool,
    now: datetime.datetime | None = None,
    gone: Sequence[LoggedChange] | None = None,
    written: Mapping[EntityName, Sequence[Any]] | None = None,
) -> ComposedEntry:
    """The entry of one commit, for which rows are read after they were written.

    ``changes`` holds each entity at most once, in any order; None tells subscribers to take a
    snapshot, and ``gone`` has those that were deleted, or None where even they are too many.
    ``up_to_date`` says that the commit reached the stream's tail; it is made ``now``, by the
    database's clock. Of the entities in ``written`` (the values of the mapped columns, in their
    order) no row is read: where these are all that were changed, the database is not asked, and the
    rows need not be written yet.
    """
    settings = get_settings()
    snapshot = changes is None or len(changes) > settings.feed_entry_rows
    logged = list(changes or ())
    if not snapshot and 0 < len(logged) <= settings.feed_value_rows:
        logged = _with_values(stream, logged, written or {})
    body = _encode(logged) if not snapshot else b""
    if snapshot or len(body) > ENTRY_BYTES:
        snapshot = True
        body = _encode_gone(gone if changes is None else logged)
    told = encode_txids(txids)
    log_bytes = stream.log_bytes + len(body) + len(told)

    columns = {
        "revision": revision,
        "changes": body,
        "txids": told,
        "snapshot": snapshot,
        "up_to_date": up_to_date,
    }
    now = now or database_now(stream.using)
    payload = _pack_bell(stream, columns | {"stamp": stamp_of(now)})
    return ComposedEntry(
        columns | {"log_bytes": log_bytes, "created_at": now},
        {"log_bytes": log_bytes, "logged_at": now},
        payload,
    )


def stamp_of(written_at: datetime.datetime | None) -> int:
    """Distinguishes entries of the same revision, by their time in microseconds.

    After a database was restored, its revisions go to other commits than before.
    """
    if written_at is None:
        return 0
    # Where a project keeps local times, they do not say which of an hour that comes twice.
    return round(written_at.replace(fold=0).timestamp() * 1_000_000)


def stamp_at(stream_pk: int, revision: int, using: str) -> int:
    """The stamp of that revision's entry; 0 if it was pruned, or never existed."""
    entries = FeedEntry.objects.using(using).filter(stream_id=stream_pk, revision=revision)
    return stamp_of(entries.values_list("created_at", flat=True).first())


def write(stream: Stream, entry: ComposedEntry) -> None:
    """Inserts the entry of one commit, in its transaction."""
    FeedEntry.objects.using(stream.using).create(stream=stream, **entry.columns)


def _pack_bell(stream: Stream, columns: dict[str, Any]) -> bytes:
    """The reverse of ``unpack_bell``; empty if the result would be too large."""
    is_compressed = not columns["txids"].startswith(b"[")  # and larger than any bell
    if is_compressed or len(columns["changes"]) > BELL_BYTES or columns["changes"] == UNLISTED:
        return b""
    raw = {name: msgspec.Raw(columns[name]) for name in ("changes", "txids")}
    payload = msgspec.json.encode({"identity": stream_identity(stream), "entry": columns | raw})
    return payload if len(payload) <= BELL_BYTES else b""


def encode_txids(txids: Sequence[tuple[str, str, str]]) -> bytes:
    """The transactions as they are stored: the newest, up to TXID_BYTES."""
    kept = list(txids)
    while len(body := msgspec.json.encode(kept)) > TXID_BYTES:
        kept = kept[len(kept) // 4 + 1 :]
    # PostgreSQL would take several times as long to compress them.
    return zlib.compress(body, 1) if len(body) > LARGE_BYTES else body


def decode_txids(body: bytes) -> list[FeedTxid]:
    """The reverse of ``encode_txids``."""
    return _txids.decode(_decompressed(body))


def _decompressed(body: bytes) -> bytes:
    return body if body.startswith(b"[") else zlib.decompress(body)


def unpack_bell(payload: str, identity: str) -> LoggedEntry | None:
    """The entry that came with the bell; None if there is none, or it is another stream's."""
    try:
        bell = _bell.decode(payload)
    except msgspec.DecodeError:
        return None
    return bell.entry if bell.identity == identity else None


def entries(
    stream_pk: int, after: int, using: str, *, limit: int = 64, size: int = 4 * 1024 * 1024
) -> list[LoggedEntry]:
    """The entries after revision ``after``, up to the first hole.

    At most ``limit`` entries, or about ``size`` bytes. Empty if there is none, or if the next one
    was pruned.
    """
    found: list[LoggedEntry] = []
    rows = (
        FeedEntry.objects.using(using)
        .filter(stream_id=stream_pk, revision__gt=after)
        .order_by("revision")[:limit]
    )
    for row in rows.iterator(chunk_size=8):
        if row.revision != after + 1:
            break
        found.append(_logged(row))
        after, size = row.revision, size - found[-1].size
        if size <= 0:
            break
    return found


def _encode(changes: list[LoggedChange]) -> bytes:
    return msgspec.json.encode(
        [
            (each.type, each.key, each.operation)
            if each.value is msgspec.UNSET
            else (each.type, each.key, each.operation, each.value)
            for each in changes
        ]
    )


def _encode_gone(changes: Sequence[LoggedChange] | None) -> bytes:
    """The deletions among the changes; UNLISTED if they are too many, or unknown."""
    if changes is None:
        return UNLISTED
    body = _encode([each for each in changes if each.operation == "delete"])
    return body if len(body) <= ENTRY_BYTES else UNLISTED


def _logged(row: FeedEntry) -> LoggedEntry:
    changes, txids = bytes(row.changes), _decompressed(bytes(row.txids))
    return LoggedEntry(
        row.revision,
        _changes.decode(changes) if changes != UNLISTED else [],
        _txids.decode(txids),
        row.snapshot,
        row.up_to_date,
        len(changes) + len(txids),
        stamp_of(row.created_at),
        changes != UNLISTED,
    )


def _with_values(
    stream: Stream, logged: list[LoggedChange], written: Mapping[EntityName, Sequence[Any]]
) -> list[LoggedChange]:
    """The same changes with the committed rows' values.

    Without any, where those are too large, or where ``represent`` fails; without those that could
    not be read back from the log.
    """
    updated = [(each.type, each.key) for each in logged if each.operation == "update"]
    try:
        shown = _represent_written(stream, written)
        unknown = [entity for entity in updated if entity not in shown]
        if unknown:
            # A savepoint: whatever `represent` asks the database must not spoil the commit.
            with transaction.atomic(using=stream.using):
                shown |= _represent_rows(stream, unknown)
    except Exception:
        logger.exception(
            "%s: the values of a commit could not be represented;"
            " its feed entry keeps only their keys.",
            stream.name,
        )
        return logged

    if sum(map(len, shown.values())) > VALUE_BYTES:
        return logged
    valued = []
    for each in logged:
        value = shown.get((each.type, each.key)) if each.operation == "update" else None
        if value is None:  # also of a row that cannot be found
            valued.append(LoggedChange(each.type, each.key, "delete"))
        elif not _can_be_read_back(value):
            valued.append(LoggedChange(each.type, each.key, "update"))
        else:
            valued.append(LoggedChange(each.type, each.key, "update", msgspec.Raw(value)))
    return valued


def _can_be_read_back(value: bytes) -> bool:
    """Whether the log's decoder takes it: JSON can spell a lone surrogate, which msgspec refuses
    even where it keeps the bytes as they are.
    """
    if b"\\ud" not in value:
        return True
    try:
        msgspec.json.decode(value)
    except msgspec.DecodeError:
        return False
    return True


def _represent_written(
    stream: Stream, written: Mapping[EntityName, Sequence[Any]]
) -> dict[EntityName, bytes]:
    """The encoded values of entities whose rows were just written."""
    found: dict[EntityName, bytes] = {}
    for (entity_type, key), values in written.items():
        mapping = registry.find(entity_type, stream.name)
        if mapping is not None:
            found[entity_type, key] = encode_value(represent_written(mapping, values))
    return found


def _represent_rows(stream: Stream, entities: Sequence[EntityName]) -> dict[EntityName, bytes]:
    """The encoded values of entities, read from their rows; those without a row are left out."""
    keys_by_type: dict[str, list[str]] = {}
    for entity_type, key in entities:
        keys_by_type.setdefault(entity_type, []).append(key)

    found: dict[EntityName, bytes] = {}
    for entity_type, keys in keys_by_type.items():
        mapping = registry.find(entity_type, stream.name)
        if mapping is not None:
            for key, row in rows_by_key(mapping, mapping.rows(stream), keys).items():
                found[entity_type, key] = encode_value(mapping.represent(row))
    return found
