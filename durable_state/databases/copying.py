"""PostgreSQL's COPY, through psycopg 3.

Why its lines are ours where they can be: decision 46.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from functools import partial
from types import NoneType
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from .parameters import Columns

__all__ = ["copy_rows"]

ROWS = 5000
"""Rows that are written together."""

NULL = r"\N"


def copy_rows(connection: BaseDatabaseWrapper, table: str, columns: Columns) -> None:
    """Inserts rows into any table."""

    def run(statement: str, rows: Iterable[Any], many: bool, context: dict[str, Any]) -> None:
        # Django's cursor passes `copy` on to the driver's, and with it the driver's errors.
        with connection.wrap_database_errors, context["cursor"].copy(statement) as copy:
            texts = [_as_texts(values) for values in columns.values()]
            if None in texts:
                for row in rows:
                    copy.write_row(row)
            else:
                for lines in _lines([each for each in texts if each is not None]):
                    copy.write(lines)

    execute: Callable[..., None] = run
    # Whoever watches the statements sees this one too.
    for wrapper in reversed(connection.execute_wrappers):
        execute = partial(wrapper, execute)
    quote = connection.ops.quote_name
    names = ", ".join(quote(name or "") for name in columns)
    with connection.cursor() as cursor:
        execute(
            f"COPY {quote(table)} ({names}) FROM STDIN",
            zip(*columns.values(), strict=True),
            True,
            {"connection": connection, "cursor": cursor},
        )


def _lines(columns: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows as COPY's text format has them, many at once."""
    for start in range(0, len(columns[0]), ROWS):
        some = (column[start : start + ROWS] for column in columns)
        yield "\n".join(map("\t".join, zip(*some, strict=True))) + "\n"


def _as_texts(values: Sequence[Any]) -> Sequence[str] | None:
    """A column's values as the driver would write them into COPY's text format, by few calls.

    None where they are of several types, or of one that only the driver writes.
    """
    types = set(map(type, values))
    has_nulls = NoneType in types
    types.discard(NoneType)
    if len(types) != 1:
        return None if types else [NULL] * len(values)
    write = _WRITERS.get(types.pop())
    if write is None:
        return None
    if not has_nulls:
        return write(values)
    written = iter(write([value for value in values if value is not None]))
    return [NULL if value is None else next(written) for value in values]


def _escaped(values: Sequence[str]) -> Sequence[str]:
    together = "".join(values)
    if not any(character in together for character in "\\\t\n\r"):
        return values
    return [value.translate(_ESCAPES) for value in values]


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

_WRITERS: dict[type, Callable[[Sequence[Any]], Sequence[str]]] = {
    str: _escaped,
    int: lambda values: list(map(str, values)),
    bool: lambda values: ["t" if value else "f" for value in values],
    float: lambda values: list(map(repr, values)),
    bytes: lambda values: [rf"\\x{value.hex()}" for value in values],
    date: lambda values: list(map(str, values)),
    datetime: lambda values: list(map(str, values)),
    UUID: lambda values: list(map(str, values)),
}
