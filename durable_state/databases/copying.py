"""PostgreSQL's COPY, through psycopg 3.

Why its lines are ours where they can be: decision 46. Why they go in parts: decision 61.
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

ROWS = 1000
"""Rows that are sent together. While the server takes them in, the next are encoded."""

NULL = r"\N"

Writer = Callable[[Sequence[Any]], Sequence[str]]
"""Encodes some of a column's values, by few calls."""


def copy_rows(connection: BaseDatabaseWrapper, table: str, columns: Columns) -> None:
    """Inserts rows into any table."""

    def run(statement: str, rows: Iterable[Any], many: bool, context: dict[str, Any]) -> None:
        # Django's cursor passes `copy` on to the driver's, and with it the driver's errors.
        with connection.wrap_database_errors, context["cursor"].copy(statement) as copy:
            writers = [_find_writer(values) for values in columns.values()]
            if None in writers:
                for row in rows:
                    copy.write_row(row)
            else:
                for lines in _lines(columns, [each for each in writers if each is not None]):
                    copy.write(lines)

    execute: Callable[..., None] = run
    # So that whatever watches statements sees this one too.
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


def _lines(columns: Columns, writers: Sequence[Writer]) -> Iterator[str]:
    """Many rows at once, in COPY's text format."""
    count = len(next(iter(columns.values())))
    for start in range(0, count, ROWS):
        texts = [
            write(values[start : start + ROWS])
            for values, write in zip(columns.values(), writers, strict=True)
        ]
        yield "\n".join(map("\t".join, zip(*texts, strict=True))) + "\n"


def _find_writer(values: Sequence[Any]) -> Writer | None:
    """Finds what encodes a column's values for COPY just as the driver would.

    None if they have several types, or one that only the driver can encode.
    """
    types = set(map(type, values))
    has_nulls = NoneType in types
    types.discard(NoneType)
    if not types:
        return _all_null
    write = _WRITERS.get(types.pop()) if len(types) == 1 else None
    return partial(_with_nulls, write) if write is not None and has_nulls else write


def _all_null(values: Sequence[Any]) -> Sequence[str]:
    return [NULL] * len(values)


def _with_nulls(write: Writer, values: Sequence[Any]) -> Sequence[str]:
    written = iter(write([value for value in values if value is not None]))
    return [NULL if value is None else next(written) for value in values]


def _escaped(values: Sequence[str]) -> Sequence[str]:
    together = "".join(values)
    if not any(character in together for character in "\\\t\n\r"):
        return values
    return list(map(_escape, values))


def _escape(value: str) -> str:
    value = value.replace("\\", r"\\").replace("\t", r"\t")
    return value.replace("\n", r"\n").replace("\r", r"\r")


def _binaries(values: Sequence[bytes]) -> Sequence[str]:
    """Bytes that are ASCII, as JSON mostly is, stand as they are: as hexadecimal digits they would
    be twice as long, which is what writing them costs.
    """
    together = b"".join(values)
    if together.isascii() and b"\0" not in together:
        return _escaped([str(value.replace(b"\\", rb"\\"), "ascii") for value in values])
    if len(values) > 1:
        return [text for value in values for text in _binaries([value])]
    return [rf"\\x{value.hex()}" for value in values]


_WRITERS: dict[type, Writer] = {
    str: _escaped,
    int: lambda values: list(map(str, values)),
    bool: lambda values: ["t" if value else "f" for value in values],
    float: lambda values: list(map(repr, values)),
    bytes: _binaries,
    date: lambda values: list(map(str, values)),
    datetime: lambda values: list(map(str, values)),
    UUID: lambda values: list(map(str, values)),
}
