"""Rows that become columns, and one statement with parameters for row after row: what SQLite's and MySQL's drivers are fastest at, and
PostgreSQL's with few rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections, models

from ...plan import TypePlan
from .columns import Columns, insert_columns, quoted, update_columns
from .orm import OrmWriter
from .row import RowWrite

__all__ = ["EachWriter"]


class EachWriter:
    """Writes columns into tables; what cannot be made columns of is the ORM's. For SQLite as it is; others have better ways for some."""

    def __init__(self, using: str) -> None:
        self._connection = connections[using]
        self._orm = OrmWriter(using)

    def insert(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Inserts rows that are not there."""
        columns = insert_columns(plan, writes, self._connection)
        if columns is None:
            return self._orm.insert(plan, writes)
        return self._insert(plan.mapping.model._meta.db_table, columns)

    def update(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Sets the mapped columns of rows that are there."""
        columns = update_columns(plan, writes, self._connection)
        if columns is None:
            return self._orm.update(plan, writes)
        return self._update(plan.mapping.model._meta.db_table, columns)

    def store(self, model: type[models.Model], columns: Columns) -> None:
        """Inserts rows of a model of this app."""
        self._insert(model._meta.db_table, columns)

    def replace(self, model: type[models.Model], columns: Columns) -> None:
        """Sets columns of rows of a model of this app, found by the last column."""
        self._update(model._meta.db_table, columns)

    def remove(self, model: type[models.Model], pks: Sequence[int]) -> None:
        """Deletes rows of a model of this app."""
        self._orm.remove(model, pks)

    def _insert(self, table: str, columns: Columns) -> None:
        """Inserts rows. MySQL's driver makes statements of many rows of it, below 64 KB each."""
        names = ", ".join(quoted(self._connection, name) for name in columns)
        places = ", ".join(["%s"] * len(columns))
        with self._connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {quoted(self._connection, table)} ({names}) VALUES ({places})",
                list(zip(*columns.values(), strict=True)),
            )

    def _update(self, table: str, columns: Columns) -> None:
        """Sets columns of the rows that the last column names."""
        *assignments, condition = (f"{quoted(self._connection, name)} = %s" for name in columns)
        with self._connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {quoted(self._connection, table)} SET {', '.join(assignments)} WHERE {condition}",
                list(zip(*columns.values(), strict=True)),
            )
