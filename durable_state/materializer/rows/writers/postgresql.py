"""PostgreSQL: COPY, straight into the table or through a temporary one."""

from __future__ import annotations

from django.db import NotSupportedError, ProgrammingError

from .capabilities import forget, postgresql_capabilities, unused_name
from .columns import Columns
from .copy import copy_rows
from .each import EachWriter

__all__ = ["PostgreSQLWriter"]

FEW = 50
"""Rows that are updated sooner one by one, sent together, than through a temporary table."""
CHANGES = "durable_state_changes"


class PostgreSQLWriter(EachWriter):
    """Writes through COPY of psycopg 3; where the table does not let us, one by one."""

    def _insert(self, table: str, columns: Columns) -> None:
        if not postgresql_capabilities(self._connection.alias, table).copies:
            return super()._insert(table, columns)
        try:
            return copy_rows(self._connection, table, columns)
        except (NotSupportedError, ProgrammingError):
            forget()  # the next attempt asks anew
            raise

    def _update(self, table: str, columns: Columns) -> None:
        *_, pks = columns.values()
        if len(pks) < FEW or not postgresql_capabilities(self._connection.alias, table).joins:
            return super()._update(table, columns)
        try:
            return self._update_by_join(table, columns)
        except (NotSupportedError, ProgrammingError):
            forget()
            raise

    def _update_by_join(self, table: str, columns: Columns) -> None:
        changes = unused_name(CHANGES, table)
        table, names = self._quoted(table), [self._quoted(name) for name in columns]
        *changed, key = names
        assignments = ", ".join(f"{name} = {changes}.{name}" for name in changed)
        with self._connection.cursor() as cursor:
            # Made of the table, so that its columns have the very types, and gone with the savepoint or the transaction if not here.
            cursor.execute(
                f"CREATE TEMPORARY TABLE {changes} ON COMMIT DROP AS SELECT {', '.join(names)} FROM {table} WITH NO DATA"
            )
            copy_rows(self._connection, changes, columns)
            cursor.execute(
                f"UPDATE {table} SET {assignments} FROM {changes} WHERE {table}.{key} = {changes}.{key};"
                f" DROP TABLE {changes}"
            )

    def _quoted(self, name: str | None) -> str:
        assert name is not None
        return self._connection.ops.quote_name(name)
