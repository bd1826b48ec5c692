"""Runs several statements together, and gives the result of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

__all__ = ["Answer", "Statement", "run_each", "run_in_one_text"]

Statement = tuple[str, Sequence[Any]]
"""SQL, and its parameters."""


class Answer(NamedTuple):
    """The result of a statement: its rows, and how many it found or changed."""

    rows: list[tuple[Any, ...]]
    affected: int


def run_each(connection: Any, statements: Sequence[Statement]) -> list[Answer]:
    """Runs the statements one after the other."""
    answers = []
    with connection.cursor() as cursor:
        for sql, values in statements:
            cursor.execute(sql, values)
            answers.append(_answer(cursor))
    return answers


def run_in_one_text(connection: Any, cursor: Any, statements: Sequence[Statement]) -> list[Answer]:
    """Runs the statements as one text, in one round trip, for a driver that interpolates values.

    Only SELECT and RETURNING give rows.
    """
    text = "; ".join([sql for sql, _ in statements])
    with connection.wrap_database_errors:
        cursor.execute(text, [value for _, values in statements for value in values])
        return list(_answers(cursor.cursor, statements))


def _answers(driver: Any, statements: Sequence[Statement]) -> Iterator[Answer]:
    """Uses the driver's cursor, because Django's wraps each call in its handling of errors."""
    for number, (sql, _) in enumerate(statements):
        if number:
            driver.nextset()
        # The cursor's description would tell too, but psycopg makes it anew for each column.
        gives_rows = sql.startswith("SELECT") or "RETURNING" in sql
        yield Answer(list(driver.fetchall()) if gives_rows else [], driver.rowcount)


def _answer(cursor: Any) -> Answer:
    return Answer(list(cursor.fetchall()) if cursor.description else [], cursor.rowcount)
