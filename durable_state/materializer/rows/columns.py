"""Makes the parameters of statements that write rows, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.db import models

from durable_state.conversion.custom_fields import is_computed
from durable_state.databases import Columns, Database

from ..plan import TypePlan
from .row import RowWrite

__all__ = ["insert_columns", "update_columns"]


def insert_columns(
    plan: TypePlan, writes: Sequence[RowWrite], database: Database
) -> Columns | None:
    """All columns of rows to be inserted: key, stream, mapped columns, and the defaults of the
    application's own.

    Columns that the database fills are left out. None where only the ORM can tell what to insert.
    """
    fields = [field for field in plan.mapping.model._meta.concrete_fields if not field.generated]
    kinds: set[type] = set(map(type, fields))
    if not all(map(_saves_plainly, kinds)):
        return None
    mapped = dict(
        zip(plan.places, zip(*(write.values for write in writes), strict=True), strict=True)
    )
    own: models.Model | None = None
    columns: Columns = {}
    for field in fields:
        values: Sequence[Any]
        if field is plan.mapping.key:
            values = [write.key_value for write in writes]
        elif field.attname in mapped:
            values = mapped[field.attname]
        elif field.attname in plan.scope:
            values = [plan.scope[field.attname]]
        elif isinstance(field, models.AutoField) or field.has_db_default():
            continue
        elif field.has_default() and callable(field.default):
            values = [field.get_default() for _ in writes]
        else:
            own = own or plan.mapping.model()
            values = [field.pre_save(own, True)]
        parameters = database.save_parameters(field, values)
        if parameters is None:
            return None
        columns[field.column] = (
            parameters if len(parameters) == len(writes) else [parameters[0]] * len(writes)
        )
    return columns


def update_columns(
    plan: TypePlan, writes: Sequence[RowWrite], database: Database
) -> Columns | None:
    """The mapped columns of rows to be updated, followed by the primary key.

    None where only the ORM can tell what to set.
    """
    key = plan.mapping.model._meta.pk
    if key.column is None:
        return None  # a composite one
    columns: Columns = {}
    of_each = zip(*(write.values for write in writes), strict=True)
    for planned, values in zip(plan.fields, of_each, strict=True):
        parameters = (
            None
            if is_computed(type(planned.field))
            else database.save_parameters(planned.field, values)
        )
        if parameters is None:
            return None
        columns[planned.field.column] = parameters
    pks = database.save_parameters(
        key, [write.existing.pk for write in writes if write.existing is not None]
    )
    if pks is None:
        return None
    columns[key.column] = pks
    return columns


@lru_cache(maxsize=1024)
def _saves_plainly(kind: type[models.Field[Any, Any]]) -> bool:
    """Whether fields of that class save a value as it was given."""
    return not is_computed(kind) and _is_django(kind.pre_save)


def _is_django(method: Any) -> bool:
    return bool(method.__module__.startswith(("django.db.models.", "django.contrib.postgres.")))
