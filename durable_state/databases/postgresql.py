"""PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from django.db import NotSupportedError, ProgrammingError, connections, models, transaction

from .bounds import AtomicBegunByText, Bounds
from .capabilities import forget, postgresql_capabilities, unused_name
from .copying import copy_rows
from .database import Database
from .limits import SessionLimits
from .lookups import Found, are_alike, as_json
from .parameters import AS_THEY_ARE, Columns, encoded
from .plain_sql import read_value
from .postgresql_sessions import (
    end_named_sessions,
    is_lent,
    is_named_session_working,
    limit_each_transaction,
    limit_own_session,
    limiting_transaction,
    obstacle_to_ending,
)
from .row_locks import RowLock, postgresql_row_locks
from .together import Answer, Statement, run_in_one_text

__all__ = ["PostgreSQL"]

FEW = 50
"""Rows up to which single updates, sent together, beat a temporary table."""
KEYS = 10_000
"""Keys in one statement, where all of them are one parameter."""
CHANGES = "durable_state_changes"

_ELEMENTS = "json_array_elements_text(%s::json)"
"""Turns a list into rows. With an array, the driver would handle each element in Python."""

_MOVE = """
SELECT setval(counter.name, %(largest)s)
FROM (SELECT pg_get_serial_sequence(%(table)s, %(column)s)::regclass AS name) AS counter
WHERE CASE
    WHEN counter.name IS NULL THEN false
    WHEN NOT has_sequence_privilege(counter.name, 'UPDATE') THEN false
    WHEN NOT has_sequence_privilege(counter.name, 'SELECT, USAGE') THEN false
    ELSE coalesce(pg_sequence_last_value(counter.name), 0) < %(largest)s
