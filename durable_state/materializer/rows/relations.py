"""Finds the parents that rows point to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections, models
from msgspec import UNSET

from durable_state.conversion import Refused, convert_key, key_text
from durable_state.models import Stream, entity_digest
from durable_state.registry import EntityMapping

from ..batch.preparation import Prepared
from ..plan import PlannedField, TypePlan, Values
from .rows import READ, chunks

__all__ = [
    "MissingParent",
    "blocking_parents",
    "circles",
    "may_form_circle",
    "parent_digest",
    "resolve_parents",
    "shown_parents",
    "stand_in_for",
]

NOTHING: Sequence[Any] = ()


def parent_digest(mapping: EntityMapping, key: Any) -> str:
    """The name of a parent in ``ParkedChange.waits_for``; the same in all streams that share its
    table.
    """
    if mapping.stream_field is not None:
        return entity_digest(mapping.entity_type, key)
    return entity_digest(f"{mapping.label}.{mapping.key_field}", key)


@dataclass(slots=True)
class MissingParent:
    """A parent that is not shown.

    ``elsewhere``: its table belongs to another stream, whose commits will show it.
    ``tolerated``: the row is shown without it, with NULL or the default as ``on_delete`` says.
    """

    planned: PlannedField
    key: Any
    elsewhere: bool
    tolerated: bool = False

    def __str__(self) -> str:
        return f"{self.planned.name} {self.key!r} is not shown"

    @property
    def entity(self) -> tuple[str, Any]:
        """Its type and key in this stream; the type is empty where its model is not mapped."""
        parent = self.planned.parent
        return ("" if parent is None else parent.entity_type), self.key

    @property
    def digest(self) -> str:
        """Its name in ``ParkedChange.waits_for``; empty where its model is not mapped, so that only
        looking again can tell that it is there.
        """
        parent = self.planned.parent
        return "" if parent is None else parent_digest(parent, self.key)


def circles(plans: Iterable[TypePlan]) -> list[list[TypePlan]]:
    """The types in groups, parents first; types whose foreign keys form a circle share a group.

    Uses Tarjan's algorithm: a group is complete when everything that it points to is.
    """
    every = list(plans)
    by_model: dict[Any, TypePlan] = {plan.mapping.model: plan for plan in every}
    groups: list[list[TypePlan]] = []
    number: dict[TypePlan, int] = {}
    lowest: dict[TypePlan, int] = {}
    path: list[TypePlan] = []

    def visit(plan: TypePlan) -> None:
        number[plan] = lowest[plan] = len(number)
        path.append(plan)
        for planned in plan.relations:
            parent = by_model.get(planned.parent_model)
            if parent is None:
                continue
            if parent not in number:
                visit(parent)
            if parent in path:
                lowest[plan] = min(lowest[plan], lowest[parent])
        if lowest[plan] == number[plan]:
            start = path.index(plan)
            groups.append([each for each in every if each in path[start:]])
            del path[start:]

    for plan in every:
        if plan not in number:
            visit(plan)
    return groups


def may_form_circle(group: Sequence[TypePlan]) -> bool:
    """Whether rows of a group may be each other's parents."""
    return len(group) > 1 or group[0].refers_to_itself


def resolve_parents(
    plan: TypePlan, puts: Sequence[Prepared]
) -> tuple[list[Values], Sequence[Sequence[MissingParent]]]:
    """For each put, its values with parents as their columns hold them, and its missing parents.

    A missing parent that the row can be shown without (SET_NULL, SET_DEFAULT) is ``tolerated``; the
    values have NULL or the default in its place.
    """
    if not plan.relations:
        return [put.values for put in puts], [NOTHING] * len(puts)
    relations = [
        (planned, planned.place, _find(plan, planned, puts), not _is_ours(plan, planned))
        for planned in plan.relations
    ]
    stand_ins: dict[int, StandIn] = {}

    columns: list[Values] = []
    missing: list[Sequence[MissingParent]] = []
    for put in puts:
        values = list(put.values)
        absent: Sequence[MissingParent] = NOTHING
        for planned, place, found, elsewhere in relations:
            key = values[place]
            if key is None or key is UNSET:
                continue
            values[place] = held = found.get(key)
            if held is None:
                if place not in stand_ins:
                    stand_ins[place] = stand_in_for(plan, planned)
                tolerated, values[place] = stand_ins[place]
                absent = [*absent, MissingParent(planned, key, elsewhere, tolerated)]
        columns.append(tuple(values))
        missing.append(absent)
    return columns, missing


