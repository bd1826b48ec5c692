"""PostgreSQL: COPY, straight into the table or through a temporary one."""

from __future__ import annotations

from .columns import Columns
from .copy import copy_rows
from .each import EachWriter

__all__ = ["PostgreSQLWriter"]

FEW = 50
"""Rows that are updated sooner one by one, sent together, than through a temporary table."""
CHANGES = "durable_state_changes"


class PostgreSQLWriter(EachWriter):
    """Writes through COPY of psycopg 3."""

    def _insert(self, table: str, columns: Columns) -> None:
        copy_rows(self._connection, table, columns)

    def _update(self, table: str, columns: Columns) -> None:
        *_, pks = columns.values()
        if len(pks) < FEW:
            return super()._update(table, columns)
        table, names = self._quoted(table), [self._quoted(name) for name in columns]
        *changed, key = names
        assignments = ", ".join(f"{name} = {CHANGES}.{name}" for name in changed)
        with self._connection.cursor() as cursor:
            # Made of the table, so that its columns have the very types, and gone with the savepoint or the transaction if not here.
            cursor.execute(
                f"CREATE TEMPORARY TABLE {CHANGES} ON COMMIT DROP AS SELECT {', '.join(names)} FROM {table} WITH NO DATA"
            )
            copy_rows(self._connection, CHANGES, columns)
            cursor.execute(
                f"UPDATE {table} SET {assignments} FROM {CHANGES} WHERE {table}.{key} = {CHANGES}.{key};"
                f" DROP TABLE {CHANGES}"
            )
        return None

    def _quoted(self, name: str | None) -> str:
        assert name is not None
        return self._connection.ops.quote_name(name)
