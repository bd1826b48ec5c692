"""COPY gets from us what it would get from the driver."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.db import DataError, connections, transaction

from durable_state.databases.copying import ROWS, copy_rows
from tests.servers.require import skip_or_fail
from tests.services import available, missing

pytestmark = pytest.mark.django_db(databases="__all__")

COLUMNS: dict[str, tuple[str, list[Any]]] = {
    "text": ("text", ["", "a\tb", "a\nb\r", "\\N", "\\", "\\.", "é😀", None]),
    "whole": ("bigint", [0, -1, 2**63 - 1, -(2**63), 5, None, 7, 8]),
    "flag": ("boolean", [True, False, None, True, True, False, False, None]),
    "real": ("double precision", [0.1, -0.0, 1e300, 5e-324, float("inf"), None, 2.0, 3.5]),
    "raw": ("bytea", [b"", b"\x00\xff", b"\\x", b"\t\n", b"plain", None, b"'", b'"']),
    "json": (
        "bytea",
        [b"{}", rb'{"a":"\u00e9\n"}', b"\\x41", b"\\", b"\t\r\n", None, b"", b"\x01"],
    ),
    "day": ("date", [date(1, 1, 1), date(9999, 12, 31), None, *[date(2026, 2, 3)] * 5]),
    "moment": (
        "timestamptz",
        [
            datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
            datetime(1850, 1, 1, tzinfo=timezone(timedelta(hours=1, minutes=19, seconds=32))),
            None,
            *[datetime(999, 1, 1, tzinfo=UTC)] * 5,
        ],
    ),
    "name": ("uuid", [uuid.UUID(int=2**128 - 1), None, *[uuid.UUID(int=7)] * 6]),
    "mixed": ("text", ["a", None, *["b"] * 6]),
    "nothing": ("integer", [None] * 8),
}


@pytest.fixture(autouse=True)
def _postgres() -> None:
    if "postgres" not in available:
        skip_or_fail(missing["postgres"])


def copied(names: list[str], values: list[list[Any]]) -> list[tuple[Any, ...]]:
    """The content of a table after its columns were copied into it."""
    connection = connections["postgres"]
    columns = ", ".join(f'"{name}" {COLUMNS[name][0]}' for name in names)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS copied")
        cursor.execute(f"CREATE TEMPORARY TABLE copied (place serial, {columns})")
        copy_rows(connection, "copied", dict(zip(names, values, strict=True)))
        listed = ", ".join(f'"{name}"' for name in names)
        cursor.execute(f"SELECT {listed} FROM copied ORDER BY place")
        return cursor.fetchall()


def test_values_come_back() -> None:
    """Of each type that is written without the driver, with everything that its text format has
    to escape.
    """
    names, values = list(COLUMNS), [values for _, values in COLUMNS.values()]
    assert copied(names, values) == list(zip(*values, strict=True))


def test_what_only_the_driver_writes() -> None:
    """With one such value, the driver writes all of the rows."""
    assert copied(["whole", "text"], [[1, Decimal(2)], ["a", "b"]]) == [(1, "a"), (2, "b")]


def test_what_the_server_refuses() -> None:
    """A NUL is a data error, as with the driver."""
    with pytest.raises(DataError), transaction.atomic(using="postgres"):
        copied(["text"], [["a\0b"]])


def test_more_rows_than_go_together() -> None:
    """Each part writes a column in its own way: only one of them has NULLs and no JSON."""
    whole = [None if ROWS < n < 2 * ROWS else n for n in range(2 * ROWS + 5)]
    raw = [b"\xff\x00" if number is None else b'{"a":"\\n"}' for number in whole]
    assert copied(["whole", "raw"], [whole, raw]) == list(zip(whole, raw, strict=True))
