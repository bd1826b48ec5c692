"""The shown rows: where changes go when nothing is being staged."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from django.db import models
from msgspec import UNSET

from durable_state.protocol import Operation

from .compaction import Entity, fold_entity
from .conversion import Refused
from .crossing import meet
from .letters import Found
from .motion import Motion
from .outcome import Outcome
from .parking import ParkingLot
from .placement import Placement
from .plan import StreamPlan, TypePlan, Values
from .preparation import Prepared
from .relations import MissingParent, circles
from .release import Release
from .removal import Removal
from .rows import RowFailure, read_rows
from .staging import settle_partial

__all__ = ["ShownRows"]


class ShownRows:
    """Brings the rows of one stream to what the changes of a batch, or a whole generation, say.

    Used inside the transaction of one commit. After the last change ``settle`` shows what has waited.
    """

    def __init__(self, plans: StreamPlan, lot: ParkingLot, outcome: Outcome) -> None:
        self._plans = plans
        self._lot = lot
        self._motion = Motion(plans)
        self._removal = Removal(plans, lot, self._motion, outcome)
        self._placement = Placement(lot, self._removal, self._motion, outcome)
        self._left: dict[tuple[str, str], int] = {}

    def apply(self, entities: dict[str, list[Entity]]) -> None:
        """Writes the entities of a batch, by type: parents before children, children's deletions before parents'."""
        groups = circles(plan for plan in self._plans.all() if plan.type in entities)
        plans = [plan for group in groups for plan in group]
        self._left |= self._deletions(plans, entities)
        for plan in reversed(plans):
            if in_the_way := self._in_the_way(plan, entities[plan.type]):
                self._delete(plan, in_the_way)
        for group in groups:
            self._put({plan: entities[plan.type] for plan in group})
        for plan in reversed(plans):
            self._delete(plan, entities[plan.type])

    def put(
        self, plan: TypePlan, puts: Sequence[Prepared], *, all_new: bool = False
    ) -> tuple[list[RowFailure], set[str]]:
        """Makes rows equal to complete puts, of which ``all_new`` says that none has a row yet; returns what the database refused, and
        the keys that were parked.
        """
        placed = self._placement.put({plan: puts}, all_new=all_new)
        return placed.failures[plan], placed.parked[plan]

    def put_provisionally(self, plan: TypePlan, puts: Sequence[Prepared]) -> None:
        """Writes rows whose parents may be among later puts, as far as possible; ``put`` has to follow."""
        self._placement.put_provisionally(plan, puts)

    def remove(self, plan: TypePlan, keys: list[Any]) -> dict[str, str]:
        """Deletes rows by key value; returns those that must stay, with the reason."""
        return self._removal.remove(plan, keys)

    def settle(self, *, every: bool = False) -> list[tuple[TypePlan, Found]]:
        """Shows what has waited and can be shown, and tells other streams of their parents' arrival; see ``Release.settle``."""
        refused = Release(self._plans, self._lot, self._placement, self._motion).settle(
            self._left, every=every
        )
        meet(self._lot, self._motion)
        return refused

    def _put(self, entities: dict[TypePlan, list[Entity]]) -> None:
        todo = {
            plan: [each for each in some if each.put is not None] for plan, some in entities.items()
        }
        while any(todo.values()):
            for plan, some in todo.items():
                self._settle_partials(plan, some)
            puts = {
                plan: [each.put for each in some if each.put is not None]
                for plan, some in todo.items()
            }
            placed = self._placement.put(puts, may_lack=self._left_later)
            for plan, some in todo.items():
                failed = {failure.write.key: failure for failure in placed.failures[plan]}
                parked = placed.parked[plan]
                again = []
                unsettled = (
                    some
                    if failed or parked
                    else [e for e in some if e.parked or e.limit is not None]
                )
                for entity in unsettled:
                    entity.parked = entity.key in parked
                    failure = failed.get(entity.key)
                    if failure is not None:
                        entity.fault(Refused(failure.reason, failure.detail))
                    elif not entity.advance():
                        continue
                    fold_entity(plan, entity)
                    while entity.put is None and entity.advance():
                        fold_entity(plan, entity)
                    if entity.put is not None:
                        again.append(entity)
                todo[plan] = again

    def _settle_partials(self, plan: TypePlan, entities: list[Entity]) -> None:
        """Completes partial updates by what is parked or shown of their entities."""
        partial = {
            entity.key: entity
            for entity in entities
            if entity.put is not None and not entity.put.complete
        }
        if not partial:
            return
        parked = self._lot.of(plan.digest(key) for key in partial)
        unparked = {}
        for key, entity in partial.items():
            held = parked.get(plan.digest(key))
            if held is not None and held.hidden:
                settle_partial(plan, entity, bytes(held.prepared))
            else:
                unparked[key] = entity
        existing = read_rows(
            plan, [entity.put.key_value for entity in unparked.values() if entity.put is not None]
        )
        for key, entity in unparked.items():
            if key not in existing:
                settle_partial(plan, entity, None)
        if plan.relations or plan.unique_sets:
            # Such a change may have to be parked, which takes all that the entity is.
            whole = self._removal.whole(
                plan, [existing[key].pk for key in unparked if key in existing]
            )
            for key, entity in unparked.items():
                if key in whole:
                    settle_partial(plan, entity, whole[key])

    def _delete(self, plan: TypePlan, entities: list[Entity]) -> None:
        todo = {entity.key: entity for entity in entities if entity.deleted}
        while todo:
            values = {key: _key_value(plan, entity) for key, entity in todo.items()}
            refused = self.remove(plan, [value for value in values.values() if value is not None])
            self._lot.remove(plan.digest(key) for key in todo if key not in refused)
            again, kept = {}, []
            for key, reason in refused.items():
                entity = todo[key]
                entity.refuse(entity.decided_at, Refused("protected", reason))
                fold_entity(plan, entity)
                if entity.deleted:
                    again[key] = entity
                elif entity.put is not None:
                    kept.append(entity)
            self._put({plan: kept})
            todo = again

    def _in_the_way(self, plan: TypePlan, entities: list[Entity]) -> list[Entity]:
        """Deletions that have to come before the puts, because one of them may want a unique value that the row still holds."""
        if not plan.unique_sets:
            return []
        going = {entity.key: entity for entity in entities if entity.deleted}
        puts = [entity.put for entity in entities if entity.put is not None]
        if not going or not puts:
            return []
        found: list[Entity] = []
        values = [
            value for entity in going.values() if (value := _key_value(plan, entity)) is not None
        ]
        rows = read_rows(plan, values)
        for columns in plan.unique_sets:
            plain = [
                planned.place
                for planned in plan.fields
                if planned.attname in columns and not planned.is_relation
            ]
            wanted = {_loosely(put.values, plain) for put in puts}
            # A merge may leave some of them out; then it may want any.
            vague = any(put.values[place] is UNSET for put in puts for place in plain)
            for key, row in rows.items():
                if vague or _loosely(row.values, plain) in wanted:
                    found.append(going[key])
        return found

    def _deletions(
        self, plans: list[TypePlan], entities: dict[str, list[Entity]]
    ) -> dict[tuple[str, str], int]:
        """The batch's last deletions, by entity, of rows that were there until then: their ordinals."""
        left: dict[tuple[str, str], int] = {}
        for plan in plans:
            gone = [entity for entity in entities[plan.type] if entity.deleted]
            if not gone or not self._may_be_lacked(plan, entities):
                continue
            values = [value for entity in gone if (value := _key_value(plan, entity)) is not None]
            shown = read_rows(plan, values)
            for entity in gone:
                previous = next(
                    (each for at, each in entity.newest_first() if at < entity.decided_at), None
                )
                if (
                    entity.key in shown
                    if previous is None
                    else previous.operation is not Operation.DELETE
                ):
                    left[plan.type, entity.key] = entity.decided_at
        return left

    def _may_be_lacked(self, plan: TypePlan, entities: dict[str, list[Entity]]) -> bool:
        """Whether a change of the batch, or a parked one, may name a row of the type by a foreign key that says SET_NULL."""
        nulled = [
            child
            for child, planned in self._plans.children(plan)
            if planned.field.remote_field.on_delete is models.SET_NULL  # type: ignore[union-attr]
        ]
        return bool(nulled) and (
            self._lot.occupied or any(child.type in entities for child in nulled)
        )

    def _left_later(self, plan: TypePlan, put: Prepared, absent: MissingParent) -> bool:
        """Whether the parent was there when the change came, and was deleted later in the same batch."""
        return self._left.get(absent.entity, 0) > put.ordinal


def _loosely(values: Values, places: list[int]) -> tuple[str, ...]:
    """The values such that those which any database's collation takes for the same are the same."""
    texts = (
        unicodedata.normalize("NFKD", str(values[place])).casefold().rstrip() for place in places
    )
    return tuple(
        "".join(each for each in text if not unicodedata.combining(each)) for text in texts
    )


def _key_value(plan: TypePlan, entity: Entity) -> Any | None:
    try:
        return plan.key_value(entity.key)
    except Refused:
        return None  # no row can have that key
