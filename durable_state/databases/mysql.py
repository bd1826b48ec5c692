"""Writes to MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from django.db import Error, IntegrityError, OperationalError

from .bounds import AtomicBegunByText, Bounds
from .capabilities import mysql_capabilities, unused_name
from .database import Database
from .limits import SessionLimits
from .mysql_sessions import (
    end_named_sessions,
    is_named_session_working,
    limit_own_session,
    name_session,
    obstacle_to_ending,
)
from .parameters import Columns, moments_in_utc
from .plain_sql import read_value
from .statements import bounded_statements
from .together import Answer, Statement, run_in_one_text

__all__ = ["MySQL"]

ROWS = 500
"""Rows in one update."""
KEYS = 2000
"""Primary keys in one delete."""
CHANGES = "durable_state_changes"
CONSTRAINTS = frozenset({1048, 1690, 3819, 4025})
"""Errors that the driver calls operational, and Django integrity errors."""
MULTI_STATEMENTS = 1 << 16
"""The flag of a connection whose server accepts several statements in one text."""

_largest: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""``max_allowed_packet`` by the driver's connection, for which it is fixed once that is open."""


class MySQL(Database):
    """Inserts many rows at once, and updates by a join with the new values.

    Never uses ``ON DUPLICATE KEY UPDATE``, which fires on any unique key, or ``REPLACE``, which
    deletes rows.
    """

    writes_columns = True
    compares_by_collation = True
    holds_unique_without_gaps = False

    wide_collation = "utf8mb4_general_ci"

    @property
    def exact_collation(self) -> str:  # type: ignore[override]
        """A collation that compares trailing spaces too."""
        return "utf8mb4_nopad_bin" if self.is_mariadb else "utf8mb4_0900_bin"

    @property
    def is_mariadb(self) -> bool:
        """Whether the server is MariaDB, which differs from MySQL in many details."""
        return bool(self.connection.mysql_is_mariadb)

    def limit_session(self, limits: SessionLimits) -> None:
        """Limits the session for good, because nothing else uses it."""
        limit_own_session(self.connection, limits, is_mariadb=self.is_mariadb)
        self.end_sessions(limits.name, also_below=False)
        name_session(self.connection, limits.name)
        self.limits = limits

    def end_sessions(self, name: str, *, also_below: bool) -> int:
        """Finds the sessions by the locks that are their names."""
        return end_named_sessions(self.connection, name, also_below=also_below)

    def is_session_working(self, name: str) -> bool:
        """Looks it up in the list of processes."""
        return is_named_session_working(self.connection, name)

    def read_clock(self) -> float:
        """The time now, not when the transaction began."""
        fraction = "MICROSECOND(UTC_TIMESTAMP(6)) / 1000000"
        return float(read_value(self.connection, f"SELECT UNIX_TIMESTAMP() + {fraction}"))

    def obstacle_to_ending_sessions(self) -> tuple[str, str] | None:
        """Any user may end its own sessions, if they can be named."""
        self.connection.ensure_connection()
        return obstacle_to_ending(self.connection)

    @contextmanager
    def transaction(self, seconds: int) -> Iterator[Bounds]:
        """READ COMMITTED, whatever the project configures, so that whoever takes a lock sees what
        its last holder wrote.
        """
        with (
            self._limited(seconds) as opening,
            AtomicBegunByText(self.connection),
            bounded_statements(self.connection, self.largest_statement()),
        ):
            yield Bounds([*opening, ("START TRANSACTION", ())])

    @contextmanager
    def _limited(self, seconds: int) -> Iterator[Sequence[Statement]]:
        """Limits the session for the block, unless it is limited for good.

        Yields the statements that do so.
        """
        self.connection.ensure_connection()  # sets `limits`, if the session is limited
        limits = {"innodb_lock_wait_timeout": seconds, self._idle_limit: seconds}
        if self.limits is not None:
            # MySQL's limit would also end a session that waits for its next transaction.
            limits = {} if self.is_mariadb else {self._idle_limit: seconds}
        if not limits:
            yield []
            return

        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(f'@@SESSION.{name}' for name in limits)}")
            before = dict(zip(limits, cursor.fetchone(), strict=True))
        level = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"  # of the next transaction
        try:
            yield [(_setting(limits), ()), (level, ())]
        finally:
            # The connection may be broken.
            with suppress(Error), self.connection.cursor() as cursor:
                cursor.execute(_setting(before))

    @property
    def _idle_limit(self) -> str:
        """MySQL has no limit that applies only to sessions idle in a transaction."""
        return "idle_transaction_timeout" if self.is_mariadb else "wait_timeout"

    def run_together(self, statements: Sequence[Statement]) -> list[Answer]:
        """Sends one text with all statements, if the connection allows that."""
        driver = self.connection.connection
        if not getattr(driver, "client_flag", 0) & MULTI_STATEMENTS:
            return super().run_together(statements)
        try:
            with self.connection.cursor() as cursor:
                return run_in_one_text(self.connection, cursor, statements)
        except OperationalError as error:
            # Django does the same for the first statement of a text.
            if error.args and error.args[0] in CONSTRAINTS:
                raise IntegrityError(*error.args) from error
            raise

    def snapshot_options(self) -> dict[str, Any]:
        """InnoDB's REPEATABLE READ is a snapshot."""
        return {"isolation_level": "repeatable read"}

    def largest_statement(self) -> int:
        """``max_allowed_packet``: at a longer statement, the server closes the connection."""
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
                # Row by row along the primary key. Otherwise the server would read all rows of a
                # small table, and wait for those that other streams' transactions have locked.
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
        """Deletes rows without reading any others, which may be locked."""
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


def _setting(values: Mapping[str, int]) -> str:
    return f"SET {', '.join(f'SESSION {name} = {value}' for name, value in values.items())}"