END
"""
"""Does nothing if the role may not: the rows are right all the same, and the application's own
inserts will show it."""

_UNEXPECTED = "concat('durable_state will look at the rows first, then write: ', now())"


class PostgreSQL(Database):
    """Writes through COPY of psycopg 3, straight into the table or through a temporary one."""

    types_parameters = False
    row_version = "CAST(xmin AS text)"

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._kept_cursor: Any = None
        self._may_keep_cursor = _makes_plain_cursors(connection)

    @property
    def writes_columns(self) -> bool:  # type: ignore[override]
        """Not with psycopg 2, whose COPY is another."""
        return hasattr(getattr(self.connection, "Database", None), "Cursor")

    def limit_session(self, limits: SessionLimits) -> None:
        """Limits the session itself, or each of its transactions if others share it."""
        if limit_own_session(self.connection, limits):
            self.limits = limits
        else:
            limit_each_transaction(self.connection, limits)

    def end_sessions(self, name: str, *, also_below: bool) -> int:
        """Finds them by name, because a process number may be reused."""
        return end_named_sessions(self.connection, name, also_below=also_below)

    def is_session_working(self, name: str) -> bool:
        """As far as the server shows the role."""
        return is_named_session_working(self.connection, name)

    def lends_sessions(self) -> bool:
        """True if another process answers than the driver was told."""
        self.connection.ensure_connection()
        return is_lent(self.connection)

    def find_row_locks(self, table: str, pks: Sequence[int]) -> dict[int, RowLock]:
        """By the transaction that each row names."""
        return postgresql_row_locks(self.connection, table, pks)

    def read_clock(self) -> float:
        """The current time, not that of the transaction's start."""
        return float(read_value(self.connection, "SELECT EXTRACT(EPOCH FROM clock_timestamp())"))

    def obstacle_to_ending_sessions(self) -> tuple[str, str] | None:
        """An assumed role may lack a right that the login has."""
        return obstacle_to_ending(self.connection)

    @contextmanager
    def transaction(self, seconds: int) -> Iterator[Bounds]:
        """READ COMMITTED, whatever the project's settings say, so that whoever takes a lock sees
        what its last holder wrote.
        """
        self.connection.ensure_connection()  # sets `limits`, if the session is limited
        limits = [] if self.limits else limiting_transaction(self.connection, seconds)
        # psycopg 2 cannot end a transaction that it has not begun itself.
        if not self.writes_columns or not self.connection.get_autocommit():
            with transaction.atomic(using=self.using):
                yield Bounds([("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", ()), *limits])
            return
        with AtomicBegunByText(self.connection):
            begin = ("BEGIN ISOLATION LEVEL READ COMMITTED", ())
            yield Bounds([begin, *limits], [("COMMIT", ())])

    def run_together(self, statements: Sequence[Statement]) -> list[Answer]:
        """One text may hold several statements if the driver interpolates the values."""
        if self.writes_columns and not self.connection.features.uses_server_side_binding:
            return run_in_one_text(self.connection, self._cursor(), statements)
        return super().run_together(statements)

    def insisting(self, conditions: Sequence[Statement]) -> Statement:
        """Its error is in the server's log, for a reader who does not know this app."""
        condition = " AND ".join(sql for sql, _ in conditions)
        # The clock keeps the planner from evaluating the cast beforehand.
        text = f"SELECT CASE WHEN {condition} THEN 0 ELSE CAST({_UNEXPECTED} AS integer) END"
        return text, [value for _, values in conditions for value in values]

    def _cursor(self) -> Any:
        """A cursor; always the same one in a session of our own, since making one costs as much as
        a statement.
        """
        connection = self.connection
        if self.limits is None or not self._may_keep_cursor:
            return connection.cursor()
        if self._kept_cursor is None or self._kept_cursor.connection is not connection.connection:
            self._kept_cursor = connection.cursor().cursor
        wrap = connection.make_debug_cursor if connection.queries_logged else connection.make_cursor
        return wrap(self._kept_cursor)

    def reading_as_needed(self) -> AbstractContextManager[Any]:
        """In a transaction: outside of one, a cursor's rows are all read, and copied, first."""
        return transaction.atomic(using=self.using)

    def snapshot_options(self) -> dict[str, Any]:
        """REPEATABLE READ gives a snapshot."""
        from django.db.backends.postgresql.psycopg_any import IsolationLevel  # needs the driver

        return {"isolation_level": IsolationLevel.REPEATABLE_READ}

    def checking_deferred(self, table: str, but: Collection[str]) -> list[Statement]:
        """Switches them to IMMEDIATE, which has them checked, and back."""
        names = _deferred(self.using, table, tuple(but)).replace("%", "%%")
        return [
            (f"SET CONSTRAINTS {names} {when}", ()) for when in ("IMMEDIATE", "DEFERRED") if names
        ]

    def most_keys(self, field: models.Field[Any, Any], beside: int) -> int:
        """Many keys are one parameter, a JSON text, if that can hold them."""
        if type(field) is models.UUIDField or AS_THEY_ARE.get(type(field)) in (str, int):
            return KEYS
        return super().most_keys(field, beside)

    def _is_one_of(
        self, field: models.Field[Any, Any], parameters: list[Any]
    ) -> tuple[str, list[Any]]:
        if are_alike(parameters, {str, int, UUID}):
            column_type = field.cast_db_type(self.connection)
            condition = f"= ANY(ARRAY(SELECT {_ELEMENTS}::{column_type}))"
            return condition, [as_json(parameters)]
        return super()._is_one_of(field, parameters)

    def rows_with(
        self,
        rows: models.QuerySet[models.Model],
        key: models.Field[Any, Any],
        values: Sequence[Any],
        scope: Mapping[str, Any],
    ) -> models.QuerySet[models.Model]:
        """Looks each key up in the unique index.

        If PostgreSQL has no statistics of a stream, it would read all its rows for many keys at
        once, again for each batch.
        """
        model = rows.model
        pk, parameters = model._meta.pk, self.key_parameters(key, values)
        if pk.column is None or not are_alike(parameters, {str, int, UUID}):
            return super().rows_with(rows, key, values, scope)
        fields = [field for field in model._meta.concrete_fields if field.attname in scope]
        in_scope = "".join(f" AND held.{self.quoted(field.column)} = %s" for field in fields)
        scope_values = [
            field.get_db_prep_value(scope[field.attname], self.connection) for field in fields
        ]
        looked_up = (
            f"SELECT found.pk FROM {_ELEMENTS} AS wanted(key) CROSS JOIN LATERAL"
            f" (SELECT held.{self.quoted(pk.column)} AS pk"
            f" FROM {self.quoted(model._meta.db_table)} AS held"
            f" WHERE held.{self.quoted(key.column)} ="
            f" wanted.key::{key.cast_db_type(self.connection)}"
            f"{in_scope} OFFSET 0) AS found"
        )
        condition = f"= ANY(ARRAY({looked_up}))", [as_json(parameters), *scope_values]
        all_rows: models.QuerySet[models.Model] = model._base_manager.using(self.using)
        return all_rows.filter(Found(models.F(pk.attname), condition)).order_by()

    def _documents(self, values: Sequence[Any]) -> Sequence[Any] | None:
        # Documents are stored parsed, so their spelling does not matter.
        try:
            return [None if value is None else encoded(value) for value in values]
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
            return None

    def insert(self, table: str, columns: Columns) -> None:
        """Inserts rows by COPY, or one by one if the table does not allow that."""
        if not self.writes_columns or not postgresql_capabilities(self.using, table).copies:
            return super().insert(table, columns)
        try:
            return copy_rows(self.connection, table, columns)
        except (NotSupportedError, ProgrammingError):
            forget()  # the next attempt asks anew
            raise

    def update(self, table: str, columns: Columns) -> None:
        """Sets columns through a temporary table, or one by one if there are few rows."""
        *_, pks = columns.values()
        if (
            len(pks) < FEW
            or not self.writes_columns
            or not postgresql_capabilities(self.using, table).joins
        ):
            return super().update(table, columns)
        try:
            return self._update_by_join(table, columns)
        except (NotSupportedError, ProgrammingError):
            forget()
            raise

    def _update_by_join(self, table: str, columns: Columns) -> None:
        changes, quote = unused_name(CHANGES, table), self.connection.ops.quote_name
        table, names = quote(table), [quote(name or "") for name in columns]
        *changed, key = names
        assignments = ", ".join(f"{name} = {changes}.{name}" for name in changed)
        with self.connection.cursor() as cursor:
            # Made from the table, so that its columns have the same types. It ends with the
            # savepoint or the transaction, if not here.
            cursor.execute(
                f"CREATE TEMPORARY TABLE {changes} ON COMMIT DROP AS"
                f" SELECT {', '.join(names)} FROM {table} WITH NO DATA"
            )
            copy_rows(self.connection, changes, columns)
            cursor.execute(
                f"UPDATE {table} SET {assignments} FROM {changes}"
                f" WHERE {table}.{key} = {changes}.{key}; DROP TABLE {changes}"
            )

    def move_sequence(self, table: str, column: str, largest: int) -> None:
        """Sequences do not follow the rows."""
        parameters = {
            "largest": largest,
            "table": self.connection.ops.quote_name(table),
            "column": column,
        }
        with self.connection.cursor() as cursor:
            cursor.execute(_MOVE, parameters)


