"""Writing rows in bulk: one writer per kind of database, and the ORM, which can write everything.

A writer may only do what the ORM's would: the same values in the same columns, the same errors in Django's classes, all in the caller's
transaction. What it cannot do alike (a field that computes in SQL or in ``pre_save``, say) it hands to the ORM's. Knows no streams' rules:
which rows to write was decided before.

Why: decision 18.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from django.db import connections, models

from ...plan import TypePlan
from .columns import Columns
from .each import EachWriter
from .mysql import MySQLWriter
from .orm import OrmWriter
from .postgresql import PostgreSQLWriter
from .row import ExistingRow, RowWrite

__all__ = ["FAST_WRITERS", "ExistingRow", "OrmWriter", "RowWrite", "Writer", "find_writer"]


class Writer(Protocol):
    """Writes rows of one type, all or, with a database error, any part of them: the caller has set a savepoint."""

    def insert(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Inserts rows that are not there; columns of the application's own get their defaults."""
        ...

    def update(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Sets the mapped columns of rows that are there, found by primary key."""
        ...

    def store(self, model: type[models.Model], columns: Columns) -> None:
        """Inserts rows of a model of this app; all columns without a default, with values that every driver takes as they are."""
        ...

    def replace(self, model: type[models.Model], columns: Columns) -> None:
        """Sets columns of rows of a model of this app; the last column is the primary key."""
        ...

    def remove(self, model: type[models.Model], pks: Sequence[int]) -> None:
        """Deletes rows of a model of this app, which nothing points to, by their primary keys."""
        ...


FAST_WRITERS: dict[str, Callable[[str], Writer]] = {
    "postgresql": PostgreSQLWriter,
    "mysql": MySQLWriter,
    "sqlite": EachWriter,
}
"""By ``connection.vendor``, which for MariaDB is "mysql" too; without an entry the ORM writes."""


def find_writer(using: str) -> Writer:
    """The writer for the database of that alias. The one place that chooses."""
    connection = connections[using]
    if connection.vendor == "postgresql" and not hasattr(
        getattr(connection, "Database", None), "Cursor"
    ):
        return OrmWriter(using)  # psycopg 2, whose COPY is another
    return FAST_WRITERS.get(connection.vendor, OrmWriter)(using)
