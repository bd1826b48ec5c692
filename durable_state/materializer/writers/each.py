"""One statement with parameters for row after row: what SQLite's and MySQL's drivers are fastest at, and PostgreSQL's with few rows."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from .columns import Columns, quoted

__all__ = ["insert_each", "update_each"]


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
