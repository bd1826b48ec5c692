"""PostgreSQL's COPY, through psycopg 3."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from .parameters import Columns

__all__ = ["copy_rows"]


def copy_rows(connection: BaseDatabaseWrapper, table: str, columns: Columns) -> None:
    """Inserts rows into any table."""

    def run(statement: str, rows: Iterable[Any], many: bool, context: dict[str, Any]) -> None:
        # Django's cursor passes `copy` on to the driver's, and with it the driver's errors.
        with connection.wrap_database_errors, context["cursor"].copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    execute: Callable[..., None] = run
    for wrapper in reversed(
        connection.execute_wrappers
    ):  # whoever watches the statements sees this one too
        execute = partial(wrapper, execute)
    quote = connection.ops.quote_name
    statement = (
        f"COPY {quote(table)} ({', '.join(quote(name or '') for name in columns)}) FROM STDIN"
    )
    with connection.cursor() as cursor:
        execute(
            statement,
            zip(*columns.values(), strict=True),
            True,
            {"connection": connection, "cursor": cursor},
        )
