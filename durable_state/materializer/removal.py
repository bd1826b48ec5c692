"""Deleting rows, and what becomes of the rows that point to them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from django.db import connections, models, transaction
from django.db.models.deletion import Collector, ProtectedError, RestrictedError, get_candidate_relations_to_delete

from durable_state.models import ParkedChange, TableOwner, entity_digest
from durable_state.registry import registry
from durable_state.registry.represent import represent_value

from .conversion import key_text
from .outcome import Outcome
from .parking import Parking, ParkingLot
from .plan import PlannedField, StreamPlan, TypePlan
from .preparation import Prepared, to_bytes
from .relations import MissingParent
from .rows import chunks

__all__ = ["Removal"]

Changes = list[tuple[str, str, bool]]
"""(type, key, whether the row was deleted)."""


class Removal:
    """Deletes rows of one stream.

    Mapped children that the stream still holds are parked, or shown without their parent where the foreign key says SET_NULL. Rows
    outside the mappings follow ``on_delete``; one that protects its parent keeps the row from going. No model signals are sent.
    """

    def __init__(self, plans: StreamPlan, lot: ParkingLot, outcome: Outcome) -> None:
        self._plans = plans
        self._lot = lot
        self._outcome = outcome

    def remove(self, plan: TypePlan, key_values: Iterable[Any]) -> dict[str, str]:
        """Deletes the rows with these keys, where they are; returns the keys that could not go, with the reason."""
        key = plan.mapping.key
        refused: dict[str, str] = {}
        for chunk in chunks(key_values):
            found = plan.rows().filter(**{f"{key.attname}__in": chunk}).values_list("pk", key.attname)
            # MySQL finds "a" for "a " where the column's collation pads.
            wanted = {key_text(key, value) for value in chunk}
            keys = {pk: text for pk, value in found if (text := key_text(key, value)) in wanted}
            made: Changes = []
            refused |= self._remove(plan, keys, made)
            for entity_type, changed, deleted in made:
                self._outcome.changed(entity_type, changed, deleted=deleted)
        return refused

    def _remove(self, plan: TypePlan, keys: dict[Any, str], made: Changes) -> dict[str, str]:
        """Deletes rows by primary key, halving where one of them must stay; what was done is added to ``made``."""
        if not keys:
            return {}
        changes: Changes = []
        try:
            with transaction.atomic(using=plan.using):
                self._release_children(plan, keys, changes)
                rows = plan.mapping.model._base_manager.using(plan.using).filter(pk__in=list(keys))
                self._follow_outside(plan, rows)
                with _unordered(plan):
                    rows._raw_delete(plan.using)
        except (ProtectedError, RestrictedError) as error:
            if len(keys) == 1:
                return {key: str(error.args[0]) for key in keys.values()}
            pks = list(keys)
            halves = pks[: len(pks) // 2], pks[len(pks) // 2 :]
            first, second = ({pk: keys[pk] for pk in half} for half in halves)
            return self._remove(plan, first, made) | self._remove(plan, second, made)
        made += changes
        made += [(plan.type, key, True) for key in keys.values()]
        return {}

    def whole(self, plan: TypePlan, pks: list[Any]) -> dict[str, bytes]:
        """All that is known of shown entities, by key: their rows, and the parents that they are shown without."""
        found: dict[str, bytes] = {}
        for chunk in chunks(pks):
            names = [relation.name for relation in plan.relations if relation.parent is not None]
            rows = plan.rows().filter(pk__in=chunk).select_related(*names)
            by_key = {key_text(plan.mapping.key, getattr(row, plan.mapping.key.attname)): row for row in rows}
            parked = self._lot.of(plan.digest(key) for key in by_key)
            for key, row in by_key.items():
                prepared = _prepared(plan, row, parked.get(plan.digest(key)))
                found[key] = to_bytes(prepared)
        return found

    def _release_children(self, plan: TypePlan, keys: dict[Any, str], made: Changes) -> None:
        for child, planned in self._plans.children(plan):
            parents = _targets(plan, planned, keys)
            rows = list(
                child.rows()
                .filter(**{f"{planned.attname}__in": list(parents)})
                .select_related(*(relation.name for relation in child.relations if relation.parent is not None))
            )
            if child is plan:
                rows = [row for row in rows if row.pk not in keys]
            if not rows:
                continue
            keep = planned.field.remote_field.on_delete is models.SET_NULL  # type: ignore[union-attr]
            child_keys = {row.pk: key_text(child.mapping.key, getattr(row, child.mapping.key.attname)) for row in rows}
            parked = self._lot.of(child.digest(key) for key in child_keys.values())
            self._lot.park(
                [
                    _parking(
                        child, planned, row, parents, parked.get(child.digest(child_keys[row.pk])), hidden=not keep
                    )
                    for row in rows
                ]
            )
            if not keep:
                if refused := self._remove(child, child_keys, made):
                    raise ProtectedError(next(iter(refused.values())), set())
                continue
            for chunk in chunks(child_keys):
                child.rows().filter(pk__in=chunk).update(**{planned.attname: None})
            made += [(child.type, key, False) for key in child_keys.values()]

    def _follow_outside(self, plan: TypePlan, rows: models.QuerySet[models.Model]) -> None:
        mapped = {(child.mapping.model, planned.name): child for child, planned in self._plans.children(plan)}
        collector = Collector(using=plan.using, origin=rows)
        relations: Iterable[Any] = get_candidate_relations_to_delete(plan.mapping.model._meta)
        for relation in relations:
            on_delete = relation.on_delete
            if on_delete is models.DO_NOTHING and not relation.field.db_constraint:
                continue
            outside = relation.related_model._base_manager.using(plan.using).filter(
                **{f"{relation.field.name}__in": rows}
            )
            child = mapped.get((relation.related_model, relation.field.name))
            if child is not None:
                if not child.scope:
                    continue
                outside = outside.exclude(**child.scope)
            if not outside.exists():
                continue
            label = relation.related_model._meta.label
            if on_delete in (models.RESTRICT, models.DO_NOTHING):
                raise RestrictedError(f"{label} rows point to it ({on_delete.__name__}).", set())
            if _other_streams_rows(relation, outside, plan.using).exists():
                raise RestrictedError(f"{label} rows of another stream point to it.", set())
            on_delete(collector, relation.field, outside, plan.using)
        collector.delete()


def _other_streams_rows(relation: Any, outside: models.QuerySet[Any], using: str) -> models.QuerySet[Any]:
    """Those of the rows that another stream keeps: cascading would take them away behind that stream's back."""
    for mapping in registry.for_model(relation.related_model):
        if relation.field in mapping.mapped_fields:
            if mapping.stream_field is not None:
                return outside.filter(**{f"{mapping.stream_field}__isnull": False})
            if TableOwner.objects.using(using).filter(model=mapping.label).exists():
                return outside
    return outside.none()


