"""MySQL and MariaDB: inserts of many rows, updates by a join with the new values.

Never an upsert (``ON DUPLICATE KEY UPDATE`` fires on any unique key) nor REPLACE (it deletes rows).
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import models

from .capabilities import mysql_capabilities, unused_name
from .columns import Columns, quoted
from .each import EachWriter

__all__ = ["MySQLWriter"]

ROWS = 500
"""Rows in one update."""
CHANGES = "durable_state_changes"
KEYS = 2000
"""Primary keys in one delete."""


class MySQLWriter(EachWriter):
    """Writes statements of many rows each."""

    def __init__(self, using: str) -> None:
        super().__init__(using)
        self._row_word = "" if self._connection.mysql_is_mariadb else "ROW"  # type: ignore[attr-defined]

    def _update(self, table: str, columns: Columns) -> None:
        if not mysql_capabilities(self._connection.alias, table).joins:
            return super()._update(table, columns)
        changes = unused_name(CHANGES, table)
        table, names = (
            quoted(self._connection, table),
            [quoted(self._connection, name) for name in columns],
        )
        *changed, key = names
        assignments = ", ".join(f"{table}.{name} = {changes}.{name}" for name in changed)
        row = f"{self._row_word}({', '.join(['%s'] * len(names))})"
        rows = list(zip(*columns.values(), strict=True))
        with self._connection.cursor() as cursor:
            for start in range(0, len(rows), ROWS):
                some = rows[start : start + ROWS]
                # By primary key, one after the other: the server would rather look at all rows
                # of a small table, and wait for those that other streams' transactions hold.
                # The empty half gives the union the table's own types and collations.
                cursor.execute(
                    f"UPDATE (SELECT {', '.join(names)} FROM {table} WHERE FALSE"
                    f" UNION ALL VALUES {', '.join([row] * len(some))}) AS {changes}"
                    f" STRAIGHT_JOIN {table} FORCE INDEX (PRIMARY)"
                    f" ON {table}.{key} = {changes}.{key} SET {assignments}",
                    [parameter for each in some for parameter in each],
                )
        return None

    def remove(self, model: type[models.Model], pks: Sequence[int]) -> None:
        """Deletes rows of a model of this app, and looks at no others, which may be locked."""
        assert model._meta.pk.column is not None
        table = quoted(self._connection, model._meta.db_table)
        key = quoted(self._connection, model._meta.pk.column)
        with self._connection.cursor() as cursor:
            for start in range(0, len(pks), KEYS):
                some = pks[start : start + KEYS]
                places = ", ".join([f"{self._row_word}(%s)"] * len(some))
                cursor.execute(
                    f"DELETE {table} FROM (SELECT {key} FROM {table} WHERE FALSE"
                    f" UNION ALL VALUES {places}) AS going"
                    f" STRAIGHT_JOIN {table} FORCE INDEX (PRIMARY) ON {table}.{key} = going.{key}",
                    some,
                )
