"""The plain-ORM writer: it works on every database and with every field."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connections, models

from ...plan import TypePlan
from .columns import Columns
from .instances import new_instance
from .row import RowWrite

__all__ = ["OrmWriter"]

CASES = 500
"""Rows in one ``bulk_update``, whose statement grows by a CASE for each row and column."""

KEYS = 10_000
"""Primary keys in one statement, where the database takes as many parameters."""


class OrmWriter:
    """Writes through ``bulk_create`` and ``bulk_update``."""

    def __init__(self, using: str) -> None:
        self._using = using

    def insert(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Inserts rows that are not there."""
        self._rows(plan).bulk_create([_instance(plan, write) for write in writes])

    def update(self, plan: TypePlan, writes: Sequence[RowWrite]) -> None:
        """Sets the mapped columns of rows that are there."""
        names = [planned.name for planned in plan.fields]
        if names:
            self._rows(plan).bulk_update(
                [_instance(plan, write) for write in writes], names, batch_size=CASES
            )

    def store(self, model: type[models.Model], columns: Columns) -> None:
        """Inserts rows of a model of this app."""
        names = [
            name for name in columns if name is not None
        ]  # of our own models, which name columns as attributes
        rows = zip(*columns.values(), strict=True)
        model._base_manager.using(self._using).bulk_create(
            [model(**dict(zip(names, row, strict=True))) for row in rows]
        )

    def replace(self, model: type[models.Model], columns: Columns) -> None:
        """Sets columns of rows of a model of this app, found by the last column."""
        names = [name for name in columns if name is not None]
        rows = zip(*columns.values(), strict=True)
        model._base_manager.using(self._using).bulk_update(
            [model(**dict(zip(names, row, strict=True))) for row in rows],
            names[:-1],
            batch_size=CASES,
        )

    def remove(self, model: type[models.Model], pks: Sequence[int]) -> None:
        """Deletes rows of a model of this app."""
        size = min(KEYS, connections[self._using].features.max_query_params or KEYS)
        for start in range(0, len(pks), size):
            some = model._base_manager.using(self._using).filter(pk__in=pks[start : start + size])
            some._raw_delete(self._using)

    def _rows(self, plan: TypePlan) -> models.QuerySet[models.Model]:
        rows: models.QuerySet[models.Model] = plan.mapping.model._base_manager.using(self._using)
        return rows


def _instance(plan: TypePlan, write: RowWrite) -> models.Model:
    mapped = dict(zip(plan.places, write.values, strict=True))
    values = {**mapped, plan.mapping.key.attname: write.key_value, **plan.scope}
    if write.existing is not None and not plan.mapping.key.primary_key:
        values["pk"] = write.existing.pk
    return new_instance(plan.mapping.model, values)
