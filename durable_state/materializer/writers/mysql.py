"""MySQL and MariaDB: inserts of many rows, updates by a join with the new values.

Never an upsert (``ON DUPLICATE KEY UPDATE`` fires on any unique key) nor REPLACE (it deletes rows).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..plan import TypePlan
from .columns import quoted, update_columns
from .each import InsertsEach
from .row import RowWrite

__all__ = ["MySQLWriter"]

ROWS = 500
"""Rows in one update."""


class MySQLWriter(InsertsEach):
    """Writes statements of many rows each."""

    def __init__(self, using: str) -> None:
        super().__init__(using)
        self._row_word = "" if self._connection.mysql_is_mariadb else "ROW"  # type: ignore[attr-defined]

    def update(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Sets the mapped columns of rows that are there."""
        columns = update_columns(plan, writes, self._connection)
        if columns is None:
            return self._orm.update(plan, writes)
        table, names = self._table(plan), [quoted(self._connection, name) for name in columns]
        *changed, key = names
        assignments = ", ".join(f"{table}.{name} = changes.{name}" for name in changed)
        row = f"{self._row_word}({', '.join(['%s'] * len(names))})"
        rows = list(zip(*columns.values(), strict=True))
        with self._connection.cursor() as cursor:
            for start in range(0, len(rows), ROWS):
                some = rows[start : start + ROWS]
                # The empty half gives the union the table's own types and collations.
                cursor.execute(
                    f"UPDATE {table} JOIN (SELECT {', '.join(names)} FROM {table} WHERE FALSE"
                    f" UNION ALL VALUES {', '.join([row] * len(some))}) AS changes"
                    f" ON {table}.{key} = changes.{key} SET {assignments}",
                    [parameter for each in some for parameter in each],
                )
        return None

    def _table(self, plan: TypePlan) -> str:
        return quoted(self._connection, plan.mapping.model._meta.db_table)
