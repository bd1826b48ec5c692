"""Constraints that PostgreSQL checks at COMMIT only, checked while it can still be told which row
breaks them.
"""

from __future__ import annotations

from functools import lru_cache

from django.db import connections

from ..plan import TypePlan

__all__ = ["check_deferred"]


def check_deferred(plan: TypePlan) -> None:
    """Has the constraints of the type's table that wait for COMMIT checked now. Call it in the
    savepoint of the rows.

    Not those by which rows point to parents: the parents were looked up, and one that is set aside
    for a moment is not missing.
    Raises: IntegrityError, or what a constraint trigger raises.
    """
    connection = connections[plan.using]
    if connection.vendor != "postgresql":
        return  # the others have no constraint that waits, but SQLite's foreign keys
    parents = tuple(planned.field.column for planned in plan.relations if planned.field.column)
    if names := _deferred(plan.using, plan.mapping.model._meta.db_table, parents):
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET CONSTRAINTS {names} IMMEDIATE; SET CONSTRAINTS {names} DEFERRED", None
            )


@lru_cache(maxsize=1024)
def _deferred(using: str, table: str, parents: tuple[str, ...]) -> str:
    """The names of the constraints, as they stand in a statement; empty where there is none."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT spaces.nspname, held.conname FROM pg_constraint AS held"
            " JOIN pg_namespace AS spaces ON spaces.oid = held.connamespace"
            " WHERE held.conrelid = to_regclass(%s) AND held.condeferred AND NOT ("
            "held.contype = 'f' AND EXISTS (SELECT FROM pg_attribute AS attribute"
            " WHERE attribute.attrelid = held.conrelid AND held.conkey = ARRAY[attribute.attnum]"
            " AND attribute.attname = ANY(%s)))"
            " ORDER BY held.conname",
            [connection.ops.quote_name(table), list(parents)],
        )
        quote = connection.ops.quote_name
        return ", ".join(f"{quote(space)}.{quote(name)}" for space, name in cursor.fetchall())