def _makes_plain_cursors(connection: Any) -> bool:
    """Whether the connection makes cursors as Django does, which set nothing up.

    django-tenants has each set the search path, which the project may have changed meanwhile.
    """
    from django.db.backends.postgresql.base import DatabaseWrapper  # needs the driver

    makers = ("cursor", "_cursor", "create_cursor")
    kind = type(connection)
    return all(getattr(kind, maker) is getattr(DatabaseWrapper, maker) for maker in makers)


@lru_cache(maxsize=1024)
def _deferred(using: str, table: str, but: tuple[str, ...]) -> str:
    """The quoted names of the constraints, joined; empty if there are none."""
    connection = connections[using]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT spaces.nspname, held.conname FROM pg_constraint AS held"
            " JOIN pg_namespace AS spaces ON spaces.oid = held.connamespace"
            " WHERE held.conrelid = to_regclass(%s) AND held.condeferred AND NOT ("
            "held.contype = 'f' AND EXISTS (SELECT FROM pg_attribute AS attribute"
            " WHERE attribute.attrelid = held.conrelid AND held.conkey = ARRAY[attribute.attnum]"
            " AND attribute.attname = ANY(%s)))"
            " ORDER BY held.conname",
            [connection.ops.quote_name(table), list(but)],
        )
        quote = connection.ops.quote_name
        return ", ".join(f"{quote(space)}.{quote(name)}" for space, name in cursor.fetchall())
