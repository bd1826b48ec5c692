"""Deleting rows, and what becomes of the rows that point to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

from django.db import connections, models, transaction
from django.db.models.deletion import (
    Collector,
    ProtectedError,
    RestrictedError,
    get_candidate_relations_to_delete,
)

from durable_state.models import ParkedChange, Stream, TableOwner
from durable_state.registry import registry
from durable_state.registry.represent import represent_value

from .conversion import key_text
from .motion import Motion
from .outcome import Outcome
from .parking import Parking, ParkingLot
from .plan import PlannedField, StreamPlan, TypePlan
from .preparation import Prepared, to_bytes
from .relations import MissingParent, circles, turns
from .rows import chunks, is_one_of, most_keys, rows_with

__all__ = ["Removal", "remove_rows"]

Rows = dict[Any, str]
"""Keys by primary key."""

PAGE = 500
"""Children that are in memory at once; of a circle only their keys stay there till all that go together are known."""


class Removal:
    """Deletes rows of one stream.

    Mapped children that the stream still holds are parked, or shown without their parent where the foreign key says SET_NULL. Rows
    outside the mappings follow ``on_delete``; one that protects its parent keeps the row from going. No model signals are sent.
    ``for_good``: mapped children go with their parents, and nothing is parked.
    """

    def __init__(
        self,
        plans: StreamPlan,
        lot: ParkingLot,
        motion: Motion,
        outcome: Outcome,
        *,
        for_good: bool = False,
    ) -> None:
        self.removed = 0
        self._for_good = for_good
        self._plans = plans
        self._lot = lot
        self._motion = motion
        self._outcome = outcome

    def remove(self, plan: TypePlan, key_values: Iterable[Any]) -> dict[str, str]:
        """Deletes the rows with these keys, where they are; returns the keys that could not go, with the reason."""
        key = plan.mapping.key
        refused: dict[str, str] = {}
        for chunk in chunks(key_values, most_keys(plan, key)):
            found = rows_with(plan, chunk).values_list("pk", key.attname)
            # MySQL finds "a" for "a " where the column's collation pads.
            wanted = {key_text(key, value) for value in chunk}
            rows = {pk: text for pk, value in found if (text := key_text(key, value)) in wanted}
            refused |= self._remove(plan, rows, self._outcome)
        return refused

    def remove_everything(self) -> None:
        """Deletes all rows of the stream, children first. Raises: ProtectedError, RestrictedError, where a row outside does not let go."""
        for plan in reversed(self._plans.all()):
            key = plan.mapping.key
            while found := dict(plan.rows().order_by("pk").values_list("pk", key.attname)[:PAGE]):
                self._remove_all(
                    plan, {pk: key_text(key, value) for pk, value in found.items()}, self._outcome
                )

    def _remove(self, plan: TypePlan, rows: Rows, made: Outcome) -> dict[str, str]:
        """Deletes rows, halving where one of them must stay; what was done is added to ``made``."""
        if not rows:
            return {}
        changes = Outcome(made.listed)
        try:
            with transaction.atomic(using=plan.using):
                self._remove_all(plan, rows, changes)
        except (ProtectedError, RestrictedError) as error:
            if len(rows) == 1:
                return {key: str(error.args[0]) for key in rows.values()}
            pks = list(rows)
            halves = pks[: len(pks) // 2], pks[len(pks) // 2 :]
            first, second = ({pk: rows[pk] for pk in half} for half in halves)
            return self._remove(plan, first, made) | self._remove(plan, second, made)
        made.take_changes(changes)
        return {}

    def _remove_all(self, plan: TypePlan, rows: Rows, made: Outcome) -> None:
        """Deletes rows and what hangs on them. Raises: ProtectedError, RestrictedError."""
        circle = next((group for group in circles(self._plans.all()) if plan in group), [plan])
        # Rows of the circle are deleted when all that go with them are known: they may point to each other.
        going: dict[TypePlan, Rows] = {each: {} for each in circle}
        going[plan] |= rows
        left = [(plan, rows)]
        while left:
            parent, parents = left.pop()
            for child, planned in self._plans.children(parent):
                for page in self._children(
                    child, planned, parents, parent, going.get(child, {}), made
                ):
                    if child in going:
                        going[child] |= page
                        left.append((child, page))
                    elif refused := self._remove(child, page, made):
                        raise ProtectedError(next(iter(refused.values())), set())
        # MySQL checks each row of a DELETE by itself, also where the rows that point to it go too.
        checks = (
            connections[plan.using].constraint_checks_disabled if turns(circle) else nullcontext
        )
        for each in reversed(circle):
            rows_of_type, pk = (
                each.mapping.model._base_manager.using(plan.using),
                each.mapping.model._meta.pk,
            )
            for chunk in chunks(going[each], most_keys(each, pk)):
                rows_to_go = rows_of_type.filter(is_one_of(each, pk, chunk))
                self._follow_outside(each, rows_to_go)
                with checks():
                    rows_to_go._raw_delete(plan.using)
            made.changed(each.type, going[each].values(), deleted=True)
            if going[each]:
                self.removed += len(going[each])
                self._motion.freed(each, going[each].values())

    def _children(
        self,
        child: TypePlan,
        planned: PlannedField,
        parents: Rows,
        parent: TypePlan,
        going: Rows,
        made: Outcome,
    ) -> Iterator[Rows]:
        """Parks the children of leaving parents, page by page, and yields those that have to go; the others are shown without."""
        keep = planned.field.remote_field.on_delete is models.SET_NULL  # type: ignore[union-attr]
        targets = _targets(parent, planned, parents)
        for chunk in chunks(targets):
            last = None
            while True:
                queryset = child.rows().filter(**{f"{planned.attname}__in": chunk}).order_by("pk")
                if last is not None:
                    queryset = queryset.filter(pk__gt=last)
                found = list(_with_parents(child, queryset)[:PAGE])
                if not found:
                    break
                last = found[-1].pk
                rows = [row for row in found if row.pk not in going]
                keys = {
                    row.pk: key_text(child.mapping.key, getattr(row, child.mapping.key.attname))
                    for row in rows
                }
                if self._for_good:
                    yield keys
                    continue
                parked = self._lot.of(child.digest(key) for key in keys.values())
                with_parked = [(row, parked.get(child.digest(keys[row.pk]))) for row in rows]
                self._lot.park(
                    Parking(
                        child,
                        _prepared(child, row, held),
                        MissingParent(
                            planned, targets[getattr(row, planned.attname)], elsewhere=False
                        ),
                        hidden=not keep,
                    )
                    for row, held in with_parked
                    if held is None
                    or not held.hidden  # else a newer change waits, and only the old row could not go
                )
                if not keep:
                    yield keys
                    continue
                for some in chunks(keys):
                    child.rows().filter(pk__in=some).update(**{planned.attname: None})
                made.changed(child.type, keys.values(), deleted=False)
                self._motion.freed(child, keys.values())

    def whole(self, plan: TypePlan, pks: list[Any]) -> dict[str, bytes]:
        """All that is known of shown entities, by key: their rows, and the parents that they are shown without."""
        found: dict[str, bytes] = {}
        for chunk in chunks(pks):
            rows = _with_parents(plan, plan.rows().filter(pk__in=chunk))
            by_key = {
                key_text(plan.mapping.key, getattr(row, plan.mapping.key.attname)): row
                for row in rows
            }
            parked = self._lot.of(plan.digest(key) for key in by_key)
            for key, row in by_key.items():
                prepared = _prepared(plan, row, parked.get(plan.digest(key)))
                found[key] = to_bytes(plan, prepared)
        return found

    def _follow_outside(self, plan: TypePlan, rows: models.QuerySet[models.Model]) -> None:
        relations: list[Any] = list(get_candidate_relations_to_delete(plan.mapping.model._meta))
        if not relations:
            return
        mapped = {
            (child.mapping.model, planned.name): child
            for child, planned in self._plans.children(plan)
        }
        collector = Collector(using=plan.using, origin=rows)
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


def remove_rows(stream: Stream) -> int:
    """Deletes all rows that a stream has, and returns how many. Raises: ProtectedError, RestrictedError."""
    plans = StreamPlan(stream)
    removal = Removal(plans, ParkingLot(stream), Motion(plans), Outcome(0), for_good=True)
    removal.remove_everything()
    return removal.removed


def _other_streams_rows(
    relation: Any, outside: models.QuerySet[Any], using: str
) -> models.QuerySet[Any]:
    """Those of the rows that another stream keeps: cascading would take them away behind that stream's back."""
    for mapping in registry.for_model(relation.related_model):
        if relation.field in mapping.mapped_fields:
            if mapping.stream_field is not None:
                return outside.filter(**{f"{mapping.stream_field}__isnull": False})
            if TableOwner.objects.using(using).filter(model=mapping.label).exists():
                return outside
    return outside.none()