def _unordered(plan: TypePlan) -> Any:
    """MySQL checks each row of a DELETE by itself, also where the rows that point to it go in the same statement."""
    return connections[plan.using].constraint_checks_disabled() if plan.refers_to_itself else nullcontext()


def _targets(plan: TypePlan, planned: PlannedField, keys: dict[Any, str]) -> dict[Any, str]:
    """The column values by which children name these parents, with the parents' keys."""
    target = planned.field.target_field  # type: ignore[attr-defined]
    if target.primary_key:
        return keys
    found = {}
    for chunk in chunks(keys):
        rows = plan.mapping.model._base_manager.using(plan.using).filter(pk__in=chunk)
        found.update({value: keys[pk] for pk, value in rows.values_list("pk", target.attname)})
    return found


def _parking(
    child: TypePlan,
    planned: PlannedField,
    row: models.Model,
    parents: dict[Any, str],
    parked: ParkedChange | None,
    *,
    hidden: bool,
) -> Parking:
    parent_key = parents[getattr(row, planned.attname)]
    digest = "" if planned.parent is None else entity_digest(planned.parent.entity_type, parent_key)
    return Parking(
        child, _prepared(child, row, parked), "parent", str(MissingParent(planned, parent_key, digest)), digest, hidden
    )


def _prepared(plan: TypePlan, row: models.Model, parked: ParkedChange | None) -> Prepared:
    """What a row says, as a change would have said it."""
    key_value = getattr(row, plan.mapping.key.attname)
    raw = {planned.name: _raw(plan, planned, row) for planned in plan.fields}
    if parked is not None:  # it is shown without another parent already, which must not be forgotten
        raw |= {name: value for name, value in plan.decode(bytes(parked.prepared)).items() if raw.get(name) is None}
    ordinal = parked.ordinal if parked is not None else 0
    return Prepared(key_text(plan.mapping.key, key_value), key_value, ordinal, raw, {}, True, b"")


def _raw(plan: TypePlan, planned: PlannedField, row: models.Model) -> Any:
    """``represent_value``, but with the parent's key as the mapping that serves this stream names it."""
    if planned.parent is None:
        return represent_value(plan.mapping, row, planned.name)
    parent = getattr(row, planned.name)
    return None if parent is None else key_text(planned.parent.key, getattr(parent, planned.parent.key.attname))
