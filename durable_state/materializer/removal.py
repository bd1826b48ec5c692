"""Deleting rows, and what becomes of the rows that point to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections, models, transaction
from django.db.models.deletion import Collector, ProtectedError, RestrictedError, get_candidate_relations_to_delete

from durable_state.models import ParkedChange, entity_digest
from durable_state.registry.represent import represent_value

from .conversion import key_text
from .outcome import Outcome
from .parking import Parking, ParkingLot
from .plan import PlannedField, StreamPlan, TypePlan
from .preparation import Prepared
from .relations import MissingParent
from .rows import chunks

__all__ = ["Removal"]


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
            refused |= self._remove(plan, {pk: text for pk, value in found if (text := key_text(key, value)) in wanted})
        return refused

    def _remove(self, plan: TypePlan, keys: dict[Any, str]) -> dict[str, str]:
        if not keys:
            return {}
        changes = dict(self._outcome.changes)
        try:
            with transaction.atomic(using=plan.using):
                self._release_children(plan, keys)
                rows = plan.mapping.model._base_manager.using(plan.using).filter(pk__in=list(keys))
                self._follow_outside(plan, rows)
                if plan.refers_to_itself and not connections[plan.using].features.can_defer_constraint_checks:
                    self._let_go_of_each_other(plan, rows)
                rows._raw_delete(plan.using)
        except (ProtectedError, RestrictedError) as error:
            self._outcome.changes = changes
            if len(keys) == 1:
                return {key: str(error.args[0]) for key in keys.values()}
            pks = list(keys)
            halves = pks[: len(pks) // 2], pks[len(pks) // 2 :]
            return self._remove(plan, {pk: keys[pk] for pk in halves[0]}) | self._remove(
                plan, {pk: keys[pk] for pk in halves[1]}
            )
        for key in keys.values():
            self._outcome.changed(plan.type, key, deleted=True)
        return {}

    def _let_go_of_each_other(self, plan: TypePlan, rows: models.QuerySet[models.Model]) -> None:
        """MySQL checks foreign keys row by row: rows that go together must not point to each other any more."""
        links = [planned.attname for planned in plan.relations if planned.field.null]
        rows.update(**dict.fromkeys(links))

    def _release_children(self, plan: TypePlan, keys: dict[Any, str]) -> None:
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
                if refused := self._remove(child, child_keys):
                    raise ProtectedError(next(iter(refused.values())), set())
                continue
            for chunk in chunks(child_keys):
                child.rows().filter(pk__in=chunk).update(**{planned.attname: None})
            for key in child_keys.values():
                self._outcome.changed(child.type, key, deleted=False)

    def _follow_outside(self, plan: TypePlan, rows: models.QuerySet[models.Model]) -> None:
        mapped = {(child.mapping.model, planned.name): child for child, planned in self._plans.children(plan)}
        collector = Collector(using=plan.using, origin=rows)
        relations: Iterable[Any] = get_candidate_relations_to_delete(plan.mapping.model._meta)
        for relation in relations:
            on_delete = relation.on_delete
            if on_delete is models.DO_NOTHING:
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
            if on_delete is models.RESTRICT:
                raise RestrictedError(
                    f"{relation.related_model._meta.label} rows point to it (RESTRICT).", set(outside)
                )
            on_delete(collector, relation.field, outside, plan.using)
        collector.delete()


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
    key_value = getattr(row, child.mapping.key.attname)
    raw = {relation.name: represent_value(child.mapping, row, relation.name) for relation in child.fields}
    if parked is not None:  # it is shown without another parent already, which must not be forgotten
        raw |= {name: value for name, value in child.decode(bytes(parked.prepared)).items() if raw.get(name) is None}
    parent_key = parents[getattr(row, planned.attname)]
    digest = "" if planned.parent is None else entity_digest(planned.parent.entity_type, parent_key)
    ordinal = parked.ordinal if parked is not None else 0
    prepared = Prepared(key_text(child.mapping.key, key_value), key_value, ordinal, raw, {}, complete=True)
    return Parking(child, prepared, "parent", str(MissingParent(planned, parent_key, digest)), digest, hidden)
