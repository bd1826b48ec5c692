"""Turns a shown row back into a change, in case its entity has to be parked."""

from __future__ import annotations

from typing import Any

from django.db import models
from msgspec import UNSET

from durable_state.conversion import key_text
from durable_state.models import ParkedChange

from ..batch.preparation import Prepared
from ..plan import PlannedField, TypePlan

__all__ = ["prepared_from_row", "with_parents"]


def with_parents(
    plan: TypePlan, queryset: models.QuerySet[models.Model]
) -> models.QuerySet[models.Model]:
    """The rows with the parents that the stream's mappings name."""
    names = [relation.name for relation in plan.relations if relation.parent is not None]
    return queryset.select_related(*names) if names else queryset


def prepared_from_row(plan: TypePlan, row: models.Model, parked: ParkedChange | None) -> Prepared:
    """The change that would have made the row."""
    key_value = getattr(row, plan.mapping.key.attname)
    if parked is not None:  # it is shown without a parent that it must not forget
        raw = plan.decode(bytes(parked.prepared))
        ordinal = parked.ordinal
    else:
        raw = {planned.name: _raw(plan, planned, row) for planned in plan.fields}
        ordinal = 0
    in_order = tuple(raw.get(planned.name, UNSET) for planned in plan.fields)
    return Prepared(
        key_text(plan.mapping.key, key_value), key_value, ordinal, in_order, (), True, b""
    )


def _raw(plan: TypePlan, planned: PlannedField, row: models.Model) -> Any:
    """A field as ``represent`` shows it, a parent by the key that this stream names it by."""
    if planned.parent is None:
        return plan.mapping.represent_field(row, planned.name)
    parent = getattr(row, planned.name)
    return None if parent is None else planned.parent.key_of(parent)
