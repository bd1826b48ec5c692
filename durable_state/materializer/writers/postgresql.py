"""PostgreSQL: COPY, straight into the table or through a temporary one."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections, models

from ..plan import TypePlan
from .columns import Columns, insert_columns, update_columns
from .copy import copy_rows
from .each import update_each
from .orm import OrmWriter
from .row import RowWrite

__all__ = ["PostgreSQLWriter"]

FEW = 50
"""Rows that are updated sooner one by one, sent together, than through a temporary table."""
CHANGES = "durable_state_changes"


class PostgreSQLWriter:
    """Writes through COPY of psycopg 3."""

    def __init__(self, using: str) -> None:
        self._connection = connections[using]
        self._orm = OrmWriter(using)

    def insert(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Inserts rows that are not there."""
        columns = insert_columns(plan, writes, self._connection)
        if columns is None:
            return self._orm.insert(plan, writes)
        copy_rows(self._connection, plan.mapping.model._meta.db_table, columns)
        return None

    def update(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Sets the mapped columns of rows that are there."""
        columns = update_columns(plan, writes, self._connection)
        if columns is None:
            return self._orm.update(plan, writes)
        if len(writes) < FEW:
            return update_each(self._connection, plan.mapping.model._meta.db_table, columns)
        table, names = self._table(plan), [self._quoted(name) for name in columns]
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

    def store(self, model: type[models.Model], columns: Columns) -> None:
        """Inserts rows of a model of this app."""
        copy_rows(self._connection, model._meta.db_table, columns)

    def _table(self, plan: TypePlan) -> str:
        return self._quoted(plan.mapping.model._meta.db_table)

    def _quoted(self, name: str | None) -> str:
        assert name is not None
        return self._connection.ops.quote_name(name)
