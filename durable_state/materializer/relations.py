"""Finding the parents that rows point to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from durable_state.models import entity_digest

from .conversion import Refused, convert_key, key_text
from .plan import PlannedField, TypePlan
from .preparation import Prepared
from .rows import chunks

__all__ = ["MissingParent", "resolve_parents"]


@dataclass(slots=True)
class MissingParent:
    """A parent that is not shown. ``digest`` names it where this stream brings it; it is empty where the application or another
    stream does, so that only looking again tells.
    """

    planned: PlannedField
    key: Any
    digest: str

    def __str__(self) -> str:
        return f"{self.planned.name} {self.key!r} is not shown"


def resolve_parents(plan: TypePlan, puts: Sequence[Prepared]) -> tuple[list[dict[str, Any]], list[list[MissingParent]]]:
    """For each put its column values by attname, with parents as what the column holds, and the parents that are missing."""
    if not plan.relations:
        return [put.values for put in puts], [[]] * len(puts)
    found = {planned.name: _find(plan, planned, puts) for planned in plan.relations}
    columns: list[dict[str, Any]] = []
    missing: list[list[MissingParent]] = []
    for put in puts:
        values: dict[str, Any] = {}
        absent: list[MissingParent] = []
        for name, value in put.values.items():
            planned = plan.by_name[name]
            if not planned.is_relation or value is None:
                values[planned.attname] = value
            elif value in found[name]:
                values[planned.attname] = found[name][value]
            else:
                values[planned.attname] = None
                elsewhere = planned.parent is None or plan.ownership.is_elsewhere(planned.parent)
                digest = "" if elsewhere or planned.parent is None else entity_digest(planned.parent.entity_type, value)
                absent.append(MissingParent(planned, value, digest))
        columns.append(values)
        missing.append(absent)
    return columns, missing


def _find(plan: TypePlan, planned: PlannedField, puts: Sequence[Prepared]) -> dict[Any, Any]:
    """What the column holds for each parent named by the puts that is shown."""
    wanted = {put.values[planned.name] for put in puts if put.values.get(planned.name) is not None}
    target = planned.field.target_field.attname  # type: ignore[attr-defined]
    found: dict[Any, Any] = {}
    if planned.parent is None:
        queryset = planned.field.related_model._base_manager.using(plan.using).order_by()  # type: ignore[union-attr]
        for chunk in chunks(wanted):
            found.update(
                (value, value) for value in queryset.filter(**{f"{target}__in": chunk}).values_list(target, flat=True)
            )
        return found
    parent_key = planned.parent.key
    rows = planned.parent.rows(plan.stream, plan.using)
    for chunk in chunks(_convertible(parent_key, wanted, plan.using)):
        for key_value, value in rows.filter(**{f"{parent_key.attname}__in": chunk}).values_list(
            parent_key.attname, target
        ):
            found[key_text(parent_key, key_value)] = value
    return found


def _convertible(parent_key: Any, keys: set[str], using: str) -> list[Any]:
    values = []
    for key in keys:
        try:
            values.append(convert_key(parent_key, key, using))
        except Refused:
            continue  # no row can have that key
    return values
