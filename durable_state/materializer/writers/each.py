"""One statement with parameters for row after row: what SQLite's and MySQL's drivers are fastest at, and PostgreSQL's with few rows."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from ..plan import TypePlan
from .columns import Columns, insert_columns, quoted
from .orm import OrmWriter
from .row import RowWrite

__all__ = ["InsertsEach", "insert_each", "update_each"]


class InsertsEach:
    """What the writers of SQLite and MySQL have in common: rows are inserted through ``executemany``."""

    def __init__(self, using: str) -> None:
        self._connection = connections[using]
        self._orm = OrmWriter(using)

    def insert(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Inserts rows that are not there."""
        columns = insert_columns(plan, writes, self._connection)
        if columns is None:
            return self._orm.insert(plan, writes)
        # MySQL's driver makes statements of many rows of it, below 64 KB each.
        return insert_each(self._connection, plan.mapping.model._meta.db_table, columns)

    def store(self, model: type[models.Model], columns: Columns) -> None:
        """Inserts rows of a model of this app."""
        insert_each(self._connection, model._meta.db_table, columns)


def insert_each(connection: BaseDatabaseWrapper, table: str, columns: Columns) -> None:
    """Inserts rows into any table through ``executemany``."""
    names = ", ".join(quoted(connection, name) for name in columns)
    places = ", ".join(["%s"] * len(columns))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {quoted(connection, table)} ({names}) VALUES ({places})",
            list(zip(*columns.values(), strict=True)),
        )


def update_each(connection: BaseDatabaseWrapper, table: str, columns: Columns) -> None:
    """Sets columns of rows that the last one names, through ``executemany``."""
    *assignments, condition = (f"{quoted(connection, name)} = %s" for name in columns)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {quoted(connection, table)} SET {', '.join(assignments)} WHERE {condition}",
            list(zip(*columns.values(), strict=True)),
        )
