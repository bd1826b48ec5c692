"""SQLite: one prepared statement, run by the driver for row after row without coming back to Python."""

from __future__ import annotations

from collections.abc import Sequence

from ..plan import TypePlan
from .columns import update_columns
from .each import InsertsEach, update_each
from .row import RowWrite

__all__ = ["SQLiteWriter"]


class SQLiteWriter(InsertsEach):
    """Writes through ``executemany``."""

    def update(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Sets the mapped columns of rows that are there."""
        columns = update_columns(plan, writes, self._connection)
        if columns is None:
            return self._orm.update(plan, writes)
        update_each(self._connection, plan.mapping.model._meta.db_table, columns)
        return None
