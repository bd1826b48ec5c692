"""Telling errors that single rows are to blame for from those that tables, servers or networks are."""

from __future__ import annotations

from django.db import DataError, Error, IntegrityError, OperationalError

__all__ = ["blames_a_row"]

MYSQL_DATA_ERRORS = frozenset({1264, 1265, 1292, 1366, 1367, 1406, 1411, 1525, 3140, 3156})
"""Values that a column does not take, most of which MySQL's driver calls operational errors: out of range, truncated, wrong, too long,
of no known form. Constraints (3819, 4025) are integrity errors by Django's hand."""


def blames_a_row(error: Error) -> bool:
    """Whether the same statement without some of its rows may go through."""
    if isinstance(error, DataError | IntegrityError):
        return True
    return (
        isinstance(error, OperationalError)
        and bool(error.args)
        and error.args[0] in MYSQL_DATA_ERRORS
    )