def blocking_parents(absent: Sequence[MissingParent]) -> Sequence[MissingParent]:
    """The parents without which the row cannot be shown."""
    return [each for each in absent if not each.tolerated] if absent else NOTHING


StandIn = tuple[bool, Any]
"""Whether a row can be shown without a parent, and what its column holds then."""


def stand_in_for(plan: TypePlan, planned: PlannedField) -> StandIn:
    """What ``on_delete`` has a row of the type hold in place of a parent that is not shown."""
    on_delete = planned.field.remote_field.on_delete  # type: ignore[union-attr]
    if on_delete is models.SET_NULL and planned.field.null:
        return True, None
    if on_delete is not models.SET_DEFAULT:
        return False, None

    default = planned.field.get_default()
    if default is None:
        return planned.field.null, None
    if isinstance(default, models.Model):
        default = getattr(default, planned.field.target_field.attname)  # type: ignore[attr-defined]
    is_there = bool(list(_shown_values(plan, planned, {default})))
    return (True, default) if is_there else (planned.field.null, None)


def _is_ours(plan: TypePlan, planned: PlannedField) -> bool:
    return planned.parent is None or plan.ownership.has(planned.parent)


def _find(plan: TypePlan, planned: PlannedField, puts: Sequence[Prepared]) -> dict[Any, Any]:
    """What the column holds for each parent that the puts name, if it is shown and will stay."""
    wanted: set[Any] = {put.values[planned.place] for put in puts} - {None, UNSET}
    if planned.parent is None:
        return {value: value for value in _shown_values(plan, planned, wanted)}

    target = planned.field.target_field.attname  # type: ignore[attr-defined]
    found = shown_parents(plan.stream, planned.parent, wanted, target)
    if _is_ours(plan, planned):
        for key in plan.prospects.leaving(planned.parent.entity_type, found.keys()):
            del found[key]
    return found


def shown_parents(
    stream: Stream, parent: EntityMapping, keys: Iterable[str], column: str | None = None
) -> dict[str, Any]:
    """The shown ones among the parents, by key, each with its value of ``column`` (default: the
    key's).
    """
    key, using = parent.key, stream.using
    rows = parent.rows(stream, using)
    found: dict[str, Any] = {}
    for chunk in chunks(_convertible(key, keys, using), _keys_per_query(using)):
        pairs = rows.filter(**{f"{key.attname}__in": chunk}).values_list(
            key.attname, column or key.attname
        )
        found.update((key_text(key, key_value), value) for key_value, value in pairs)
    return found


def _shown_values(plan: TypePlan, planned: PlannedField, wanted: set[Any]) -> Iterable[Any]:
    target = planned.field.target_field.attname  # type: ignore[attr-defined]
    assert planned.parent_model is not None
    queryset = planned.parent_model._base_manager.using(plan.using).order_by()
    for chunk in chunks(wanted, _keys_per_query(plan.using)):
        yield from queryset.filter(**{f"{target}__in": chunk}).values_list(target, flat=True)


def _keys_per_query(using: str) -> int:
    most = connections[using].features.max_query_params
    return READ if most is None else min(READ, most - 1)  # one for the stream


def _convertible(parent_key: Any, keys: Iterable[str], using: str) -> list[Any]:
    values = []
    for key in keys:
        try:
            values.append(convert_key(parent_key, key, using))
        except Refused:
            continue  # no row can have that key
    return values
