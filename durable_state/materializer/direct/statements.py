"""Statements that read and write a few rows of a project's table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import models

from durable_state.conversion import Refused, convert_key
from durable_state.databases import Columns, Statement

from ..compiled import PlannedField
from ..plan import TypePlan
from ..rows.columns import insert_columns, update_columns
from ..rows.row import ExistingRow, RowWrite
from .unusual import Unusual

__all__ = [
    "deleting",
    "inserting",
    "reading_parents",
    "reading_rows",
    "updating",
]

Fields = Sequence["models.Field[Any, Any]"]


def reading_rows(plan: TypePlan, key_values: Sequence[Any]) -> Statement:
    """Reads what ``plan.row_reader`` takes, followed by whether each document is NULL."""
    quoted = plan.database.quoted
    are_null = [f"{quoted(planned.field.column)} IS NULL" for planned in plan.documents]
    fields = plan.row_reader.fields
    return _reading(plan, fields, are_null, plan.mapping.key, key_values, plan.scope)


def reading_parents(
    plan: TypePlan, planned: PlannedField, names: Sequence[Any], scope: Mapping[str, Any]
) -> Statement:
    """Reads what ``plan.parent_readers`` take: the parents in ``scope`` that a column names.

    Raises: Unusual, where there can be no such parent.
    """
    fields, parent = plan.parent_readers[planned].fields, planned.parent
    if parent is None:
        return _reading(plan, fields, [], fields[0], names, scope)
    try:
        keys = [convert_key(parent.key, name, plan.using) for name in names]
    except Refused as refused:
        raise Unusual from refused
    return _reading(plan, fields, [], parent.key, keys, scope)


def deleting(plan: TypePlan, rows: Sequence[ExistingRow]) -> Statement:
    """Deletes these rows."""
    database, pk = plan.database, plan.mapping.model._meta.pk
    values = database.key_parameters(pk, [row.pk for row in rows])
    condition = f"{database.quoted(pk.column)} IN ({_places(values)})"
    return f"DELETE FROM {_table(plan, plan.mapping.model)} WHERE {condition}", values


def updating(plan: TypePlan, writes: Sequence[RowWrite]) -> Iterator[Statement]:
    """Sets the mapped columns of existing rows. Raises: Unusual, if only the ORM can."""
    database = plan.database
    columns = _known(update_columns(plan, writes, database))
    *assigned, pk = (f"{database.quoted(name)} = %s" for name in columns)
    sql = f"UPDATE {_table(plan, plan.mapping.model)} SET {', '.join(assigned)} WHERE {pk}"
    for values in zip(*columns.values(), strict=True):
        yield sql, values


def inserting(plan: TypePlan, writes: Sequence[RowWrite]) -> Statement:
    """Inserts new rows. Raises: Unusual, if only the ORM can."""
    database = plan.database
    columns = _known(insert_columns(plan, writes, database))
    names = ", ".join(map(database.quoted, columns))
    row = f"({_places(columns)})"
    values = [value for row in zip(*columns.values(), strict=True) for value in row]
    table = _table(plan, plan.mapping.model)
    return f"INSERT INTO {table} ({names}) VALUES {', '.join([row] * len(writes))}", values


def _reading(
    plan: TypePlan,
    fields: Fields,
    beside: Sequence[str],
    key: models.Field[Any, Any],
    keys: Sequence[Any],
    scope: Mapping[str, Any],
) -> Statement:
    """Reads fields, and expressions ``beside`` them, of the rows in ``scope`` with these keys."""
    database, model = plan.database, key.model
    fields_by_attname = {field.attname: field for field in model._meta.concrete_fields}
    conditions, values = [], []
    for attname, value in scope.items():
        field = fields_by_attname[attname]
        conditions.append(f"{database.quoted(field.column)} = %s")
        values.append(field.get_db_prep_value(value, database.connection))

    parameters = database.key_parameters(key, keys)
    conditions.append(f"{database.quoted(key.column)} IN ({_places(parameters)})")
    columns = [*(database.quoted(field.column) for field in fields), *beside]
    sql = f"SELECT {', '.join(columns)} FROM {_table(plan, model)}"
    return f"{sql} WHERE {' AND '.join(conditions)}", [*values, *parameters]


def _table(plan: TypePlan, model: type[models.Model]) -> str:
    return plan.database.quoted(model._meta.db_table)


def _known(columns: Columns | None) -> Columns:
    if columns is None:
        raise Unusual
    return columns


def _places(values: Any) -> str:
    return ", ".join(["%s"] * len(values))
