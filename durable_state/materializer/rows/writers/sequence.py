"""Numbers that a stream brings, in a column that the database counts up for the application."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections, models

from ...plan import TypePlan
from .row import RowWrite

__all__ = ["move_sequence"]

_MOVE = """
SELECT setval(counter.name, %(largest)s)
FROM (SELECT pg_get_serial_sequence(%(table)s, %(column)s)::regclass AS name) AS counter
WHERE CASE
    WHEN counter.name IS NULL THEN false
    WHEN NOT has_sequence_privilege(counter.name, 'UPDATE') THEN false
    WHEN NOT has_sequence_privilege(counter.name, 'SELECT, USAGE') THEN false
    ELSE coalesce(pg_sequence_last_value(counter.name), 0) < %(largest)s
END
"""
"""Not where the role may not: the rows are right all the same, and the application's inserts tell."""


def move_sequence(plan: TypePlan, writes: Sequence[RowWrite]) -> None:
    """Makes sure that the application's next ``create()`` gets a number that is free.

    PostgreSQL's sequences do not look at the rows; the other databases count on from the largest one.
    """
    key, connection = plan.mapping.key, connections[plan.using]
    if not isinstance(key, models.AutoField) or connection.vendor != "postgresql":
        return
    parameters = {
        "largest": max(write.key_value for write in writes),
        "table": connection.ops.quote_name(plan.mapping.model._meta.db_table),
        "column": key.column,
    }
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, parameters)
