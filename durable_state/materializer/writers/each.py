"""One insert with parameters for row after row: what SQLite's and MySQL's drivers are both fastest at."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from ..plan import TypePlan
from .columns import Columns, quoted

__all__ = ["insert_each"]


def insert_each(plan: TypePlan, columns: Columns, connection: BaseDatabaseWrapper) -> None:
    """Inserts the rows through ``executemany``."""
    table = quoted(connection, plan.mapping.model._meta.db_table)
    names = ", ".join(quoted(connection, name) for name in columns)
    places = ", ".join(["%s"] * len(columns))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({places})", list(zip(*columns.values(), strict=True))
        )
