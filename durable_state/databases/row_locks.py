"""Tells which transactions have locked rows of a table, if the server does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import DatabaseError, transaction

__all__ = ["RowLock", "postgresql_row_locks"]

OURS = "durable_state %"
"""How the names of workers' sessions begin. Those are in nobody's way while they commit."""

_FIND = """
SELECT held.id, activity.pid, activity.usename, activity.application_name,
    EXTRACT(EPOCH FROM clock_timestamp() - activity.xact_start),
    EXISTS (
        SELECT FROM pg_locks AS waiting WHERE waiting.locktype = 'transactionid'
        AND NOT waiting.granted AND waiting.transactionid = locks.transactionid
    )
FROM {table} AS held
JOIN pg_locks AS locks ON locks.locktype = 'transactionid' AND locks.granted
    AND locks.transactionid = held.xmax
JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
WHERE held.id = ANY(%s) AND activity.application_name NOT LIKE %s
"""
"""A row names the transaction that has locked it last, if only against the loss of its key: as who
inserts a row with a foreign key to it, which is in nobody's way.
"""


class RowLock(NamedTuple):
    """A row that a transaction has locked."""

    session: int
    """The number of its session on the server."""
    user: str
    program: str
    """The session's name; may be empty."""
    seconds: float | None
    """Since the transaction began; None if the role may not see it."""
    ending: str
    """The statement that ends the session."""
    is_awaited: bool
    """Whether anything waits for the transaction."""


def postgresql_row_locks(connection: Any, table: str, pks: Sequence[int]) -> dict[int, RowLock]:
    """Who has locked these rows of the table, by primary key. Never waits for a lock."""
    sql = _FIND.format(table=connection.ops.quote_name(table))
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(sql, [list(pks), OURS])
            found = cursor.fetchall()
    except DatabaseError:
        return {}  # a server that speaks as PostgreSQL does, and has none of this
    return {
        pk: RowLock(
            session,
            user or "?",
            program or "",
            None if seconds is None else float(seconds),
            f"SELECT pg_terminate_backend({session})",
            is_awaited,
        )
        for pk, session, user, program, seconds, is_awaited in found
    }
