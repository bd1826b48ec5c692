"""Writes rows: as columns of parameters in the database's own way, or as instances by the ORM.

Both ways write the same values into the same columns, and raise the same errors in Django's
classes, all in the caller's transaction. The ORM writes what columns cannot express, such as a
field that computes in SQL or in ``pre_save``. Why: decision 18.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import models

from durable_state.databases import Columns, Database, find_database

from ..plan import TypePlan
from .columns import insert_columns, update_columns
from .instances import new_instance
from .row import RowWrite

__all__ = ["insert_rows", "update_rows"]

CASES = 500
"""Rows in one ``bulk_update``, whose statement grows by a CASE for each row and column."""


def insert_rows(plan: TypePlan, writes: Sequence[RowWrite]) -> None:
    """Inserts rows that are not there; the application's own columns get their defaults."""
    database = find_database(plan.using)
    columns: Columns | None = None
    if database.writes_columns:
        columns = insert_columns(plan, writes, database)
    if columns is None:
        _objects(plan).bulk_create([_instance(plan, write) for write in writes])
    else:
        database.insert(plan.mapping.model._meta.db_table, columns)
    _move_sequence(plan, writes, database)


def update_rows(plan: TypePlan, writes: Sequence[RowWrite]) -> None:
    """Updates the mapped columns of rows that are there, found by primary key."""
    database = find_database(plan.using)
    columns: Columns | None = None
    if database.writes_columns:
        columns = update_columns(plan, writes, database)
    if columns is not None:
        database.update(plan.mapping.model._meta.db_table, columns)
    elif names := [planned.name for planned in plan.fields]:
        instances = [_instance(plan, write) for write in writes]
        _objects(plan).bulk_update(instances, names, batch_size=CASES)


def _objects(plan: TypePlan) -> models.QuerySet[models.Model]:
    rows: models.QuerySet[models.Model] = plan.mapping.model._base_manager.using(plan.using)
    return rows


def _instance(plan: TypePlan, write: RowWrite) -> models.Model:
    mapped = dict(zip(plan.places, write.values, strict=True))
    values = {**mapped, plan.mapping.key.attname: write.key_value, **plan.scope}
    if write.existing is not None and not plan.mapping.key.primary_key:
        values["pk"] = write.existing.pk
    return new_instance(plan.mapping.model, values)


def _move_sequence(plan: TypePlan, writes: Sequence[RowWrite], database: Database) -> None:
    """Makes sure that the application's next ``create()`` gets an unused number."""
    key = plan.mapping.key
    if isinstance(key, models.AutoField):
        largest = max(write.key_value for write in writes)
        database.move_sequence(plan.mapping.model._meta.db_table, str(key.column), largest)