def _targets(plan: TypePlan, planned: PlannedField, keys: Rows) -> Rows:
    """The column values by which children name these parents, with the parents' keys."""
    target = planned.field.target_field  # type: ignore[attr-defined]
    if target.primary_key:
        return keys
    found = {}
    for chunk in chunks(keys):
        rows = plan.mapping.model._base_manager.using(plan.using).filter(pk__in=chunk)
        found.update({value: keys[pk] for pk, value in rows.values_list("pk", target.attname)})
    return found


def _with_parents(
    plan: TypePlan, queryset: models.QuerySet[models.Model]
) -> models.QuerySet[models.Model]:
    names = [relation.name for relation in plan.relations if relation.parent is not None]
    return queryset.select_related(*names) if names else queryset


def _prepared(plan: TypePlan, row: models.Model, parked: ParkedChange | None) -> Prepared:
    """What a row says, as a change would have said it."""
    key_value = getattr(row, plan.mapping.key.attname)
    raw = {planned.name: _raw(plan, planned, row) for planned in plan.fields}
    if (
        parked is not None
    ):  # it is shown without another parent already, which must not be forgotten
        raw |= {
            name: value
            for name, value in plan.decode(bytes(parked.prepared)).items()
            if raw.get(name) is None
        }
    ordinal = parked.ordinal if parked is not None else 0
    in_order = tuple(raw[planned.name] for planned in plan.fields)
    return Prepared(
        key_text(plan.mapping.key, key_value), key_value, ordinal, in_order, (), True, b""
    )


def _raw(plan: TypePlan, planned: PlannedField, row: models.Model) -> Any:
    """``represent_value``, but with the parent's key as the mapping that serves this stream names it."""
    if planned.parent is None:
        return represent_value(plan.mapping, row, planned.name)
    parent = getattr(row, planned.name)
    return (
        None
        if parent is None
        else key_text(planned.parent.key, getattr(parent, planned.parent.key.attname))
    )
