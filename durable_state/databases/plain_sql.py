"""Statements on single rows of this app's own models, and single values, without the ORM."""

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

_PLAIN = {str, int, float, bool, type(None)}
"""Values of our own columns that every driver takes as they are."""


class RowReader:
    """Converts rows that were read without the ORM to what a query set would give.

    ``fields`` are the first columns of the rows. Keep one for each kind of row: it finds the
    converters once for each connection.
    """

    def __init__(self, fields: Sequence[models.Field[Any, Any]]) -> None:
        self.fields = fields

    def read(self, database: Database, rows: Iterable[Row]) -> list[Row]:
        """Converts the rows."""
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
        # Kept on the connection to which they are bound, so that they do not outlive it.
        known: dict[RowReader, Any] = vars(connection).setdefault("_durable_state_readers", {})
        if self not in known:
            # As a query does: a foreign key is converted like its target.
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
    """Inserts a row with these columns, by field name. The database chooses the primary key."""
    says = model, *columns
    if says not in database.texts:
        database.texts[says] = _insert_sql(database, model, columns)
    return database.texts[says], _parameters(database, model, columns)


def updating_row(
    database: Database,
    model: type[models.Model],
    columns: Mapping[str, Any],
    where: Mapping[str, Any],
    returning: str | None = None,
) -> Statement:
    """Sets columns, by field name, of the row that matches ``where``; gives the expression
    ``returning`` of it.
    """
    says = model, *columns, "WHERE", *where, "RETURNING", returning
    if says not in database.texts:
        text = _update_sql(database, model, columns, where)
        database.texts[says] = text if returning is None else f"{text} RETURNING {returning}"
    values = _parameters(database, model, columns)
    return database.texts[says], [*values, *_parameters(database, model, where)]


def _parameters(
    database: Database, model: type[models.Model], columns: Mapping[str, Any]
) -> list[Any]:
    """The parameters for values, by field name. None may be an expression."""
    fields, values = _fields_by_name(model), []
    for name, value in columns.items():
        if type(value) not in _PLAIN:
            parameters = database.save_parameters(fields[name], [value])
            assert parameters is not None
            (value,) = parameters
        values.append(value)
    return values


def _insert_sql(database: Database, model: type[models.Model], names: Iterable[str]) -> str:
    columns = _quoted(database, model, names)
    table, places = database.quoted(model._meta.db_table), ", ".join(["%s"] * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"


def _update_sql(
    database: Database, model: type[models.Model], names: Iterable[str], where: Iterable[str]
) -> str:
    assigned = ", ".join(f"{column} = %s" for column in _quoted(database, model, names))
    compared = " AND ".join(f"{column} = %s" for column in _quoted(database, model, where))
    return f"UPDATE {database.quoted(model._meta.db_table)} SET {assigned} WHERE {compared}"


def _quoted(database: Database, model: type[models.Model], names: Iterable[str]) -> list[str]:
    """The quoted columns of these fields."""
    fields = _fields_by_name(model)
    return [database.quoted(fields[name].column) for name in names]


@cache
def _fields_by_name(model: type[models.Model]) -> dict[str, models.Field[Any, Any]]:
    return {field.name: field for field in model._meta.concrete_fields}


def read_value(connection: Any, sql: str) -> Any:
    """The only value that a statement gives, without anything that watches statements."""
    connection.ensure_connection()
    with connection.wrap_database_errors, closing(connection.create_cursor()) as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
