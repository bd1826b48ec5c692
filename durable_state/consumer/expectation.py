"""What a commit leaves of its stream, which the next one may expect to find.

A commit of new rows need not look first, then: it writes at once, behind a statement that fails
unless all is as expected. Changes are parked, letters written and types learned only in
transactions that raise the stream's revision; any other change of the stream's row gives it another
version; for leases and tables' owners, the statement asks.

Why: decision 77.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from durable_state.databases import Statement
from durable_state.materializer import DirectChanges, TypeFacts
from durable_state.models import Lease, Stream, TableOwner

from .stream_facts import columns_read

__all__ = ["Left", "find_left", "insisting", "may_insist"]


class Left(NamedTuple):
    """The state of a stream after a commit of ordinary changes."""

    columns: tuple[Any, ...]
    """Those of the stream's own that say whether it is still the same, its revision among them."""

    version: str | None
    """The version of its row, if the database tells one."""

    is_clear: bool
    """Whether nothing is parked, and there is no dead letter at all."""

    types: TypeFacts
    """Those of the types that were met."""

    met_rows: bool
    """Whether the last inserts were about rows that were there."""


def find_left(stream: Stream) -> Left | None:
    """What the last commit left, as far as this object knows; None if it has changed since."""
    left: Left | None = stream.left
    return left if left is not None and left.columns == columns_read(stream) else None


def may_insist(left: Left | None, direct: DirectChanges) -> bool:
    """Whether the changes most likely find what was left, and rows of theirs nowhere."""
    return (
        left is not None
        and left.version is not None
        and left.is_clear
        and not left.met_rows
        and direct.are_new
        and left.types.keys() >= set(direct.type_digests)
    )


def insisting(
    stream: Stream,
    left: Left,
    direct: DirectChanges,
    reading: Sequence[Statement],
    token: int | None,
) -> Statement:
    """Fails with a DataError unless the stream is as it was left, the lease has that token, the
    tables belong to the stream, and ``reading`` finds no row.
    """
    quoted, version = direct.database.quoted, direct.database.row_version
    conditions: list[Statement] = []

    def require(model: Any, where: str, *values: Any) -> None:
        table = quoted(model._meta.db_table)
        sql = f"SELECT 1 FROM {table} WHERE {where}"
        conditions.append((f"EXISTS ({sql})", values))

    require(Stream, f"id = %s AND {version} = %s", stream.pk, left.version)
    if token is not None:
        require(Lease, "stream_id = %s AND token = %s", stream.pk, token)
    for table in direct.tables:
        require(TableOwner, "stream_id = %s AND model = %s", stream.pk, table)
    conditions += [(f"NOT EXISTS ({sql})", values) for sql, values in reading]
    return direct.database.insisting(conditions)
