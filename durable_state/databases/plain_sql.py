"""Statements about single rows of this app's own models, made without the ORM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connections, models

from .choosing import find_database
from .together import Statement

__all__ = ["as_django_reads", "inserting_row", "updating_row"]

Row = tuple[Any, ...]


def as_django_reads(
    using: str, fields: Sequence[models.Field[Any, Any]], rows: Iterable[Row]
) -> list[Row]:
    """The rows with the values of ``fields``, their first columns, as a query set gives them."""
    connection = connections[using]
    converters = []
    for place, field in enumerate(fields):
        column = field.cached_col
        found = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
        converters += [(place, convert, column) for convert in found]
    if not converters:
        return list(rows)

    converted = []
    for row in rows:
        values = list(row)
        for place, convert, column in converters:
            values[place] = convert(values[place], column, connection)
        converted.append(tuple(values))
    return converted


def inserting_row(using: str, model: type[models.Model], columns: Mapping[str, Any]) -> Statement:
    """Inserts a row of these columns, given by field name; the database gives its primary key."""
    database = find_database(using)
    fields = {field.name: field for field in model._meta.concrete_fields}
    names = ", ".join(database.quoted(fields[name].column) for name in columns)
    places = ", ".join(["%s"] * len(columns))
    values = [
        fields[name].get_db_prep_save(value, database.connection) for name, value in columns.items()
    ]
    return (
        f"INSERT INTO {database.quoted(model._meta.db_table)} ({names}) VALUES ({places})",
        values,
    )


def updating_row(
    using: str,
    model: type[models.Model],
    columns: Mapping[str, Any],
    where: Mapping[str, Any],
) -> Statement:
    """Sets columns, given by field name, of the row that has the values of ``where``."""
    database, values = find_database(using), []
    fields = {field.name: field for field in model._meta.concrete_fields}

    def equations(named: Mapping[str, Any]) -> list[str]:
        for name, value in named.items():
            values.append(fields[name].get_db_prep_save(value, database.connection))
        return [f"{database.quoted(fields[name].column)} = %s" for name in named]

    assignments, conditions = ", ".join(equations(columns)), " AND ".join(equations(where))
    table = database.quoted(model._meta.db_table)
    return f"UPDATE {table} SET {assignments} WHERE {conditions}", values
