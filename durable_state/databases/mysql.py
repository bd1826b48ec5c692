"""MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from django.db import Error, IntegrityError, OperationalError

from .bounds import Bounds, atomic_begun_by_text
from .capabilities import mysql_capabilities, unused_name
from .database import Database
from .parameters import Columns, moments_in_utc
from .statements import bounded_statements
from .together import Answer, Statement, run_in_one_text

__all__ = ["MySQL"]

ROWS = 500
"""Rows in one update."""
KEYS = 2000
"""Primary keys in one delete."""
CHANGES = "durable_state_changes"
CONSTRAINTS = frozenset({1048, 1690, 3819, 4025})
"""What the driver calls operational errors, and Django integrity errors."""
MULTI_STATEMENTS = 1 << 16
"""The flag of a connection whose server takes several statements as one text."""

_largest: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""``max_allowed_packet`` by the driver's connection, for which it is fixed when that is opened."""


class MySQL(Database):
    """Inserts of many rows, updates by a join with the new values.

    Never an upsert (``ON DUPLICATE KEY UPDATE`` fires on any unique key) nor REPLACE (it deletes
    rows).
    """

    writes_columns = True
    compares_by_collation = True
    holds_unique_without_gaps = False

    wide_collation = "utf8mb4_general_ci"

    @property
    def exact_collation(self) -> str:  # type: ignore[override]
        """Tells spaces at the end apart too."""
        return "utf8mb4_nopad_bin" if self.is_mariadb else "utf8mb4_0900_bin"

    @property
    def is_mariadb(self) -> bool:
        """Whether it is MariaDB, which left MySQL's ways in many a detail."""
        return bool(self.connection.mysql_is_mariadb)

    @contextmanager
    def transaction(self, seconds: int) -> Iterator[Bounds]:
        """READ COMMITTED, whatever the project asks for: who takes a lock sees what its last
        holder wrote.

        There is no timeout for idle transactions alone; the connection's own is lowered meanwhile.
        """
        idle = "idle_transaction_timeout" if self.is_mariadb else "wait_timeout"
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT @@SESSION.innodb_lock_wait_timeout, @@SESSION.{idle}")
            before = cursor.fetchone()
        limits = f"SET SESSION innodb_lock_wait_timeout = {seconds}, SESSION {idle} = {seconds}"
        opening: list[Statement] = [
            (limits, ()),
            ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", ()),  # of the next one
            ("START TRANSACTION", ()),
        ]
        try:
            with (
                atomic_begun_by_text(self.connection),
                bounded_statements(self.connection, self.largest_statement()),
            ):
                yield Bounds(opening)
        finally:
            # The connection may be what broke.
            with suppress(Error), self.connection.cursor() as cursor:
                cursor.execute(
                    f"SET SESSION innodb_lock_wait_timeout = {before[0]},"
                    f" SESSION {idle} = {before[1]}"
                )

    def run_together(self, statements: Sequence[Statement]) -> list[Answer]:
        """One text may hold several statements where the driver has said so to the server."""
        driver = self.connection.connection
        if not getattr(driver, "client_flag", 0) & MULTI_STATEMENTS:
            return super().run_together(statements)
        try:
            return run_in_one_text(self.connection, statements)
        except OperationalError as error:
            # As Django does of the first statement of a text.
            if error.args and error.args[0] in CONSTRAINTS:
                raise IntegrityError(*error.args) from error
            raise

    def snapshot_options(self) -> dict[str, Any]:
        """A snapshot is what InnoDB's REPEATABLE READ is."""
        return {"isolation_level": "repeatable read"}

    def largest_statement(self) -> int:
        """``max_allowed_packet``: the server answers a longer statement by hanging up."""
        self.connection.ensure_connection()
        driver = self.connection.connection
        if driver not in _largest:
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT @@SESSION.max_allowed_packet")
                _largest[driver] = cursor.fetchone()[0]
        return _largest[driver]

    def _moments(self, values: Sequence[datetime | None]) -> Sequence[Any]:
        in_utc = moments_in_utc(values) if self.connection.timezone is UTC else None
        return super()._moments(values) if in_utc is None else in_utc

    def update(self, table: str, columns: Columns) -> None:
        """Sets columns by a join with the new values, many rows in one statement."""
        if not mysql_capabilities(self.using, table).joins:
            return super().update(table, columns)
        changes = unused_name(CHANGES, table)
        table, names = self.quoted(table), list(map(self.quoted, columns))
        *changed, key = names
        assignments = ", ".join(f"{table}.{name} = {changes}.{name}" for name in changed)
        row = f"{self._row_word}({', '.join(['%s'] * len(names))})"
        rows = list(zip(*columns.values(), strict=True))
        with self.connection.cursor() as cursor:
            for start in range(0, len(rows), ROWS):
                some = rows[start : start + ROWS]
                # By primary key, one after the other: the server would rather look at all rows
                # of a small table, and wait for those that other streams' transactions hold.
                # The empty half gives the union the table's own types and collations.
                cursor.execute(
                    f"UPDATE (SELECT {', '.join(names)} FROM {table} WHERE FALSE"
                    f" UNION ALL VALUES {', '.join([row] * len(some))}) AS {changes}"
                    f" STRAIGHT_JOIN {table} FORCE INDEX (PRIMARY)"
                    f" ON {table}.{key} = {changes}.{key} SET {assignments}",
                    [parameter for each in some for parameter in each],
                )
        return None

    def remove(self, table: str, key: str, values: Sequence[Any]) -> None:
        """Deletes rows, and looks at no others, which may be locked."""
        table, key = self.quoted(table), self.quoted(key)
        with self.connection.cursor() as cursor:
            for start in range(0, len(values), KEYS):
                some = values[start : start + KEYS]
                places = ", ".join([f"{self._row_word}(%s)"] * len(some))
                cursor.execute(
                    f"DELETE {table} FROM (SELECT {key} FROM {table} WHERE FALSE"
                    f" UNION ALL VALUES {places}) AS going"
                    f" STRAIGHT_JOIN {table} FORCE INDEX (PRIMARY) ON {table}.{key} = going.{key}",
                    some,
                )

    @property
    def _row_word(self) -> str:
        return "" if self.is_mariadb else "ROW"
