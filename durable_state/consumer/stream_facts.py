"""Everything that a commit of ordinary changes must know of its stream, asked by one statement."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from django.db import models

from durable_state.databases import Answer, Database, Statement, find_database
from durable_state.databases.plain_sql import RowReader
from durable_state.materializer import PROTECTED, DirectChanges, TypeFacts
from durable_state.models import (
    DISPOSITIONS,
    DeadLetter,
    Lease,
    ParkedChange,
    Stream,
    TableOwner,
    TypeState,
)

__all__ = ["StreamFacts", "asking_facts", "columns_read", "locking_row", "read_facts"]

COMMITTED = {
    *("offset", "skip", "ordinal", "checkpoint", "rate", "moved_at", "up_to_date_at"),
    *("log_bytes", "logged_at", *DISPOSITIONS.values()),
}
"""Columns that only commits write, so that they are unchanged at the same revision."""
OF_STREAM = [field for field in Stream._meta.concrete_fields if field.name not in COMMITTED]
"""All other columns."""
OF_TYPE = [
    field
    for field in TypeState._meta.concrete_fields
    if field.name in ("digest", "fingerprint", "sample")
]
"""In their order."""
READER = RowReader([*OF_STREAM, *OF_TYPE])

columns_read = attrgetter(*(field.attname for field in OF_STREAM))


class StreamFacts(NamedTuple):
    """The state of a stream."""

    is_as_read: bool
    """Whether nobody has changed its row since it was read."""

    types: TypeFacts
    """Those of the types that were met before."""

    token: int | None
    """The lease's fencing token."""

    owned: int
    """How many of the tables without a stream field belong to the stream."""

    is_clear: bool
    """Whether nothing is parked, no letter is about these entities, and none is to be retried."""

    has_nothing: bool
    """Whether nothing is parked, and there is no letter at all."""


def locking_row(database: Database, stream: Stream) -> list[Statement]:
    """Locks the stream's row for the rest of the transaction, if the database locks rows."""
    if not database.connection.features.has_select_for_update:
        return []
    table = database.quoted(Stream._meta.db_table)
    return [(f"SELECT id FROM {table} WHERE id = %s FOR UPDATE", [stream.pk])]


def asking_facts(stream: Stream, direct: DirectChanges, *, is_clear: bool) -> Statement:
    """Asks for what ``read_facts`` takes, if the stream's revision is still as it was read.

    If it ``is_clear`` at that revision that nothing is parked or in a letter, that is not asked:
    planning these questions takes the server longer than all others.
    """
    types, tables = direct.type_digests, direct.tables
    entities = None if is_clear else direct.entity_digests
    count = None if entities is None else len(entities)
    sql = _facts_sql(stream.using, len(types), count, len(tables))
    obstacles = [] if entities is None else [*entities, PROTECTED]
    return sql, [*tables, *obstacles, *types, stream.pk, stream.revision]


def read_facts(database: Database, stream: Stream, answer: Answer) -> StreamFacts | None:
    """Reads the answer; None if the stream has another revision by now."""
    rows = READER.read(database, answer.rows)
    if not rows:
        return None
    first, end = len(OF_STREAM), len(OF_STREAM) + len(OF_TYPE)
    is_as_read = rows[0][:first] == columns_read(stream)
    types = {}
    for each in rows:
        digest, fingerprint, sample = each[first:end]
        types[digest] = fingerprint, sample
    token, owned, parked, of_these, protected, letters = rows[0][end:]
    is_clear = not (parked or of_these or protected)
    return StreamFacts(is_as_read, types, token, owned, is_clear, not (parked or letters))


@lru_cache(maxsize=256)
def _facts_sql(using: str, types: int, entities: int | None, tables: int) -> str:
    """The statement for these numbers of types, entities (None: nothing is in the way of any) and
    tables.
    """
    quote = find_database(using).quoted

    def columns(name: str, fields: Sequence[models.Field[Any, Any]]) -> str:
        return ", ".join(f"{name}.{quote(field.column)}" for field in fields)

    def of_stream(model: type[models.Model]) -> str:
        return f"FROM {quote(model._meta.db_table)} WHERE stream_id = stream.id"

    def exists(rows: str) -> str:
        return f"EXISTS (SELECT 1 {rows})"

    owned = f"(SELECT COUNT(*) {of_stream(TableOwner)} AND model IN ({_places(tables)}))"
    obstacles = ["FALSE"] * 4
    if entities is not None:
        letters = f"{of_stream(DeadLetter)} AND generation = 0"
        of_these = f"{letters} AND entity IN ({_places(entities)})"
        protected = f"{letters} AND reason = %s"
        obstacles = [
            exists(rows) for rows in (of_stream(ParkedChange), of_these, protected, letters)
        ]
    return (  # its parts are names of our own tables and columns
        f"SELECT {columns('stream', OF_STREAM)}, {columns('types', OF_TYPE)},"
        f" (SELECT token {of_stream(Lease)}), {owned if tables else 0}, {', '.join(obstacles)}"
        f" FROM {quote(Stream._meta.db_table)} AS stream"
        f" LEFT JOIN {quote(TypeState._meta.db_table)} AS types"
        f" ON types.stream_id = stream.id AND types.digest IN ({_places(types)})"
        " WHERE stream.id = %s AND stream.revision = %s"
    )


def _places(count: int) -> str:
    """Placeholders for so many parameters; for none, a value that nothing equals."""
    return ", ".join(["%s"] * count) or "NULL"
