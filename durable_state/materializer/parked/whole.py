"""Reads everything that is known of shown entities, in case they have to be parked."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.deletion import ProtectedError

from ..batch.preparation import to_bytes
from ..plan import TypePlan
from ..rows.from_rows import prepared_from_row, with_parents
from ..rows.instances import read_instances
from ..rows.rows import chunks
from .lot import ParkingLot

__all__ = ["whole_entities"]


def whole_entities(lot: ParkingLot, plan: TypePlan, pks: list[Any]) -> dict[str, bytes]:
    """Everything known of shown entities, by key: their rows, and parents they are shown without.

    Leaves out an entity whose row a field cannot read.
    """
    found: dict[str, bytes] = {}
    for chunk in chunks(pks):
        rows = _read_what_can_be(with_parents(plan, plan.rows()), chunk)
        by_key = {plan.mapping.key_of(row): row for row in rows}
        parked = lot.find(plan.digest(key) for key in by_key)
        for key, row in by_key.items():
            prepared = prepared_from_row(plan, row, parked.get(plan.digest(key)))
            found[key] = to_bytes(plan, prepared)
    return found


def _read_what_can_be(rows: models.QuerySet[models.Model], pks: list[Any]) -> list[models.Model]:
    """The rows with these primary keys, except for those that a field cannot read."""
    try:
        return read_instances(rows.filter(pk__in=pks))
    except ProtectedError:
        if len(pks) == 1:
            return []
    middle = len(pks) // 2
    return _read_what_can_be(rows, pks[:middle]) + _read_what_can_be(rows, pks[middle:])
