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

__all__ = ["StreamFacts", "asking_facts", "locking_row", "read_facts"]

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

_columns_read = attrgetter(*(field.attname for field in OF_STREAM))


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


def locking_row(database: Database, stream: Stream) -> list[Statement]:
    """Locks the stream's row for the rest of the transaction, if the database locks rows."""
    if not database.connection.features.has_select_for_update:
        return []
    table = database.quoted(Stream._meta.db_table)
    return [(f"SELECT id FROM {table} WHERE id = %s FOR UPDATE", [stream.pk])]


def asking_facts(stream: Stream, direct: DirectChanges) -> Statement:
    """Asks for what ``read_facts`` takes, if the stream's revision is still as it was read."""
    types, entities, tables = direct.type_digests, direct.entity_digests, direct.tables
    sql = _facts_sql(stream.using, len(types), len(entities), len(tables))
    parameters = [*tables, *entities, PROTECTED, *types, stream.pk, stream.revision]
    return sql, parameters


def read_facts(database: Database, stream: Stream, answer: Answer) -> StreamFacts | None:
    """Reads the answer; None if the stream has another revision by now."""
    rows = READER.read(database, answer.rows)
    if not rows:
        return None
    first, end = len(OF_STREAM), len(OF_STREAM) + len(OF_TYPE)
    is_as_read = rows[0][:first] == _columns_read(stream)
    types = {}
    for each in rows:
        digest, fingerprint, sample = each[first:end]
        types[digest] = fingerprint, sample
    token, owned, *obstacles = rows[0][end:]
    return StreamFacts(is_as_read, types, token, owned, not any(obstacles))


@lru_cache(maxsize=256)
def _facts_sql(using: str, types: int, entities: int, tables: int) -> str:
    """The statement for these numbers of types, entities and tables."""
    quote = find_database(using).quoted

    def columns(name: str, fields: Sequence[models.Field[Any, Any]]) -> str:
        return ", ".join(f"{name}.{quote(field.column)}" for field in fields)

    def of_stream(model: type[models.Model]) -> str:
        return f"FROM {quote(model._meta.db_table)} WHERE stream_id = stream.id"

    shown = f"{of_stream(DeadLetter)} AND generation = 0"
    return (  # its parts are names of our own tables and columns
        f"SELECT {columns('stream', OF_STREAM)}, {columns('types', OF_TYPE)},"
        f" (SELECT token {of_stream(Lease)}),"
        f" (SELECT COUNT(*) {of_stream(TableOwner)} AND model IN ({_places(tables)})),"
        f" EXISTS (SELECT 1 {of_stream(ParkedChange)}),"
        f" EXISTS (SELECT 1 {shown} AND entity IN ({_places(entities)})),"
        f" EXISTS (SELECT 1 {shown} AND reason = %s)"
        f" FROM {quote(Stream._meta.db_table)} AS stream"
        f" LEFT JOIN {quote(TypeState._meta.db_table)} AS types"
        f" ON types.stream_id = stream.id AND types.digest IN ({_places(types)})"
        " WHERE stream.id = %s AND stream.revision = %s"
    )


def _places(count: int) -> str:
    """Placeholders for so many parameters; for none, a value that nothing equals."""
    return ", ".join(["%s"] * count) or "NULL"
