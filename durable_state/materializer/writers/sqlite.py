"""SQLite: one prepared statement, run by the driver for row after row without coming back to Python."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections, models

from ..plan import TypePlan
from .columns import Columns, insert_columns, update_columns
from .each import insert_each, update_each
from .orm import OrmWriter
from .row import RowWrite

__all__ = ["SQLiteWriter"]


class SQLiteWriter:
    """Writes through ``executemany``."""

    def __init__(self, using: str) -> None:
        self._connection = connections[using]
        self._orm = OrmWriter(using)

    def insert(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Inserts rows that are not there."""
        columns = insert_columns(plan, writes, self._connection)
        if columns is None:
            return self._orm.insert(plan, writes)
        insert_each(self._connection, plan.mapping.model._meta.db_table, columns)
        return None

    def update(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Sets the mapped columns of rows that are there."""
        columns = update_columns(plan, writes, self._connection)
        if columns is None:
            return self._orm.update(plan, writes)
        update_each(self._connection, plan.mapping.model._meta.db_table, columns)
        return None

    def store(self, model: type[models.Model], columns: Columns) -> None:
        """Inserts rows of a model of this app."""
        insert_each(self._connection, model._meta.db_table, columns)
