"""Statements about single rows of this app's own models, or single values, without the ORM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from functools import cache
from typing import Any

from django.db import models

from .database import Database
from .together import Statement

__all__ = ["RowReader", "inserting_row", "read_value", "updating_row"]

Row = tuple[Any, ...]


class RowReader:
    """Makes of rows that were read without the ORM what a query set would give.

    ``fields`` are the first columns of the rows. One for each way of reading, kept for good: what
    is to be done is found out once for each connection.
    """

    def __init__(self, fields: Sequence[models.Field[Any, Any]]) -> None:
        self.fields = fields

    def read(self, database: Database, rows: Iterable[Row]) -> list[Row]:
        """The rows with the values of the fields."""
        connection = database.connection
        converters = self._converters(connection)
        if not converters:
            return list(rows)

        converted = []
        for row in rows:
            values = list(row)
            for place, convert, column in converters:
                values[place] = convert(values[place], column, connection)
            converted.append(tuple(values))
        return converted

    def _converters(self, connection: Any) -> Sequence[tuple[int, Any, Any]]:
        # With the connection, to which they are bound: kept here, they would keep it.
        known: dict[RowReader, Any] = vars(connection).setdefault("_durable_state_readers", {})
        if self not in known:
            # As a query asks for it: a foreign key's values are its target's.
            columns = [field.get_col(field.model._meta.db_table) for field in self.fields]
            known[self] = [
                (place, convert, column)
                for place, column in enumerate(columns)
                for convert in _converters_of(column, connection)
            ]
        return known[self]  # type: ignore[no-any-return]


def _converters_of(column: Any, connection: Any) -> list[Any]:
    backends = connection.ops.get_db_converters(column)
    return [*backends, *column.get_db_converters(connection)]


def inserting_row(
    database: Database, model: type[models.Model], columns: Mapping[str, Any]
) -> Statement:
    """Inserts a row of these columns, given by field name; the database gives its primary key."""
    names, values = _columns(database, model, columns)
    places = ", ".join(["%s"] * len(names))
    table = database.quoted(model._meta.db_table)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})", values


def updating_row(
    database: Database,
    model: type[models.Model],
    columns: Mapping[str, Any],
    where: Mapping[str, Any],
) -> Statement:
    """Sets columns, given by field name, of the row that has the values of ``where``."""
    names, values = _columns(database, model, columns)
    compared, sought = _columns(database, model, where)
    assignments = ", ".join(f"{name} = %s" for name in names)
    conditions = " AND ".join(f"{name} = %s" for name in compared)
    table = database.quoted(model._meta.db_table)
    return f"UPDATE {table} SET {assignments} WHERE {conditions}", [*values, *sought]


def _columns(
    database: Database, model: type[models.Model], columns: Mapping[str, Any]
) -> tuple[list[str], list[Any]]:
    """The columns' names, quoted, and their parameters. None may be an expression."""
    fields = _fields_by_name(model)
    names, values = [], []
    for name, value in columns.items():
        field = fields[name]
        names.append(database.quoted(field.column))
        parameters = database.save_parameters(field, [value])
        assert parameters is not None
        values.append(parameters[0])
    return names, values


@cache
def _fields_by_name(model: type[models.Model]) -> dict[str, models.Field[Any, Any]]:
    return {field.name: field for field in model._meta.concrete_fields}


def read_value(connection: Any, sql: str) -> Any:
    """The one value that a statement of ours gives, past whatever watches statements."""
    connection.ensure_connection()
    with connection.wrap_database_errors, closing(connection.create_cursor()) as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
