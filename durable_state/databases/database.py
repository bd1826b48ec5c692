"""What works on any database that Django knows. Subclasses do it better on theirs."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from types import NoneType
from typing import Any

from django.db import models, transaction
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models import Lookup, Q

from .bounds import Bounds
from .limits import SessionLimits
from .lookups import Found
from .parameters import AS_THEY_ARE, Columns, documents_as_dumped, quoted
from .row_locks import RowLock
from .together import Answer, Statement, run_each

__all__ = ["Database"]

KEYS = 2000
"""Keys in one statement, where each is a parameter and the database takes as many."""


class Database:
    """One database, through one thread's connection.

    Its writers take a table and columns of parameters. They write all rows or raise one of Django's
    database errors; the caller has set a savepoint, since some rows may be written by then.
    """

    has_server = True
    """Whether it is a process of its own, which may not answer and holds locks for sessions."""

    writes_columns = False
    """Whether rows of the project's tables are written by column; otherwise, the ORM does it."""

    compares_by_collation = False
    """Whether collations and character sets limit which texts a column holds and distinguishes."""

    exact_collation: str | None = None
    """The collation that compares texts by each character, if columns do not do so anyway."""

    wide_collation: str | None = None
    """The collation that holds every character, if columns may not."""

    keeps_decimals_as_floats = False
    """Whether decimal columns keep only 15 digits."""

    types_parameters = True
    """Whether a parameter in a SELECT has the type that its column would give it."""

    row_version: str | None = None
    """An expression for the version of a row, which every change of the row changes, if the
    database has one. Then ``insisting`` works too."""

    holds_unique_without_gaps = True
    """Whether streams can insert neighbouring values of a unique index at the same time."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.using: str = connection.alias
        self.limits: SessionLimits | None = None
        """The limits of the open session, if it has any of its own."""

        self.texts: dict[tuple[Any, ...], str] = {}
        """Statements that commits use again and again, by what they do; only their parameters
        differ."""

        self._quoted: dict[str | None, str] = {}

    # Sessions

    def limit_session(self, limits: SessionLimits) -> None:
        """Limits and names the session that was just opened.

        Without a server, there is nothing to limit.
        """

    def end_sessions(self, name: str, *, also_below: bool) -> int:
        """Ends the session of that name, and ``also_below`` those whose names continue with a dot;
        returns how many were ended.
        """
        return 0

    def is_session_working(self, name: str) -> bool:
        """Whether the server is working on a statement of the session of that name.

        A database inside this process always is, during a statement.
        """
        return True

    def find_row_locks(self, table: str, pks: Sequence[int]) -> dict[int, RowLock]:
        """Who has locked these rows of the table, by primary key, as far as the server tells.

        MySQL tells it only of rows that are waited for, and only to roles that see all sessions.
        """
        return {}

    def read_clock(self) -> float:
        """The time on its clock, in seconds since 1970; on this machine's, if it has none."""
        return time.time()

    def lends_sessions(self) -> bool:
        """Whether others may use the connection's session between two transactions."""
        return False

    def obstacle_to_ending_sessions(self) -> tuple[str, str] | None:
        """Why the sessions of other workers with these settings cannot be ended, and what to do;
        None if they can.
        """
        return None

    # Transactions

    @contextmanager
    def transaction(self, seconds: int) -> Iterator[Bounds]:
        """A transaction that sees what others commit; gives its first and last statements.

        On a server, both waiting for a lock and being idle inside it are limited.
        """
        with transaction.atomic(using=self.using):
            yield Bounds()

    def reading_as_needed(self) -> AbstractContextManager[Any]:
        """Within it, ``iterator()`` has the server read no more rows than are taken from it, if the
        client does not hold all of them anyway.
        """
        return nullcontext()

    def run_together(self, statements: Sequence[Statement]) -> list[Answer]:
        """Runs the statements in order, in one round trip if the driver can.

        The first that fails raises, and no later one is run.
        """
        return run_each(self.connection, statements)

    def insisting(self, conditions: Sequence[Statement]) -> Statement:
        """A statement that raises DataError unless all these conditions hold."""
        raise NotImplementedError

    def snapshot_options(self) -> dict[str, Any] | None:
        """The options of a connection whose transactions see one snapshot each; None if there are
        none."""
        return None

    def largest_statement(self) -> int | None:
        """The length of the longest statement that it takes, with values, in bytes."""
        return None

    def checking_deferred(self, table: str, but: Collection[str]) -> list[Statement]:
        """What has the table's constraints that wait for COMMIT checked now.

        ``but``: not those of these columns' foreign keys. The statements raise IntegrityError, or
        what a constraint trigger raises.
        """
        return []

    def has_unique_constraints(self, model: type[models.Model]) -> bool:
        """Whether it has all that the model declares: Django leaves out what a database cannot
        hold.
        """
        features = self.connection.features
        return all(
            (each.deferrable is None or features.supports_deferrable_unique_constraints)
            and (not each.include or features.supports_covering_indexes)  # type: ignore[attr-defined]
            and (each.nulls_distinct is None or features.supports_nulls_distinct_unique_constraints)
            for each in model._meta.constraints
            if isinstance(each, models.UniqueConstraint)
        )

    # Rows by keys

    def most_keys(self, field: models.Field[Any, Any], beside: int) -> int:
        """How many values of the field one query may name, with so many parameters ``beside``."""
        most = self.connection.features.max_query_params or KEYS + beside
        return int(min(KEYS, most - beside))

    def is_one_of(self, field: models.Field[Any, Any], values: Sequence[Any]) -> Lookup[Any] | Q:
        """What ``filter(field__in=...)`` says, without what it costs for each value."""
        if field.column is None:
            return Q(pk__in=values)  # a composite primary key
        parameters = self.key_parameters(field, values)
        return Found(models.F(field.attname), self._is_one_of(field, parameters))

    def rows_with(
        self,
        rows: models.QuerySet[models.Model],
        key: models.Field[Any, Any],
        values: Sequence[Any],
        scope: Mapping[str, Any],
    ) -> models.QuerySet[models.Model]:
        """Those of the rows with one of these keys, at most ``most_keys`` of them.

        ``rows`` are all those that ``scope`` (values by attname) selects of their model.
        """
        return rows.filter(self.is_one_of(key, values))

    def _is_one_of(
        self, field: models.Field[Any, Any], parameters: list[Any]
    ) -> tuple[str, list[Any]]:
        return f"IN ({', '.join(['%s'] * len(parameters))})", parameters

    # Parameters

    def quoted(self, name: str | None) -> str:
        """A table's or column's name as it stands in a statement with parameters."""
        if name not in self._quoted:
            self._quoted[name] = quoted(self.connection, name)
        return self._quoted[name]

    def key_parameters(self, field: models.Field[Any, Any], values: Sequence[Any]) -> list[Any]:
        """The parameters for values of a field that rows are found by."""
        if set(map(type, values)) == {AS_THEY_ARE.get(type(field))}:
            return list(values)
        return [field.get_db_prep_value(value, self.connection) for value in values]

    def save_parameters(
        self, field: models.Field[Any, Any], values: Sequence[Any]
    ) -> Sequence[Any] | None:
        """The parameters for values that are saved, as ``get_db_prep_save`` makes them.

        None where one of them is an expression (a db_default).
        """
        plain = AS_THEY_ARE.get(type(field))
        if plain is not None and set(map(type, values)) <= {plain, NoneType}:
            return values
        if type(field) is models.DateTimeField and set(map(type, values)) <= {datetime, NoneType}:
            return self._moments(values)
        if type(field) is models.JSONField and field.encoder is None:
            documents = self._documents(values)
            if documents is not None:
                return documents
        prepared = [field.get_db_prep_save(value, self.connection) for value in values]
        return None if any(hasattr(value, "as_sql") for value in prepared) else prepared

    def _moments(self, values: Sequence[datetime | None]) -> Sequence[Any]:
        """Values of a DateTimeField already,
        so that only the database's form is left to be made.
        """
        return list(map(self.connection.ops.adapt_datetimefield_value, values))

    def _documents(self, values: Sequence[Any]) -> Sequence[Any] | None:
        """JSON documents; None where the field has to be asked."""
        adapt = type(self.connection.ops).adapt_json_value
        if adapt is not BaseDatabaseOperations.adapt_json_value:
            return None
        return documents_as_dumped(values)

    # Rows written

    def insert(self, table: str, columns: Columns) -> None:
        """Inserts rows that are not there."""
        names = ", ".join(map(self.quoted, columns))
        places = ", ".join(["%s"] * len(columns))
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {self.quoted(table)} ({names}) VALUES ({places})",
                list(zip(*columns.values(), strict=True)),
            )

    def update(self, table: str, columns: Columns) -> None:
        """Sets columns of the rows that the last column, the primary key, names."""
        *assignments, condition = (f"{self.quoted(name)} = %s" for name in columns)
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {self.quoted(table)} SET {', '.join(assignments)} WHERE {condition}",
                list(zip(*columns.values(), strict=True)),
            )

    def remove(self, table: str, key: str, values: Sequence[Any]) -> None:
        """Deletes rows, which nothing points to, by their primary key."""
        size = min(10_000, self.connection.features.max_query_params or 10_000)
        table, key = self.quoted(table), self.quoted(key)
        with self.connection.cursor() as cursor:
            for start in range(0, len(values), size):
                some = values[start : start + size]
                places = ", ".join(["%s"] * len(some))
                cursor.execute(f"DELETE FROM {table} WHERE {key} IN ({places})", some)

    def move_sequence(self, table: str, column: str, largest: int) -> None:
        """Makes sure that the next number which the database gives is beyond ``largest``.

        Most count on from the largest row by themselves.
        """
